"""Writing: the exact form of the file, and that it appears whole or not at all."""

import errno
import json
import os
import signal
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from conftest import (
    FEATURE_NAMES,
    OUTPUT,
    ROOT,
    Extract,
    Fails,
    Patch,
    Printed,
    Serve,
    make_row,
    make_sample,
    settings,
    written,
)
from sample_videos import sample_videos

import extract_training_data as script

PART = Path(".training-data.json.part")
HALVES = ",0.5" * (len(FEATURE_NAMES) - 2)
EXACT_FORM = f"""\
{{
  "generatedAt": "2026-02-16T18:22:24.613Z",
  "featureNames": {json.dumps(FEATURE_NAMES)},
  "trainSet": {{
    "features": [
[0.1,0.3333333333333333{HALVES}],
[1e-07,0.0{HALVES}]
    ],
    "labels": [3, 5],
    "count": 2
  }},
  "testSet": {{
    "features": [
[0.5,0.5{HALVES}]
    ],
    "labels": [3],
    "count": 1
  }},
  "labelDistribution": {{"1": 0, "2": 0, "3": 2, "4": 0, "5": 1}},
  "seed": 7,
  "tierThresholds": [0.045752, 1, 2.5, 1e-07]
}}
"""


def test_the_exact_form() -> None:
    train = [
        make_sample(tier=3, shareRate=0.1, commentRate=1 / 3),
        make_sample(tier=5, shareRate=1e-7, commentRate=0),
    ]
    time = datetime(2026, 2, 16, 18, 22, 24, 613_999, UTC)
    thresholds = [0.045752, 1, 2.5, 1e-7]
    text = script.training_json(train, [make_sample(tier=3)], time, 7, thresholds)
    assert "".join(text) == EXACT_FORM


@pytest.mark.parametrize(("options", "seed"), [((), 42), (("--seed", "-7"), -7)])
def test_what_a_run_writes(
    options: tuple[str, ...], seed: int, serve: Serve, extract: Extract
) -> None:
    rows = [make_row(n, n % 4, likes=n % 30, metadata=None) for n in range(100)]
    _, thresholds = script.read_baseline(script.BASELINE)
    dataset = script.Dataset(thresholds, seed)
    for row in rows:
        dataset.add(row)
    train, test = script.split(dataset.samples.values())
    extract(serve(rows), *options)
    data = written()
    made = datetime.fromisoformat(data["generatedAt"])
    assert abs((datetime.now(UTC) - made).total_seconds()) < 60
    for part, samples in ((data["trainSet"], train), (data["testSet"], test)):
        assert part["features"] == [list(sample.features) for sample in samples]
        assert part["labels"] == [sample.tier for sample in samples]
    assert (data["seed"], data["tierThresholds"]) == (seed, thresholds)


def test_nothing_identifies_a_video(serve: Serve, extract: Extract) -> None:
    rows = sample_videos(50)
    extract(serve(rows))
    text = OUTPUT.read_text()
    for row in rows:
        for secret in (row["id"], row["platform_video_id"], row["platform"]):
            assert secret not in text
        assert script.digest_of(row, 42).hex() not in text


@pytest.mark.skipif(os.name != "posix", reason="elsewhere, there is no umask")
def test_the_mode_is_that_of_any_new_file(serve: Serve, extract: Extract) -> None:
    for earlier in (OUTPUT, PART):
        earlier.touch(0o400)
    before = os.umask(0o027)
    try:
        extract(serve(50))
    finally:
        os.umask(before)
    assert stat.S_IMODE(OUTPUT.stat().st_mode) == 0o640


def test_the_file_goes_where_output_says_and_a_link_stays(
    serve: Serve, extract: Extract
) -> None:
    Path("folder").mkdir()
    Path("link.json").symlink_to("folder/mine.json")
    extract(serve(50), "--output", "link.json")
    assert Path("link.json").is_symlink()
    assert written("folder/mine.json")["trainSet"]["count"] > 0
    assert sorted(os.listdir()) == ["folder", "link.json"]
    assert os.listdir("folder") == ["mine.json"]


