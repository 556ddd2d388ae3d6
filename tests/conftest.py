"""What the tests share: a clean environment, fast waits, rows, and the script to run."""

import asyncio
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from local_supabase import CERTIFICATE, DATA, LocalSupabase, Row
from sample_videos import sample_videos

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import extract_training_data as script


class Printed(NamedTuple):
    """What the script printed: its report, and what it said while it worked."""

    out: str
    err: str


Capture = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch
Serve = Callable[..., LocalSupabase]
Extract = Callable[..., Printed]
Fails = Callable[..., str]
StartScript = Callable[..., subprocess.Popen[str]]

OUTPUT = Path("training-data.json")
FEATURE_NAMES = [feature.name for feature in script.FEATURES]


# --- Rows and samples


def make_row(number: int, quarter: int = 0, **columns: Any) -> Row:
    """Return a usable row with ids that end in `number`, in that quarter of all uuids."""
    return sample_videos(1)[0] | {
        "id": f"{'048c'[quarter]}0000000-0000-4000-8000-{number:012}",
        "platform_video_id": f"{quarter}{number:018}",
        "views": 100,
        "duration_seconds": 20,
        "archived_at": None,
        **columns,
    }


def real_videos() -> list[dict[str, Any]]:
    """Return the real rows, each with what was published for it."""
    with gzip.open(DATA / "real_videos.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def make_sample(
    digest: bytes = bytes(32),
    tier: int = 1,
    views: float = 1000,
    unknown: tuple[str, ...] = (),
    rest: float = 0.5,
    **features: float,
) -> script.Sample:
    """Return a sample with these features; all the others are `rest`."""
    vector = array("d", [features.get(name, rest) for name in FEATURE_NAMES])
    return script.Sample(digest, views, vector, tier, unknown)


def features_by_name(sample: script.Sample) -> dict[str, float]:
    """Return the features of a sample by name."""
    return dict(zip(FEATURE_NAMES, sample.features, strict=True))


def flat(text: str) -> str:
    """Return a text as one line: where it is wrapped does not matter."""
    return " ".join(text.split())


# --- The file


def written(path: Path | str = OUTPUT) -> dict[str, Any]:
    """Return what the script wrote, read as strict JSON."""
    data: dict[str, Any] = json.loads(
        Path(path).read_bytes(), parse_constant=pytest.fail
    )
    return data


def undated(path: Path = OUTPUT) -> list[bytes]:
    """Return the lines of the file but the one that tells when it was made."""
    lines = path.read_bytes().splitlines()
    assert lines[1].startswith(b'  "generatedAt": ')
    return [lines[0], *lines[2:]]


def vectors() -> list[dict[str, float]]:
    """Return the vectors of both sets in the file, by the features' names."""
    data = written()
    both = data["trainSet"]["features"] + data["testSet"]["features"]
    return [dict(zip(data["featureNames"], vector, strict=True)) for vector in both]


def durations() -> list[int]:
    """Return the durations in the file in seconds, in order: they tell rows apart."""
    return sorted(round(vector["durationSeconds"] * 180) for vector in vectors())


# --- The environment


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: Patch, tmp_path: Path) -> None:
    """Hide the person's settings and proxies, and work in an empty folder.

    Only the local endpoint's certificate is trusted, which is also loaded more quickly
    than all that the world trusts.
    """
    for name in list(os.environ):
        if "SUPABASE" in name or name.lower().endswith(("_proxy", "ssl_cert_file")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    files = tuple(tmp_path / "script" / path.name for path in script.ENV_FILES)
    monkeypatch.setattr(script, "ENV_FILES", files)
    (tmp_path / "script").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture(autouse=True)
def usual_ctrl_c() -> Iterator[None]:
    """Let SIGINT interrupt even if the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The folder that stands for the script's own, where it looks for .env files."""
    return tmp_path / "script"


@pytest.fixture
def waits(monkeypatch: Patch) -> list[float]:
    """The seconds that the script waits between attempts. They pass faster."""
    seconds: list[float] = []
    sleep = asyncio.sleep

    async def short_sleep(delay: float) -> None:
        seconds.append(delay)
        await sleep(delay / 300)

    monkeypatch.setattr(asyncio, "sleep", short_sleep)
    return seconds


# --- The script


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start local endpoints, with made-up rows unless others are given."""
    servers = []

    def start(rows: int | list[Row] = 100, **options: Any) -> LocalSupabase:
        rows = sample_videos(rows) if isinstance(rows, int) else rows
        servers.append(LocalSupabase(rows, **options))
        return servers[-1].__enter__()

    yield start
    for server in servers:
        server.stop()


def settings(server: LocalSupabase) -> dict[str, str]:
    """Return the environment that leads the script to a local endpoint."""
    return {"SUPABASE_URL": server.url, "SUPABASE_SECRET_KEY": server.key}


@pytest.fixture
def extract(monkeypatch: Patch, waits: list[float], capsys: Capture) -> Extract:
    """Run the script in this process against a local endpoint; return what it prints.

    See that it ends with the exit code expected.
    """

    def run(server: LocalSupabase, *options: str, code: int = 0) -> Printed:
        for name, value in settings(server).items():
            monkeypatch.setenv(name, value)
        assert script.main(options) == code
        printed = capsys.readouterr()
        return Printed(printed.out, printed.err)

    return run


@pytest.fixture
def fails(extract: Extract) -> Fails:
    """Run it, see that it fails and leaves an earlier file alone; return what it says."""

    def run(server: LocalSupabase, *options: str) -> str:
        OUTPUT.write_text("an earlier training set")
        report, said = extract(server, *options, code=1)
        assert report == ""
        assert any(line.startswith("Error: ") for line in said.splitlines())
        assert said.endswith("\nNothing was written.\n")
        assert OUTPUT.read_text() == "an earlier training set"
        assert os.listdir() == [OUTPUT.name]
        return said

    return run


@pytest.fixture
def start_script(home: Path) -> Iterator[StartScript]:
    """Start a copy of the script in a process of its own, in the folder of the test.

    redirected: what a person writes behind the command in a shell, such as `2>&-`.
    """
    for name in ("extract_training_data.py", "calibration-baseline.json"):
        shutil.copy(ROOT / name, home)
    processes = []

    def start(
        *options: str, redirected: str = "", **environ: str
    ) -> subprocess.Popen[str]:
        command = [sys.executable, str(home / "extract_training_data.py"), *options]
        if redirected:
            command = ["sh", "-c", f'exec "$@" {redirected}', "sh", *command]
        process = subprocess.Popen(
            command,
            env={"PATH": os.environ["PATH"]} | environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
