"""The command as a person runs it: in a process of its own, from a fresh folder."""

import contextlib
import io
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, written
from local_supabase import KEY, LocalSupabase, hang, http_reply
from sample_videos import sample_videos

import extract_training_data as script

Serve = Callable[..., LocalSupabase]
Extract = Callable[..., int]
OUTPUT = Path("training-data.json")
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start a copy of the script, from the folder where the test stands."""
    shutil.copy(ROOT / "extract_training_data.py", tmp_path / "script")

    def run(
        *options: str, environ: dict[str, str] | None = None, **how: Any
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [
                sys.executable,
                str(tmp_path / "script/extract_training_data.py"),
                *options,
            ],
            env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"} | (environ or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            **how,
        )

    return run


Start = Callable[..., subprocess.Popen[str]]


def settings(server: LocalSupabase, **others: str) -> dict[str, str]:
    return {"SUPABASE_URL": server.url, "SUPABASE_SECRET_KEY": KEY} | others


def test_it_writes_the_file_and_reports(serve: Serve, start: Start) -> None:
    process = start(environ=settings(serve(60)))
    out, err = process.communicate()
    assert process.returncode == 0
    assert out == ""
    assert "1 Unlikely to perform " in err
    assert "█" in err
    assert written()["trainSet"]["count"] > 40


def test_settings_from_a_file_beside_the_script(
    serve: Serve, start: Start, home: Path
) -> None:
    lines = [f"{name}={value}" for name, value in settings(serve(60)).items()]
    (home / ".env").write_text("\n".join(lines))
    process = start()
    process.communicate()
    assert process.returncode == 0
    assert OUTPUT.exists()


def test_under_lc_all_c_the_report_is_plain_ascii(serve: Serve, start: Start) -> None:
    process = start(environ=settings(serve(60), LC_ALL="C"))
    err = process.communicate()[1]
    assert process.returncode == 0
    assert err.isascii()
    assert "#####" in err


def test_without_settings(start: Start) -> None:
    process = start()
    out, err = process.communicate()
    assert (process.returncode, out) == (2, "")
    assert err.startswith(
        "Error: Not set, neither in the environment nor in .env.local or .env:\nSUPA"
    )
    assert os.listdir() == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--sede", "1"), "unrecognized arguments: --sede"),
        (("--seed", "x"), "argument --seed: invalid int value: 'x'"),
        (("--output",), "argument --output: expected one argument"),
        (("surplus",), "unrecognized arguments: surplus"),
    ],
)
def test_options_that_do_not_parse(
    options: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main(options) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert words in output.err
    assert "usage: extract_training_data.py [-h]" in output.err


def test_help_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main(["--help"]) == 0
    assert "--baseline PATH" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
@pytest.mark.parametrize("moment", ["reading", "waiting"])
def test_ctrl_c(
    moment: str, number: signal.Signals, exit_code: int, serve: Serve, start: Start
) -> None:
    OUTPUT.write_text("earlier")
    server = serve(60, max_rows=20)
    if moment == "waiting":
        server.faults[1] = http_reply(503, retry_after="60")
    else:
        server.faults[1] = lambda sock: (
            os.kill(process.pid, number),
            hang(20)(sock),
        )
    process = start(environ=settings(server))
    assert process.stderr
    if moment == "waiting":
        while "Trying again in 60 s." not in process.stderr.readline():
            pass
        process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == exit_code
    assert out == ""
    assert err.splitlines()[-1] == "Interrupted. Nothing was written."
    assert "Traceback" not in err
    assert OUTPUT.read_text() == "earlier"
    assert os.listdir() == ["training-data.json"]


def test_ctrl_c_again_while_it_ends(
    serve: Serve, extract: Extract, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = []

    def say(message: str, end: str = "\n") -> None:
        os.kill(os.getpid(), signal.SIGINT)
        said.append(message)

    monkeypatch.setattr(script, "say", say)
    server = serve(50)
    server.before_reply = lambda request: os.kill(os.getpid(), signal.SIGINT)
    assert extract(server) == 130
    assert said == ["Interrupted. Nothing was written."]


def test_ctrl_c_before_it_begins(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        script, "parse_arguments", lambda argv: os.kill(os.getpid(), signal.SIGINT)
    )
    assert script.main([]) == 130
    assert capsys.readouterr().err == "Interrupted. Nothing was written.\n"


def test_a_log_that_is_cut_off_does_not_cost_the_run(
    serve: Serve, start: Start
) -> None:
    process = start(environ=settings(serve(60, max_rows=1)))
    assert process.stderr
    process.stderr.close()
    process.wait(60)
    assert process.returncode == 0
    assert written()["trainSet"]["count"] > 40


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full"])
def test_a_log_that_can_not_be_written_does_not_cost_the_run(
    redirection: str, serve: Serve, home: Path
) -> None:
    shutil.copy(ROOT / "extract_training_data.py", home)
    command = f'"{sys.executable}" "{home}/extract_training_data.py" {redirection}'
    environ = settings(serve(60)) | {"PATH": os.environ["PATH"]}
    assert subprocess.call(command, shell=True, env=environ) == 0
    assert written()["trainSet"]["count"] > 40


def test_a_log_in_latin_1_is_plain_ascii(serve: Serve, start: Start) -> None:
    process = start(environ=settings(serve(60), PYTHONIOENCODING="latin-1"))
    err = process.communicate()[1]
    assert err.isascii()
    assert "#####" in err
    assert "\\u2588" not in err


def test_nothing_is_left_open(serve: Serve, start: Start) -> None:
    process = start(environ=settings(serve(60), PYTHONDEVMODE="1"))
    assert "ResourceWarning" not in process.communicate()[1]
    assert process.returncode == 0


def test_through_a_link_the_settings_are_those_beside_the_script(
    serve: Serve, home: Path
) -> None:
    lines = [f"{name}={value}" for name, value in settings(serve(60)).items()]
    (home / ".env").write_text("\n".join(lines))
    shutil.copy(ROOT / "extract_training_data.py", home)
    Path("link.py").symlink_to(home / "extract_training_data.py")
    command = [sys.executable, "link.py"]
    environ = {"PATH": os.environ["PATH"]}
    assert subprocess.call(command, env=environ, stderr=subprocess.DEVNULL) == 0


def test_a_proxy_is_not_asked_for_this_machine(serve: Serve, start: Start) -> None:
    proxy = {"HTTP_PROXY": "http://127.0.0.1:9", "ALL_PROXY": "http://127.0.0.1:9"}
    process = start(environ=settings(serve(60), **proxy))
    process.communicate()
    assert process.returncode == 0


def test_in_a_process_that_reads_what_it_says(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings(serve(60)).items():
        monkeypatch.setenv(name, value)
    with contextlib.redirect_stderr(io.StringIO()) as log:
        assert script.main([]) == 0
    assert "#####" in log.getvalue()


def test_the_disk_fills_up(serve: Serve, start: Start) -> None:
    OUTPUT.write_text("earlier")

    def limit_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    process = start(environ=settings(serve(300)), preexec_fn=limit_files)
    out, err = process.communicate()
    assert (process.returncode, out) == (1, "")
    message = f"Error: Can't write {OUTPUT.resolve()}: File too large."
    assert err.splitlines()[-3] == message
    assert OUTPUT.read_text() == "earlier"
    assert os.listdir() == ["training-data.json"]


@pytest.mark.parametrize(
    ("before", "words", "exit_code"),
    [
        (
            "sys.modules['supabase'] = None",
            "This Python lacks the package supabase",
            1,
        ),
        ("sys.version_info = (3, 10, 12)", "needs Python 3.11 or newer", 1),
        (
            "import builtins; real = builtins.__import__\n"  # noqa: ISC004
            "def interrupt(name, *rest):\n"
            "    if name == 'supabase': raise KeyboardInterrupt\n"
            "    return real(name, *rest)\n"
            "builtins.__import__ = interrupt",
            "Interrupted. Nothing was written.",
            130,
        ),
        (
            "import types; sys.modules['supabase'] = types.ModuleType('supabase')",
            ".venv/bin/pip install -r requirements.txt",
            1,
        ),
    ],
)
def test_where_it_can_not_begin(before: str, words: str, exit_code: int) -> None:
    """Without the packages, with an old Python, with Ctrl-C while it is loaded."""
    path = str(ROOT / "extract_training_data.py")
    code = f"import runpy, sys\n{before}\nrunpy.run_path({path!r}, run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False
    )
    assert (done.returncode, done.stdout) == (exit_code, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 3


# --- What stands in more than one file


def test_the_script_and_requirements_txt_ask_for_the_same() -> None:
    source = (ROOT / "extract_training_data.py").read_text(encoding="utf-8")
    block = re.search(r"^# /// script$\n((?:^#.*$\n)+?)^# ///$", source, re.MULTILINE)
    assert block
    metadata = tomllib.loads(re.sub(r"^# ?", "", block[1], flags=re.MULTILINE))
    requirements = (ROOT / "requirements.txt").read_text().split()
    assert metadata["dependencies"] == requirements
    assert metadata["requires-python"] == ">=3.11"
    assert [re.split("[<>=]", line)[0] for line in requirements] == [
        "supabase",
        "python-dotenv",
    ]


def test_the_readme_shows_the_options(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    script.main(["--help"])
    assert f"```text\n{capsys.readouterr().out}```" in README


def test_the_readme_shows_the_features_in_their_order() -> None:
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", README, re.MULTILINE)
    assert [name for _, name in rows] == list(script.FEATURE_NAMES)
    assert [int(number) for number, _ in rows] == list(range(1, 16))


def test_the_readme_shows_the_demo(tmp_path: Path) -> None:
    """As it is, but for the time, the speed and the path."""
    demo = [sys.executable, str(ROOT / "tests/demo.py")]
    environ = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    done = subprocess.run(
        demo, env=environ, capture_output=True, encoding="utf-8", check=False
    )
    assert (done.returncode, done.stdout) == (0, "")
    path = str(OUTPUT.resolve())

    def timeless(text: str) -> str:
        text = re.sub(r"[\d,]+ rows/s", "N rows/s", text)
        return re.sub(r"in [\d.]+ s$", "in N s", text, flags=re.MULTILINE)

    shown = [
        timeless(text) for text in re.findall(r"```text\n(.*?)```", README, re.DOTALL)
    ]
    assert timeless(done.stderr.replace(path, "/home/you/training-data.json")) in shown
    assert written()["trainSet"]["count"] == 1973


def test_the_readme_loads_the_file_in_python(serve: Serve, start: Start) -> None:
    start(environ=settings(serve(60))).communicate()
    [code] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102
    data = json.loads(OUTPUT.read_text())
    known = [script.FEATURE_NAMES[i] for i in names["known"]]
    assert known == [
        "durationSeconds",
        "hashtagCount",
        "hasTrendingSound",
        "captionLength",
        "hasFollowerData",
        "followerTier",
        "weekdayPosted",
        "hourPosted",
    ]
    for part, x, y in (
        ("trainSet", "x_train", "y_train"),
        ("testSet", "x_test", "y_test"),
    ):
        vectors = [[*v[6:12], *v[13:]] for v in data[part]["features"]]
        assert names[x] == vectors
        assert names[y] == data[part]["labels"]


def test_the_demo_passes_its_options_on() -> None:
    demo = [sys.executable, str(ROOT / "tests/demo.py"), "--seed", "x"]
    done = subprocess.run(demo, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 2
    assert "invalid int value" in done.stderr


def test_the_made_up_videos_are_spread_as_the_real_ones() -> None:
    rows = sample_videos(7400)
    assert len({row["id"] for row in rows}) == 7400
    assert len({row["platform_video_id"] for row in rows}) == 7400
    assert all(re.fullmatch(r"\d{19}", row["platform_video_id"]) for row in rows)
    views = sorted(row["views"] for row in rows if row["views"])
    assert views[0] < 100
    assert views[-1] > 10_000_000 * views[0]
    metadata = [row["metadata"] or {} for row in rows]
    known = [
        sum(m.get(k) is not None for m in metadata) / 7400
        for k in ("followers", "uploaded_at")
    ]
    assert known == [pytest.approx(0.55, abs=0.02), pytest.approx(0.98, abs=0.01)]
    assert 5 <= sum(not row["views"] for row in rows) <= 50
    assert 3 <= sum(row["duration_seconds"] is None for row in rows) <= 40
    assert 30 <= sum(row["archived_at"] is not None for row in rows) <= 90
    assert sum(not (row["description"] or "").isascii() for row in rows) > 1000