# --- Whole or not at all


def test_it_is_written_under_a_name_of_its_own_until_it_is_on_the_disk(
    monkeypatch: Patch,
) -> None:
    OUTPUT.write_text("earlier")
    seen = []

    def fsync(file: int) -> None:
        seen.append((os.fstat(file).st_size, PART.read_bytes(), OUTPUT.read_text()))

    monkeypatch.setattr(os, "fsync", fsync)
    text = "donn\u00e9es\n"
    assert script.write_whole(OUTPUT.resolve(), iter(text)) == 9
    assert seen == [(9, text.encode(), "earlier")]
    assert OUTPUT.read_bytes() == text.encode()
    assert os.listdir() == [OUTPUT.name]


def test_two_runs_at_once_never_write_into_one_file() -> None:
    OUTPUT.write_text("earlier")
    PART.write_text("what the other run has so far")
    with pytest.raises(script.Failure, match="File exists"):
        script.write_whole(OUTPUT.resolve(), ["text"])
    assert OUTPUT.read_text() == "earlier"


def test_an_unfinished_file_that_can_not_be_removed_hides_no_failure() -> None:
    """Here, a folder has come in its place."""
    PART.mkdir()
    with pytest.raises(script.Failure, match="exists"):
        script.write_whole(OUTPUT.resolve(), ["text"])


KILLED_WHILE_IT_WRITES = """
import os, signal, extract_training_data
os.fsync = lambda file: os.kill(os.getpid(), signal.SIGKILL)
extract_training_data.main([])
"""


def test_a_run_that_is_killed_leaves_the_earlier_file_to_the_next_run(
    serve: Serve, extract: Extract
) -> None:
    server = serve(50)
    OUTPUT.write_text("earlier")
    environ = os.environ | settings(server) | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", KILLED_WHILE_IT_WRITES]
    assert subprocess.call(command, env=environ) == -signal.SIGKILL
    assert OUTPUT.read_text() == "earlier"
    assert sorted(os.listdir()) == [PART.name, OUTPUT.name]
    extract(server)
    assert written()["trainSet"]["count"] > 0
    assert os.listdir() == [OUTPUT.name]


def cant_write(code: int) -> str:
    """Return what is said when the system refuses to write."""
    return (
        f"Error: Can't write {OUTPUT.resolve()}: {os.strerror(code)}.\n"
        f"{script.ELSEWHERE}\nNothing was written.\n"
    )


def test_a_full_disk_is_said(serve: Serve, fails: Fails) -> None:
    """A limit on the size of files stands for the end of the disk."""
    resource = pytest.importorskip("resource", reason="only Unix has such limits")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        assert fails(serve(300)) == cant_write(errno.EFBIG)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("owner", "name", "code"),
    # EBUSY comes from a file that is mounted alone into a container.
    [(os, "fsync", errno.ENOSPC), (Path, "replace", errno.EBUSY)],
)
def test_what_is_refused_in_the_end_is_said(
    owner: Any, name: str, code: int, serve: Serve, fails: Fails, monkeypatch: Patch
) -> None:
    def refuse(*arguments: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(owner, name, refuse)
    assert fails(serve(50)) == cant_write(code)


@pytest.mark.parametrize(("owner", "name"), [(os, "fsync"), (Path, "replace")])
def test_ctrl_c_leaves_the_earlier_file_or_the_new_one(
    owner: Any, name: str, serve: Serve, extract: Extract, monkeypatch: Patch
) -> None:
    OUTPUT.write_text("earlier")
    finish = getattr(owner, name)

    def interrupted(*arguments: Any) -> None:
        finish(*arguments)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(owner, name, interrupted)
    assert extract(serve(50), code=130) == Printed("", "Interrupted.\n")
    left = "earlier" if name == "fsync" else '{\n  "generatedAt": '
    assert OUTPUT.read_text().startswith(left)
    assert os.listdir() == [OUTPUT.name]
