"""What the tests share: a clean environment, no real waits, and the script to run."""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from local_supabase import KEY, LocalSupabase
from sample_videos import sample_videos

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import extract_training_data as script


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide the person's settings and proxies, and stand in an empty folder."""
    for name in list(os.environ):
        if "SUPABASE" in name or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    home = tmp_path / "script"
    home.mkdir()
    shutil.copy(ROOT / "calibration-baseline.json", home)
    monkeypatch.setattr(script, "HERE", home)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture(autouse=True)
def same_signals() -> Iterator[None]:
    """Begin with the usual handlers, even in the background, and put the old ones back."""
    handlers = {number: signal.getsignal(number) for number in script.SIGNALS}
    for number in script.SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def home() -> Path:
    """The folder that stands for the script's own: .env and the baseline are there."""
    return script.HERE


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the script would have waited; it doesn't."""
    seconds: list[float] = []
    monkeypatch.setattr(script, "sleep", seconds.append)
    return seconds


@pytest.fixture
def serve() -> Iterator[Callable[..., LocalSupabase]]:
    """Start local endpoints, with made-up rows unless others are given."""
    servers = []

    def start(rows: int | list[dict[str, Any]] = 100, **options: Any) -> LocalSupabase:
        rows = sample_videos(rows) if isinstance(rows, int) else rows
        servers.append(LocalSupabase(rows, **options))
        return servers[-1].__enter__()

    yield start
    for server in servers:
        server.__exit__(None, None, None)


@pytest.fixture
def extract(monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> Callable[..., int]:
    """Run the script in this process against a local endpoint; return the exit code."""

    def run(server: LocalSupabase, *options: str) -> int:
        monkeypatch.setenv("SUPABASE_URL", server.url)
        monkeypatch.setenv("SUPABASE_SECRET_KEY", KEY)
        monkeypatch.setenv("SOURCE_DATE_EPOCH", "1771266144")
        return script.main(options)

    return run


def written(path: str = "training-data.json") -> dict[str, Any]:
    """Return what the script wrote, read as strict JSON."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    return json.loads(Path(path).read_bytes(), parse_constant=refuse)
