"""The file: its exact form, and that it appears whole or not at all."""

import json
import os
import re
import signal
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import written
from hypothesis import given, settings
from hypothesis import strategies as st
from local_supabase import LocalSupabase
from sample_videos import sample_videos

import extract_training_data as script

Serve = Callable[..., LocalSupabase]
Extract = Callable[..., int]
OUTPUT = Path("training-data.json")


def sample(tier: int, *start: float) -> script.Sample:
    """Return a sample whose vector begins with these numbers and ends in halves."""
    return ("", tier, script.VECTOR.pack(*start, *[0.5] * (15 - len(start))))


def test_the_exact_form() -> None:
    train = [sample(3, 0.1, 1 / 3), sample(1), sample(3, 1e-7)]
    text = "".join(script.training_json(train, [sample(5)], "2026-02-16T18:22:24.613Z"))
    names = ", ".join(f'"{name}"' for name in script.FEATURE_NAMES)
    half = ",0.5"
    assert text == (
        "{\n"
        '  "generatedAt": "2026-02-16T18:22:24.613Z",\n'
        f'  "featureNames": [{names}],\n'
        '  "trainSet": {\n'
        '    "features": [\n'
        f"[0.1,0.3333333333333333{half * 13}],\n"
        f"[0.5{half * 14}],\n"
        f"[1e-7{half * 14}]\n"
        "    ],\n"
        '    "labels": [3, 1, 3],\n'
        '    "count": 3\n'
        "  },\n"
        '  "testSet": {\n'
        '    "features": [\n'
        f"[0.5{half * 14}]\n"
        "    ],\n"
        '    "labels": [5],\n'
        '    "count": 1\n'
        "  },\n"
        '  "labelDistribution": {"1": 1, "2": 0, "3": 2, "4": 0, "5": 1}\n'
        "}\n"
    )


@pytest.mark.parametrize("count", [999, 1000, 1001, 2500])
def test_each_vector_stands_once_on_its_line(count: int) -> None:
    samples = [sample(1, i / 4096) for i in range(count)]
    text = "".join(script.training_json(samples, samples[:1], "now"))
    vectors = [json.loads(m) for m in re.findall(r"^(\[.*\]),?$", text, re.MULTILINE)]
    assert [vector[0] for vector in vectors] == [i / 4096 for i in range(count)] + [0]
    assert json.loads(text)["trainSet"]["count"] == count


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=15, max_size=15))
def test_a_feature_reads_back_to_the_last_bit(vector: list[float]) -> None:
    packed = script.VECTOR.pack(*vector)
    text = "".join(script.training_json([("", 1, packed)], [], "now"))
    assert script.VECTOR.pack(*json.loads(text)["trainSet"]["features"][0]) == packed


def test_four_fifths_rounded_down_are_the_train_set(
    serve: Serve, extract: Extract
) -> None:
    rows = sample_videos(14)
    for row in rows:
        row |= {"archived_at": None, "duration_seconds": 9, "views": 9}
    for count, train in ((2, 1), (4, 3), (5, 4), (9, 7), (10, 8), (14, 11)):
        assert extract(serve(rows[:count])) == 0
        data = written()
        counts = [data[part]["count"] for part in ("trainSet", "testSet")]
        assert counts == [train, count - train]
        for part in (data["trainSet"], data["testSet"]):
            assert part["count"] == len(part["features"]) == len(part["labels"])


def test_the_first_videos_of_the_shuffle_are_the_train_set(
    serve: Serve, extract: Extract
) -> None:
    rows = sample_videos(10)
    for number, row in enumerate(rows):
        row |= {"archived_at": None, "duration_seconds": 1 + number, "views": 9}
        row["platform_video_id"] = f"{number:019}"
    samples = [(f"tiktok/{number:019}", number, b"") for number in range(10)]
    script.shuffle(samples, 7)
    assert extract(serve(rows), "--seed", "7") == 0
    data = written()
    vectors = data["trainSet"]["features"] + data["testSet"]["features"]
    assert [round(v[6] * 180) - 1 for v in vectors] == [n for _, n, _ in samples]


def test_the_labels_are_counted_over_both_sets(serve: Serve, extract: Extract) -> None:
    assert extract(serve(300)) == 0
    data = written()
    labels = data["trainSet"]["labels"] + data["testSet"]["labels"]
    counts = {str(tier): labels.count(tier) for tier in (1, 2, 3, 4, 5)}
    assert data["labelDistribution"] == counts
    assert list(data) == [
        "generatedAt",
        "featureNames",
        "trainSet",
        "testSet",
        "labelDistribution",
    ]


def test_nothing_identifies_a_video(serve: Serve, extract: Extract) -> None:
    rows = sample_videos(50)
    assert extract(serve(rows)) == 0
    text = OUTPUT.read_text()
    for row in rows:
        assert row["id"] not in text
        assert row["platform_video_id"] not in text
    assert "tiktok" not in text


def test_the_default_seed_is_42(serve: Serve, extract: Extract) -> None:
    server, files = serve(50), []
    for options in ((), ("--seed", "42"), ("--seed", "43"), ("--seed", "-42")):
        assert extract(server, *options) == 0
        files.append(OUTPUT.read_bytes())
    assert files[0] == files[1]
    assert len(set(files)) == 3


