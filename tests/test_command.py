"""The command as a person runs it, and what stands in more than one file."""

import ast
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

SOURCE = (ROOT / "extract_training_data.py").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
TEXTS = re.findall(r"(?ms)^```text\n(.*?)^```$", README)
CODES = re.findall(r"(?ms)^```python\n(.*?)^```$", README)
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
    assert written()["seed"] == 42
    age = datetime.now(UTC) - datetime.fromisoformat(written()["generatedAt"])
    assert abs(age.total_seconds()) < 60
    assert os.listdir() == [OUTPUT.name]


@pytest.mark.usefixtures("start_script")
def test_settings_and_baseline_are_beside_the_script_that_a_link_leads_to(
    serve: Serve, home: Path
) -> None:
    server = serve(60)
    url = server.url.replace("http:", "HTTP:")
    (home / ".env.local").write_text(f"SUPABASE_URL={url}/rest/v1/")
    (home / ".env").write_text(f"SUPABASE_SECRET_KEY={server.key}")
    Path("link.py").symlink_to(home / "extract_training_data.py")
    command, environ = [sys.executable, "link.py"], {"PATH": os.environ["PATH"]}
    report = subprocess.check_output(command, env=environ, encoding="utf-8")
    assert f"\nBaseline  {home}/calibration-baseline.json of 2026-02-16\n" in report


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


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--sede 1", "unrecognized arguments: --sede"),
        ("--seed x", "argument --seed: invalid int value: 'x'"),
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


@pytest.mark.skipif(os.name != "posix", reason="only Unix shells write it so")
@pytest.mark.parametrize("redirected", ["", ">&-"])
def test_a_reader_of_the_report_that_leaves_early_is_no_failure(
    redirected: str, serve: Serve, start_script: StartScript
) -> None:
    """As `| head` and `| true` do, or that was never there."""
    process = start_script(**settings(serve(60)), redirected=redirected)
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 0
    assert written()["trainSet"]["count"] == 48


# --- Before it begins


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
    message = str(what_it_ends_with())
    start = f"Error: A package is missing or broken: import of {package} halted"
    assert message.startswith(start)
    assert "pip install -r requirements.txt" in message


def test_a_package_that_is_broken(monkeypatch: Patch) -> None:
    Path("dotenv.py").write_text("raise SystemError('it does not fit')")
    monkeypatch.syspath_prepend(Path.cwd())
    monkeypatch.delitem(sys.modules, "dotenv")
    message = str(what_it_ends_with())
    assert message.startswith(
        "Error: A package is missing or broken: it does not fit\n"
    )


def test_a_python_that_is_too_old(monkeypatch: Patch) -> None:
    """One of 3.8 can parse the script, and so say that it is too old."""
    ast.parse(SOURCE, feature_version=(3, 8))
    monkeypatch.setattr(sys, "version_info", (3, 10, 12))
    said = what_it_ends_with()
    assert said == "extract_training_data.py needs Python 3.11 or newer."


# --- What stands in more than one file


def test_the_script_and_requirements_txt_ask_for_the_same() -> None:
    block = re.search(r"(?m)^# /// script$\n((?:^#.*$\n)+?)^# ///$", SOURCE)
    assert block
    metadata = tomllib.loads(re.sub(r"(?m)^# ?", "", block[1]))
    requirements = (ROOT / "requirements.txt").read_text().split()
    assert metadata == {"requires-python": ">=3.11", "dependencies": requirements}
    assert requirements == ["supabase>=2.34,<2.35", "python-dotenv>=1.2.1,<2"]


def test_the_readme_shows_the_options() -> None:
    command = [sys.executable, str(ROOT / "extract_training_data.py"), "--help"]
    environ = {"PATH": os.environ["PATH"], "COLUMNS": "80"}
    said = subprocess.check_output(command, env=environ, encoding="utf-8")
    assert "[--output PATH] [--baseline PATH]" in said
    assert said in TEXTS


