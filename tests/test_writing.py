"""Writing: the exact form of the file, and that it appears whole or not at all."""

import errno
import json
import os
import random
import re
import signal
import stat
from array import array
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from conftest import (
    FEATURE_NAMES,
    OUTPUT,
    Extract,
    Fails,
    Patch,
    Printed,
    Serve,
    features_by_name,
    make_row,
    make_sample,
    undated,
    vectors,
    written,
)
from sample_videos import sample_videos

import extract_training_data as script


def test_the_exact_form() -> None:
    train = [
        make_sample(tier=3, shareRate=0.1, commentRate=1 / 3),
        make_sample(tier=1),
        make_sample(tier=3, shareRate=1e-7, commentRate=0),
    ]
    test = [make_sample(tier=5)]
    time = datetime(2026, 2, 16, 18, 22, 24, 613_999, UTC)
    text = "".join(script.training_json(train, test, time))
    names = ", ".join(f'"{name}"' for name in FEATURE_NAMES)
    halves = ",0.5" * (len(FEATURE_NAMES) - 2)
    assert text == (
        "{\n"
        '  "generatedAt": "2026-02-16T18:22:24.613Z",\n'
        f'  "featureNames": [{names}],\n'
        '  "trainSet": {\n'
        '    "features": [\n'
        f"[0.1,0.3333333333333333{halves}],\n"
        f"[0.5,0.5{halves}],\n"
        f"[1e-07,0.0{halves}]\n"
        "    ],\n"
        '    "labels": [3, 1, 3],\n'
        '    "count": 3\n'
        "  },\n"
        '  "testSet": {\n'
        '    "features": [\n'
        f"[0.5,0.5{halves}]\n"
        "    ],\n"
        '    "labels": [5],\n'
        '    "count": 1\n'
        "  },\n"
        '  "labelDistribution": {"1": 1, "2": 0, "3": 2, "4": 0, "5": 1}\n'
        "}\n"
    )


def test_features_read_back_to_the_last_bit() -> None:
    rng = random.Random(1)
    values = [rng.random() ** rng.randrange(1, 60) for _ in range(2000)]
    samples = [make_sample(likeRate=value) for value in (*values, 5e-324, 1 - 2**-53)]
    text = "".join(script.training_json(samples, samples, datetime.now(UTC)))
    for part in ("trainSet", "testSet"):
        for vector, sample in zip(json.loads(text)[part]["features"], samples):
            assert array("d", vector) == sample.features


def test_the_sets_in_the_file_are_those_of_the_split(
    serve: Serve, extract: Extract
) -> None:
    rows = [make_row(n, n % 4, duration_seconds=n) for n in range(1, 101)]
    extract(serve(rows), "--seed", "7")
    data = script.Dataset([1, 2, 3, 4], 7)
    for row in rows:
        data.add(row)
    train, test = script.split(data.in_canonical_order())
    order = [features_by_name(sample)["durationSeconds"] for sample in train + test]
    assert [vector["durationSeconds"] for vector in vectors()] == order
    file = written()
    assert [file[part]["count"] for part in ("trainSet", "testSet")] == [80, 20]


def test_the_labels_are_counted_over_both_sets(serve: Serve, extract: Extract) -> None:
    extract(serve(300))
    data = written()
    for part in (data["trainSet"], data["testSet"]):
        assert part["count"] == len(part["features"]) == len(part["labels"])
    labels = data["trainSet"]["labels"] + data["testSet"]["labels"]
    assert data["labelDistribution"] == {str(t): labels.count(t) for t in range(1, 6)}
    assert " ".join(data) == (
        "generatedAt featureNames trainSet testSet labelDistribution"
    )
    assert re.fullmatch(r"\d{4}(-\d\d){2}T(\d\d:){2}\d\d\.\d{3}Z", data["generatedAt"])


def test_nothing_identifies_a_video(serve: Serve, extract: Extract) -> None:
    rows = sample_videos(50)
    extract(serve(rows))
    text = OUTPUT.read_text()
    for row in rows:
        assert row["id"] not in text
        assert row["platform_video_id"] not in text
        assert script.digest_of(row, 42).hex() not in text
    assert "tiktok" not in text


