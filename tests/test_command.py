"""The command as a person runs it, and what stands in more than one file."""

import ast
import importlib.metadata
import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from conftest import (
    FEATURE_NAMES,
    OUTPUT,
    ROOT,
    Capture,
    Extract,
    Fails,
    Patch,
    Serve,
    StartScript,
    real_videos,
    settings,
    written,
)
from local_supabase import hang, http_reply, recorded
from sample_videos import sample_videos

import extract_training_data as script

README = (ROOT / "README.md").read_text(encoding="utf-8")
DEMO = Path("training-data.demo.json")


def test_it_writes_the_file_and_reports_to_standard_output(
    serve: Serve, start_script: StartScript
) -> None:
    process = start_script(
        **settings(serve(60)), PYTHONWARNINGS="default", TZ="Asia/Tokyo"
    )
    out, err = process.communicate()
    assert process.returncode == 0
    assert "1 Unlikely to perform " in out
    assert err == ""  # no ResourceWarning either: nothing is left open
    assert written()["trainSet"]["count"] == 48
    age = datetime.now(UTC) - datetime.fromisoformat(written()["generatedAt"])
    assert abs(age.total_seconds()) < 60
    assert os.listdir() == [OUTPUT.name]


def test_settings_and_baseline_are_those_beside_the_script_through_a_link_too(
    serve: Serve, start_script: StartScript, home: Path
) -> None:
    lines = [f"{name}={value}" for name, value in settings(serve(60)).items()]
    (home / ".env.local").write_text(lines[0])
    (home / ".env").write_text(lines[1])
    process = start_script()
    report = process.communicate()[0]
    assert process.returncode == 0
    assert f"\nBaseline  {home}/calibration-baseline.json of 2026-02-16\n" in report
    Path("link.py").symlink_to(home / "extract_training_data.py")
    command, environ = [sys.executable, "link.py"], {"PATH": os.environ["PATH"]}
    assert subprocess.call(command, env=environ, stdout=subprocess.DEVNULL) == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--sede 1", "unrecognized arguments: --sede"),
        ("--seed x", "argument --seed: invalid int value: 'x'"),
        ("--output", "argument --output: expected one argument"),
    ],
)
def test_options_that_do_not_parse(options: str, words: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as stop:
        script.main(options.split())
    assert stop.value.code == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert words in output.err


@pytest.mark.skipif(sys.platform == "win32", reason="no Ctrl-C for a process there")
@pytest.mark.parametrize("moment", ["the server hangs", "all readers wait"])
def test_ctrl_c(moment: str, serve: Serve, start_script: StartScript) -> None:
    OUTPUT.write_text("earlier")
    server = serve(60)
    waiting = moment == "all readers wait"
    fault = http_reply(503, retry_after="60") if waiting else hang(60)
    server.fault_for = lambda request: fault
    process = start_script(**settings(server))
    assert process.stderr
    if waiting:
        line = process.stderr.readline()
        assert line == "HTTP 503 Service Unavailable. Trying again in 60 s.\n"
    while len(server.requests) < 5 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)  # a busy machine may need a few seconds
    assert process.returncode == 130
    assert (out, err) == ("", "Interrupted.\n")
    assert OUTPUT.read_text() == "earlier"
    assert os.listdir() == [OUTPUT.name]


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_of_the_report_that_leaves_early_is_no_failure(
    unbuffered: str, serve: Serve, start_script: StartScript
) -> None:
    """As `| head` and `| true` do."""
    process = start_script(**settings(serve(60)), PYTHONUNBUFFERED=unbuffered)
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 0
    assert written()["trainSet"]["count"] == 48


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a full device")
def test_a_report_that_can_not_be_printed_is_a_warning(
    serve: Serve, start_script: StartScript
) -> None:
    process = start_script(**settings(serve(60)), redirected=">/dev/full")
    _, err = process.communicate()
    assert err == "Warning: The report can't be printed: No space left on device.\n"
    assert process.returncode == 0
    assert written()["trainSet"]["count"] == 48


@pytest.mark.skipif(os.name != "posix", reason="only Unix shells write it so")
@pytest.mark.parametrize("redirected", [">&-", "<&- >&- 2>&-"])
def test_a_closed_standard_output_is_no_failure(
    redirected: str, serve: Serve, start_script: StartScript
) -> None:
    process = start_script(**settings(serve(60)), redirected=redirected)
    assert process.communicate() == ("", "")
    assert process.returncode == 0
    assert written()["trainSet"]["count"] == 48