def test_generated_at(monkeypatch: pytest.MonkeyPatch) -> None:
    form = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    assert re.fullmatch(form, script.timestamp({}))
    assert re.fullmatch(form, script.timestamp({"SOURCE_DATE_EPOCH": ""}))
    epoch = {"SOURCE_DATE_EPOCH": "1771266144"}
    monkeypatch.setenv("TZ", "America/New_York")
    assert script.timestamp(epoch) == "2026-02-16T18:22:24.000Z"


def test_the_file_goes_where_output_says(serve: Serve, extract: Extract) -> None:
    Path("folder").mkdir()
    assert extract(serve(50), "--output", "folder/mine.json") == 0
    assert written("folder/mine.json")["trainSet"]["count"] > 0
    assert os.listdir() == ["folder"]
    assert os.listdir("folder") == ["mine.json"]


@pytest.mark.parametrize(
    ("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0, 0o666)]
)
def test_the_permissions_are_those_of_any_new_file(
    umask: int, mode: int, serve: Serve, extract: Extract
) -> None:
    OUTPUT.write_text("earlier")
    OUTPUT.chmod(0o400)
    before = os.umask(umask)
    try:
        assert extract(serve(50)) == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE(OUTPUT.stat().st_mode) == mode


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_its_target_is_replaced(
    there: bool, serve: Serve, extract: Extract
) -> None:
    Path("elsewhere").mkdir()
    target = Path("elsewhere/data.json")
    if there:
        target.write_text("earlier")
    OUTPUT.symlink_to(target)
    assert extract(serve(50)) == 0
    assert OUTPUT.is_symlink()
    assert not target.is_symlink()
    assert written(str(target))["trainSet"]["count"] > 0
    assert os.listdir("elsewhere") == ["data.json"]


# --- Whole or not at all


def failing_text(error: BaseException) -> Iterator[str]:
    yield "x" * 100_000
    raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError()])
def test_an_interrupted_file_does_not_appear(error: BaseException) -> None:
    OUTPUT.write_text("earlier")
    with pytest.raises(type(error)):
        script.write_whole(OUTPUT.resolve(), failing_text(error))
    assert OUTPUT.read_text() == "earlier"
    assert os.listdir() == ["training-data.json"]


def test_it_is_written_beside_its_target(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder elsewhere may be on another disk, from which it can't be moved."""
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    assert script.write_whole(OUTPUT.resolve(), ["text"]) == 4


def test_ctrl_c_after_it_was_written_comes_too_late(
    serve: Serve,
    extract: Extract,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    replace = Path.replace

    def interrupt(path: Path, target: Path) -> None:
        replace(path, target)
        for number in script.SIGNALS:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(Path, "replace", interrupt)
    assert extract(serve(50)) == 0
    assert written()["trainSet"]["count"] > 0
    assert "Interrupted" not in capsys.readouterr().err


def test_a_circle_of_links_is_no_output(serve: Serve, extract: Extract) -> None:
    Path("one").symlink_to("other")
    Path("other").symlink_to("one")
    assert extract(serve(50), "--output", "one") == 2
    assert Path("one").is_symlink()


def test_a_signal_that_was_ignored_stays_so(
    serve: Serve, extract: Extract, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As nohup has it for SIGHUP."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    monkeypatch.setattr(os, "fsync", lambda file: os.kill(os.getpid(), signal.SIGHUP))
    assert extract(serve(50)) == 0


def test_a_full_disk_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    OUTPUT.write_text("earlier")
    full = OSError(28, "No space left on device")
    words = f"^Can't write {OUTPUT.resolve()}: No space left on device\\.\nMake room"
    with pytest.raises(script.Failure, match=words) as failure:
        script.write_whole(OUTPUT.resolve(), failing_text(full))
    assert failure.value.exit_code == 1
    assert OUTPUT.read_text() == "earlier"
    assert os.listdir() == ["training-data.json"]


def test_the_file_is_on_the_disk_before_it_appears(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    OUTPUT.write_text("earlier")
    seen = []

    def fsync(file: int) -> None:
        seen.append((os.fstat(file).st_size, OUTPUT.read_text()))

    monkeypatch.setattr(os, "fsync", fsync)
    assert script.write_whole(OUTPUT.resolve(), ["later", "\n"]) == 6
    assert seen == [(6, "earlier")]
    assert OUTPUT.read_bytes() == b"later\n"


@pytest.mark.parametrize(
    ("number", "exit_code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
)
def test_ctrl_c_while_it_writes(
    number: signal.Signals,
    exit_code: int,
    serve: Serve,
    extract: Extract,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    OUTPUT.write_text("earlier")
    monkeypatch.setattr(os, "fsync", lambda file: os.kill(os.getpid(), number))
    assert extract(serve(50)) == exit_code
    assert OUTPUT.read_text() == "earlier"
    assert os.listdir() == ["training-data.json"]
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "Interrupted. Nothing was written."
