"""The report: what a person can tell a good extraction from a broken one by."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from local_supabase import LocalSupabase
from sample_videos import sample_videos

import extract_training_data as script

Serve = Callable[..., LocalSupabase]
Extract = Callable[..., int]
BLOCKS, ASCII = ("█", "│"), ("#", "|")
FIGURES = [(0.0, 0.25, 1.0, 0.125)] * 15
TIERS = script.read_baseline(ROOT / "calibration-baseline.json")


def report(
    labels: dict[int, int],
    dropped: dict[str, int] | None = None,
    tiers: list[dict[str, Any]] = TIERS,
    figures: list[script.Figures] = FIGURES,
    characters: tuple[str, str] = ASCII,
) -> list[str]:
    """Return the lines of the report."""
    labels = Counter(labels)
    text = script.report(labels, dropped or {}, tiers, figures, "written", characters)
    return text.split("\n")


def test_a_good_extraction() -> None:
    labels = dict(zip((1, 2, 3, 4, 5), (1836, 1844, 1843, 1100, 735)))
    figures = list(FIGURES)
    figures[0] = (0.0, 0.012345678, 1.0, 0.123)
    dropped = {"without views": 19, "without duration": 12}
    assert report(labels, dropped, figures=figures, characters=BLOCKS)[:13] == [
        "Read 7,389 rows, used 7,358.",
        "Dropped: 12 without duration, 19 without views.",
        "",
        "Tier                        videos   share  baseline  │ baseline",
        "1 Unlikely to perform        1,836   25.0%     25.0%  █████████████████████████│",
        "2 Below average              1,844   25.1%     25.0%  █████████████████████████│",
        "3 Average                    1,843   25.0%     25.0%  █████████████████████████│",
        "4 Strong potential           1,100   14.9%     15.0%  ███████████████│",
        "5 Viral potential              735   10.0%     10.0%  ██████████│",
        "",
        "Feature                    minimum      mean   maximum     zero",
        "shareRate                  0.00000   0.01235   1.00000    12.3%",
        "commentRate                0.00000   0.25000   1.00000    12.5%",
    ]
    assert report(labels, dropped, figures=figures)[-3:] == [
        "hourPosted                 0.00000   0.25000   1.00000    12.5%",
        "",
        "written",
    ]


def test_nothing_dropped() -> None:
    assert report({1: 1234567})[:2] == [
        "Read 1,234,567 rows, used 1,234,567.",
        "Dropped: none.",
    ]


def bars(labels: dict[int, int], percentages: tuple[float | None, ...]) -> list[str]:
    """Return what stands in the last column for these baseline percentages."""
    tiers = [{"tier": t, "percentage": p} for t, p in enumerate(percentages, 1)]
    return [line[54:] for line in report(labels, tiers=tiers)[4:9]]


def test_a_bar_is_as_long_as_the_share_and_marked_at_the_baselines() -> None:
    labels = {1: 50, 2: 20, 3: 10, 4: 20}
    assert bars(labels, (40, 40, 10, 0, 10)) == [
        "####################|####",
        "##########          |",
        "#####|",
        "|#########",
        "     |",
    ]


def test_all_that_can_be_dropped_fits() -> None:
    few = {"duplicated": 1, "without duration": 2, "without views": 3}
    many = {reason: 999_999 for reason in few}
    dropped = "Dropped: 1 duplicated, 2 without duration, 3 without views."
    assert report({1: 9}, few)[1] == dropped
    assert len(report({1: 9}, many)[1]) <= 80


def test_the_widest_baseline_fits_too() -> None:
    assert bars({1: 20, 2: 80}, (100, 0, 0, 0, 0)) == [
        "#####                    |",
        "|###################",
        "|",
        "|",
        "|",
    ]


def test_a_baseline_without_percentages_or_labels() -> None:
    tiers = [{"tier": tier, "label": 7} for tier in (1, 2, 3, 4, 5)]
    lines = report(dict.fromkeys((1, 2, 3, 4, 5), 2), tiers=tiers)
    assert (
        lines[4] == "1                                2   20.0%            " + "#" * 25
    )
    assert lines[9] == ""


@pytest.mark.parametrize(
    "percentage", ["many", True, -1, 101, 1e300, float("nan"), [1]]
)
def test_a_percentage_that_is_none(percentage: Any) -> None:
    tiers = [{"tier": tier, "percentage": percentage} for tier in (1, 2, 3, 4, 5)]
    lines = report(dict.fromkeys((1, 2, 3, 4, 5), 2), tiers=tiers)
    assert (
        lines[4] == "1                                2   20.0%            " + "#" * 25
    )


def test_a_percentage_in_text() -> None:
    assert bars({1: 50, 2: 50}, ("40", 60, 0, 0, 0))[0] == "#" * 17 + "|" + "###"


def test_a_label_that_would_break_the_table_is_left_out() -> None:
    tiers = [tier | {"label": "a\nb"} for tier in TIERS]
    assert report({1: 9}, tiers=tiers)[4].startswith("1     ")


def test_a_long_label_is_cut() -> None:
    tiers = [tier | {"label": "x" * 70} for tier in TIERS]
    assert max(len(line) for line in report({1: 9}, tiers=tiers)) <= 80
    assert report({1: 9}, tiers=tiers)[4].startswith("1 " + "x" * 22 + "     ")


def remarks(labels: dict[int, int], **options: Any) -> list[str]:
    """Return the lines between the two tables, two for each remark, joined."""
    lines = report(labels, **options)
    between = lines[9 : lines.index("", 9)]
    assert all(len(line) <= 80 for line in lines)
    return [f"{a} {b.strip()}" for a, b in zip(between[::2], between[1::2])]


def test_a_tier_far_from_the_baseline_is_said_in_words() -> None:
    assert remarks({1: 24, 2: 21, 3: 20, 4: 4, 5: 31}) == [
        "tier 4 holds 4% here, 15% in the baseline: was the baseline made from other data?",
        "tier 5 holds 31% here, 10% in the baseline: was the baseline made from other data?",
    ]


def test_exactly_five_points_are_not_far() -> None:
    """Though 100 * 0.29 is less than 29, for a computer."""
    usual = (34, 23, 20, 13, 10)
    tiers = [tier | {"percentage": share} for tier, share in zip(TIERS, usual)]
    assert remarks({1: 29, 2: 28, 3: 20, 4: 13, 5: 10}, tiers=tiers) == []


def test_more_than_five_points_are_far() -> None:
    tiers = [tier | {"percentage": 20} for tier in TIERS]
    assert remarks({1: 1501, 2: 2499, 3: 2000, 4: 2000, 5: 2000}, tiers=tiers) == []
    off = remarks({1: 1499, 2: 2501, 3: 2000, 4: 2000, 5: 2000}, tiers=tiers)
    assert [text[:19] for text in off] == ["tier 1 holds 15% he", "tier 2 holds 25% he"]


def test_an_empty_tier_is_said_in_words() -> None:
    assert remarks({1: 25, 2: 25, 3: 25, 4: 25})[-1] == (
        "tier 5 is empty, 10% in the baseline: was the baseline made from other data?"
    )
    bare = [{"tier": tier} for tier in (1, 2, 3, 4, 5)]
    assert remarks({1: 25, 2: 25, 3: 25, 4: 25}, tiers=bare) == [
        "tier 5 is empty: was the baseline made from other data?"
    ]


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("shareRate", 0.0, "does the table hold shares?"),
        ("commentRate", 0.0, "does the table hold comments?"),
        ("likeRate", 0.0, "does the table hold likes?"),
        ("likeRate", 0.25, "it tells a model nothing."),
        ("saveRate", 0.0, "does metadata hold bookmarks?"),
        ("hashtagCount", 0.0, "does the table hold hashtags?"),
        ("hasTrendingSound", 0.0, "does the table hold sound_name?"),
        ("captionLength", 0.0, "does the table hold description?"),
        ("hasFollowerData", 0.0, "does metadata hold followers?"),
        ("hasFollowerData", 1.0, "it tells a model nothing."),
        ("followerTier", 0.5, "does metadata hold followers?"),
        ("viewsPerFollower", 0.0, "does metadata hold followers?"),
        ("weekdayPosted", 0.5, "does metadata hold uploaded_at?"),
        ("hourPosted", 0.0, "it tells a model nothing."),
        ("hourPosted", 0.5, "does metadata hold uploaded_at?"),
    ],
)
def test_a_column_with_a_single_value_is_said_in_words(
    name: str, value: float, hint: str
) -> None:
    figures = list(FIGURES)
    figures[script.FEATURE_NAMES.index(name)] = (value, value, value, float(not value))
    lines = report({1: 9}, figures=figures)
    remark = f"{name} is {value:g} for every video: {hint}"
    assert lines[-4].startswith("hourPosted     ")  # and none of the tiers' remarks
    assert lines[-3:] == [remark, "", "written"]


@pytest.mark.parametrize("count", [1, 2, 999, 1000, 1001, 2500])
def test_the_figures_of_the_features(count: int) -> None:
    vectors = [
        [(i if k % 2 else count - 1 - i) * (k < 13) / 4096 for k in range(15)]
        for i in range(count)
    ]
    samples = [("", 1, script.VECTOR.pack(*vector)) for vector in vectors]
    for k, (low, mean, high, zero) in enumerate(script.describe_features(samples)):
        column = [vector[k] for vector in vectors]
        assert (low, high) == (min(column), max(column))
        assert mean == pytest.approx(sum(column) / count)
        assert zero == pytest.approx(column.count(0) / count)


def test_a_feature_that_is_always_1() -> None:
    ones = [("", 1, script.VECTOR.pack(*[1.0] * 15))] * 3
    assert script.describe_features(ones) == [(1, 1, 1, 0)] * 15


@pytest.mark.parametrize(
    ("encoding", "locale", "characters"),
    [
        ("utf-8", "C.UTF-8", BLOCKS),
        ("UTF-16", "en_US.UTF-8", BLOCKS),
        ("latin-1", "C.UTF-8", ASCII),
        ("ascii", "C.UTF-8", ASCII),
        ("utf-8", "C", ASCII),
        ("utf-8", "POSIX", ASCII),
    ],
)
def test_ascii_where_it_has_to_be(
    encoding: str,
    locale: str,
    characters: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(script, "setlocale", lambda category: locale)
    assert script.bar_characters(encoding) == characters


def test_what_a_person_sees(
    serve: Serve, extract: Extract, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = sample_videos(1000)
    archived = sum(row["archived_at"] is not None for row in rows)
    assert extract(serve(rows)) == 0
    output = capsys.readouterr()
    assert output.out == ""
    lines = output.err.splitlines()
    assert lines[0].startswith(f"{1000 - archived} of {1000 - archived} rows, ")
    assert lines[1].startswith(f"Read {1000 - archived} rows, used ")
    path = Path("training-data.json").resolve()
    size = path.stat().st_size / 1e6
    used = int(lines[1].split()[-1].rstrip("."))
    train = used * 4 // 5
    assert lines[-3] == f"Train set {train} videos, test set {used - train}, written to"
    assert lines[-2] == str(path)
    seconds = re.fullmatch(rf"{size:.1f} MB, in (\d+\.\d) s", lines[-1])
    assert seconds
    assert float(seconds[1]) < 60
    assert all(len(line) <= 80 for line in lines if line != str(path))


def test_the_size_is_in_millions_of_bytes(
    serve: Serve,
    extract: Extract,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(script, "write_whole", lambda target, text: 7_300_000)
    assert extract(serve(50)) == 0
    assert "\n7.3 MB, in " in capsys.readouterr().err


def test_a_table_without_metadata(
    serve: Serve, extract: Extract, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row | {"metadata": None} for row in sample_videos(200)]
    assert extract(serve(rows)) == 0
    assert capsys.readouterr().err.count("for every video: does metadata hold") == 6


def test_no_report_says_more_than_there_is_room_for(
    serve: Serve, extract: Extract, capsys: pytest.CaptureFixture[str]
) -> None:
    row = sample_videos(1)[0] | {"views": 7, "duration_seconds": 7, "archived_at": None}
    twins = [
        row | {"id": f"00000000-0000-4000-8000-{n:012}", "platform_video_id": str(n)}
        for n in range(9)
    ]
    assert extract(serve(twins)) == 0
    lines = capsys.readouterr().err.splitlines()
    lines.remove(str(Path("training-data.json").resolve()))
    assert max(len(line) for line in lines) <= 80