@pytest.mark.skipif(os.name != "posix", reason="only Unix shells write it so")
@pytest.mark.parametrize("redirected", ["2>&-", "2>/dev/full"])
def test_messages_that_can_not_be_printed_are_no_failure(
    redirected: str, serve: Serve, start_script: StartScript
) -> None:
    """There is one: the count and the first pages fail, and are asked for again."""
    server = serve(60)
    server.fault_for = lambda request: (
        http_reply(503) if len(server.requests) <= 4 else None
    )
    process = start_script(**settings(server), redirected=redirected)
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert out.startswith("Read 60 rows, ")
    assert written()["trainSet"]["count"] == 48


@pytest.mark.skipif(os.name != "posix", reason="only Unix has named pipes")
def test_an_env_file_may_be_a_named_pipe(
    serve: Serve, start_script: StartScript, home: Path
) -> None:
    """As 1Password mounts it: it can be read once."""
    os.mkfifo(home / ".env")
    process = start_script()
    lines = [f"{name}={value}" for name, value in settings(serve(60)).items()]
    (home / ".env").write_text("\n".join(lines))
    process.communicate()
    assert process.returncode == 0


REMEDY = """\
In the script's folder, install the packages, and run the script with them:
    python3 -m venv .venv && .venv/bin/pip install -r requirements.txt
    .venv/bin/python extract_training_data.py"""


def what_it_ends_with() -> str | int | None:
    """Run what the script does before main(); return why it ends, or None."""
    try:
        runpy.run_path(str(ROOT / "extract_training_data.py"), run_name="not main")
    except SystemExit as end:
        return end.code
    return None


@pytest.mark.parametrize("package", ["supabase", "dotenv", "postgrest", "httpx"])
def test_a_package_that_is_missing(package: str, monkeypatch: Patch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert what_it_ends_with() == (
        "Error: A package is missing, too old or broken: "
        f"import of {package} halted; None in sys.modules\n{REMEDY}"
    )


@pytest.mark.parametrize(
    ("package", "version"),
    [
        ("supabase", "2.33.9"),
        ("supabase", "1.99.0"),
        ("python-dotenv", "1.2.0"),
        ("python-dotenv", "0.99"),
    ],
)
def test_a_package_that_is_too_old(
    package: str, version: str, monkeypatch: Patch
) -> None:
    versions = {"supabase": "2.34.0", "python-dotenv": "1.2.1"} | {package: version}
    monkeypatch.setattr(importlib.metadata, "version", versions.get)
    assert what_it_ends_with() == (
        "Error: A package is missing, too old or broken: "
        f"{package} {version} is too old\n{REMEDY}"
    )


@pytest.mark.parametrize("version", ["2.34", "2.34.1.post1", "3.0rc1"])
def test_packages_that_are_new_enough(version: str, monkeypatch: Patch) -> None:
    versions = {"supabase": version, "python-dotenv": "1.2.1"}
    monkeypatch.setattr(importlib.metadata, "version", versions.get)
    assert what_it_ends_with() is None


def test_a_package_that_is_broken(monkeypatch: Patch) -> None:
    def fail(package: str) -> str:
        raise SystemError(f"{package} does not fit the others")

    monkeypatch.setattr(importlib.metadata, "version", fail)
    assert what_it_ends_with() == (
        "Error: A package is missing, too old or broken: "
        f"supabase does not fit the others\n{REMEDY}"
    )


def test_a_python_that_is_too_old() -> None:
    path = str(ROOT / "extract_training_data.py")
    code = (
        f"import runpy, sys\nsys.version_info = (3, 10, 12)\nrunpy.run_path({path!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "extract_training_data.py needs Python 3.11 or newer.\n"


def test_python_3_8_can_parse_the_script_and_so_say_that_it_is_too_old() -> None:
    source = (ROOT / "extract_training_data.py").read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 8))


# --- What stands in more than one file


def test_the_script_and_requirements_txt_ask_for_the_same() -> None:
    source = (ROOT / "extract_training_data.py").read_text(encoding="utf-8")
    block = re.search(r"^# /// script$\n((?:^#.*$\n)+?)^# ///$", source, re.MULTILINE)
    assert block
    metadata = tomllib.loads(re.sub(r"^# ?", "", block[1], flags=re.MULTILINE))
    requirements = (ROOT / "requirements.txt").read_text().split()
    assert metadata["dependencies"] == requirements
    assert metadata["requires-python"] == ">=3.11"
    oldest = {}
    for line in requirements:
        parts = re.fullmatch(r"([\w-]+)>=([\d.]+),<[\d.]+", line)
        assert parts
        oldest[parts[1]] = tuple(map(int, parts[2].split(".")))
    assert list(oldest) == ["supabase", "python-dotenv"]
    assert oldest == script.OLDEST