def test_the_readme_shows_the_features_in_their_order() -> None:
    rows = re.findall(r"(?m)^\| (\d+) \| `(\w+)`( \\\*)? \|", README)
    assert f"for each video {len(rows)} features" in README
    assert rows == [
        (str(number), feature.name, feature.star and r" \*")
        for number, feature in enumerate(script.FEATURES, 1)
    ]


def test_the_readme_names_the_columns() -> None:
    [section] = re.findall(r"(?ms)^## [^\n]*the table$.*?^## ", README)
    columns = ["id", "platform", "platform_video_id", "archived_at", "metadata"]
    assert [n for n in (*columns, *script.READERS) if f"`{n}`" not in section] == []


def test_the_readme_shows_the_demo() -> None:
    """Lines of what it prints, in their order, with "..." for what is left out.

    A proxy does not matter, nor does no_proxy in lower case, which wins.
    """
    demo = [sys.executable, str(ROOT / "tests/demo.py")]
    proxy = {"http_proxy": "http://127.0.0.1:9", "no_proxy": "other.example"}
    environ = {"PATH": os.environ["PATH"], **proxy}
    done = subprocess.run(
        demo, env=environ, capture_output=True, encoding="utf-8", check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert os.listdir() == [DEMO.name]
    assert written(DEMO)["trainSet"]["count"] == 1973

    def lasting(text: str) -> str:
        return re.sub(r"(?m)in [\d.]+ s$", "in N s", text)

    [shown] = [text for text in TEXTS if "# | baseline" in text]
    report = done.stdout.replace(str(DEMO.resolve()), f"/home/you/{DEMO}")
    report = report.replace(str(script.BASELINE), "/home/you/calibration-baseline.json")
    left = iter(lasting(report).splitlines())  # `in` takes those up to the one found
    lines = lasting(shown).splitlines()
    assert [line for line in lines if line != "..." and line not in left] == []
    rows = sample_videos(2500, seed=1)
    archived = sum(row["archived_at"] is not None for row in rows)
    assert f"{len(rows):,} made-up videos, {archived} of them archived" in README


def test_the_readme_shows_what_a_missing_grant_looks_like(
    serve: Serve, fails: Fails
) -> None:
    server = serve(10)
    fault = recorded("secret key without a grant on the table")
    server.fault_for = lambda request: fault
    assert fails(server) in TEXTS


def run_readme(name: str) -> dict[str, Any]:
    """Run the Python code of the README that makes this name; return all its names."""
    [code] = [code for code in CODES if re.search(rf"(?m)^{name}\b.* = ", code)]
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
    shipped = script.read_baseline(script.BASELINE)[1]
    assert thresholds == pytest.approx(shipped, rel=0.05)
    assert baseline["total_videos_analyzed"] == 1472
    report = extract(server, "--baseline", str(new)).out
    assert f"\nBaseline  {new} of {written()['generatedAt'][:10]}\n" in report
    shares = re.findall(r"(?m)^\d [A-Z].*? ([\d.]+)% +([\d.]+)% ", report)
    assert [float(usual) for _, usual in shares] == [25, 25, 25, 15, 10]
    for share, usual in shares:
        assert float(share) == pytest.approx(float(usual), abs=0.1)


def test_the_readme_loads_the_file_in_python(serve: Serve, extract: Extract) -> None:
    extract(serve(60))
    names = run_readme("x_train")
    data = json.loads(OUTPUT.read_text())
    known = [FEATURE_NAMES[i] for i in names["known"]]
    assert known == [f.name for f in script.FEATURES if not f.star]
    for part in ("train", "test"):
        features, labels = data[f"{part}Set"]["features"], data[f"{part}Set"]["labels"]
        assert names[f"x_{part}"] == [[v[i] for i in names["known"]] for v in features]
        assert names[f"y_{part}"] == labels