def test_the_default_seed_is_42(serve: Serve, extract: Extract) -> None:
    server, files = serve(50), []
    for options in ((), ("--seed", "42"), ("--seed", "43"), ("--seed", "-42")):
        extract(server, *options)
        files.append(b"".join(undated()))
    assert files[0] == files[1]
    assert len(set(files)) == 3


def test_the_file_goes_where_output_says(serve: Serve, extract: Extract) -> None:
    Path("folder").mkdir()
    extract(serve(50), "--output", "folder/mine.json")
    assert written("folder/mine.json")["trainSet"]["count"] > 0
    assert os.listdir() == ["folder"]
    assert os.listdir("folder") == ["mine.json"]


@pytest.mark.skipif(os.name != "posix", reason="elsewhere, there is no umask")
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
        extract(serve(50))
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
    extract(serve(50))
    assert OUTPUT.is_symlink()
    assert not target.is_symlink()
    assert written(target)["trainSet"]["count"] > 0
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
    assert os.listdir() == [OUTPUT.name]


def test_it_is_written_hidden_beside_its_target() -> None:
    """A folder elsewhere may be on another disk, from which it can't be moved."""
    seen = []

    def text() -> Iterator[str]:
        yield "text\n"
        seen.append(sorted(path.name[:1] for path in Path().iterdir()))

    assert script.write_whole(OUTPUT.resolve(), text()) == 5
    assert seen == [["."]]
    assert os.listdir() == [OUTPUT.name]


def test_the_file_is_on_the_disk_before_it_appears(monkeypatch: Patch) -> None:
    OUTPUT.write_text("earlier")
    seen = []

    def fsync(file: int) -> None:
        seen.append((os.fstat(file).st_size, OUTPUT.read_text()))

    monkeypatch.setattr(os, "fsync", fsync)
    assert script.write_whole(OUTPUT.resolve(), ["later", "\n"]) == 6
    assert seen == [(6, "earlier")]
    assert OUTPUT.read_bytes() == b"later\n"


def test_a_full_disk_is_said(serve: Serve, extract: Extract) -> None:
    """A limit on the size of files stands for the end of the disk."""
    resource = pytest.importorskip("resource", reason="only Unix has such limits")
    OUTPUT.write_text("earlier")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        said = extract(serve(300), code=1).err
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert said.splitlines() == [
        f"Error: Can't write {OUTPUT.resolve()}: File too large.",
        "Name a file in another place with --output, or make room if the disk is full.",
        "Nothing was written.",
    ]
    assert OUTPUT.read_text() == "earlier"
    assert os.listdir() == [OUTPUT.name]


@pytest.mark.parametrize("code", [errno.EBUSY, errno.EACCES])
def test_a_file_that_can_not_be_replaced(
    code: int, serve: Serve, fails: Fails, monkeypatch: Patch
) -> None:
    """EBUSY comes from a file that is mounted alone into a container."""

    def refuse(path: Path, target: Path) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "replace", refuse)
    assert fails(serve(50)).splitlines() == [
        f"Error: Can't write {OUTPUT.resolve()}: {os.strerror(code)}.",
        "Name a file in another place with --output, or make room if the disk is full.",
        "Nothing was written.",
    ]


def test_ctrl_c_while_it_writes(
    serve: Serve, extract: Extract, monkeypatch: Patch
) -> None:
    OUTPUT.write_text("earlier")
    monkeypatch.setattr(os, "fsync", lambda file: signal.raise_signal(signal.SIGINT))
    assert extract(serve(50), code=130) == Printed("", "Interrupted.\n")
    assert OUTPUT.read_text() == "earlier"
    assert os.listdir() == [OUTPUT.name]


def test_ctrl_c_once_it_is_written_leaves_the_whole_file(
    serve: Serve, extract: Extract, monkeypatch: Patch
) -> None:
    replace = Path.replace

    def interrupt(path: Path, target: Path) -> None:
        replace(path, target)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Path, "replace", interrupt)
    assert extract(serve(50), code=130) == Printed("", "Interrupted.\n")
    assert written()["trainSet"]["count"] > 0
    assert os.listdir() == [OUTPUT.name]