def test_the_readme_shows_the_options() -> None:
    command = [sys.executable, str(ROOT / "extract_training_data.py"), "--help"]
    environ = {"PATH": os.environ["PATH"], "COLUMNS": "80"}
    said = subprocess.check_output(command, env=environ, encoding="utf-8")
    assert "[--output PATH] [--baseline PATH]" in said
    assert f"```text\n{said}```" in README


def test_the_readme_shows_the_features_in_their_order() -> None:
    rows = re.findall(r"^\| (\d+) \| `(\w+)`( \\\*)? \|", README, re.MULTILINE)
    assert [(name, bool(star)) for _, name, star in rows] == [
        (feature.name, feature.after_posting) for feature in script.FEATURES
    ]
    assert [int(number) for number, _, _ in rows] == list(range(1, len(rows) + 1))


def test_the_readme_shows_the_demo() -> None:
    """As it is, but for the time and the paths."""
    demo = [sys.executable, str(ROOT / "tests/demo.py")]
    environ = {"PATH": os.environ["PATH"]}
    done = subprocess.run(
        demo, env=environ, capture_output=True, encoding="utf-8", check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert os.listdir() == [DEMO.name]
    assert written(DEMO)["trainSet"]["count"] == 1973

    def lasting(text: str) -> str:
        return re.sub(r"in [\d.]+ s$", "in N s", text, flags=re.MULTILINE)

    shown = re.findall(r"```text\n(.*?)```", README, re.DOTALL)
    report = done.stdout.replace(str(DEMO.resolve()), f"/home/you/{DEMO}")
    report = report.replace(str(script.BASELINE), "/home/you/calibration-baseline.json")
    assert lasting(report) in [lasting(text) for text in shown]
    rows = sample_videos(2500, seed=1)
    archived = sum(row["archived_at"] is not None for row in rows)
    assert f"{len(rows):,} made-up videos, {archived} of them archived" in README


def test_the_readme_shows_what_a_missing_grant_looks_like(
    serve: Serve, fails: Fails
) -> None:
    server = serve(10)
    server.fault_for = lambda request: recorded(
        "secret key without a grant on the table"
    )
    assert f"```text\n{fails(server)}```" in README


def run_readme(name: str) -> dict[str, Any]:
    """Run the Python code of the README that makes this name; return all its names."""
    codes = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    [code] = [
        code for code in codes if re.search(rf"^{name}\b.* = ", code, re.MULTILINE)
    ]
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102
    return names


def test_the_readme_makes_a_new_baseline(serve: Serve, extract: Extract) -> None:
    """From the real videos, about the thresholds of all those that were analysed."""
    server = serve([video["row"] for video in real_videos()])
    extract(server)
    shutil.copy(script.BASELINE, ".")
    run_readme("percentiles")
    new = Path("new-baseline.json")
    baseline, thresholds = script.read_baseline(new)
    assert thresholds == pytest.approx(
        script.read_baseline(script.BASELINE)[1], rel=0.05
    )
    assert baseline["total_videos_analyzed"] == 1472
    report = extract(server, "--baseline", str(new)).out
    assert f"\nBaseline  {new} of {written()['generatedAt'][:10]}\n" in report
    shares = re.findall(r"^\d [A-Z].*? ([\d.]+)% +([\d.]+)% ", report, re.MULTILINE)
    assert [float(usual) for _, usual in shares] == [25, 25, 25, 15, 10]
    for share, usual in shares:
        assert float(share) == pytest.approx(float(usual), abs=0.1)


def test_the_readme_loads_the_file_in_python(serve: Serve, extract: Extract) -> None:
    extract(serve(60))
    names = run_readme("x_train")
    data = json.loads(OUTPUT.read_text())
    known = [FEATURE_NAMES[i] for i in names["known"]]
    assert known == [f.name for f in script.FEATURES if not f.after_posting]
    for part, x, y in (
        ("trainSet", "x_train", "y_train"),
        ("testSet", "x_test", "y_test"),
    ):
        vectors = [[v[i] for i in names["known"]] for v in data[part]["features"]]
        assert names[x] == vectors
        assert names[y] == data[part]["labels"]


def test_the_made_up_videos_are_spread_as_the_real_ones() -> None:
    rows = sample_videos(7400)
    assert rows == sample_videos(7400)
    assert len({row["id"] for row in rows}) == 7400
    assert len({row["platform_video_id"] for row in rows}) == 7400
    views = sorted(row["views"] for row in rows if row["views"])
    assert views[-1] > 10_000_000 * views[0]
    metadata = [row["metadata"] or {} for row in rows]
    for key, share in (("followers", 0.55), ("uploaded_at", 0.98)):
        known = sum(values.get(key) is not None for values in metadata)
        assert known / 7400 == pytest.approx(share, abs=0.02)
