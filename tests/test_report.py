"""The report: what a person can tell a good extraction from a broken one by."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from conftest import OUTPUT, Extract, Serve, row
from sample_videos import sample_videos

import extract_training_data as script

BASELINE, _ = script.read_baseline(script.BASELINE)
LACKING = [
    "followers",
    "bookmarks",
    "shares",
    "comments",
    "uploaded_at",
    "hashtags",
    "sound_name",
]
LACKING += ["description", "likes"]  # each of some used videos of the real table


def samples(
    *counts: int, unknown: str = "", vector: float = 0.5
) -> list[script.Sample]:
    """Return so many samples of each tier, from 1 on."""
    packed = script.VECTOR.pack(*[vector] * 15)
    return [
        (bytes(32) + packed, tier, unknown)
        for tier, count in enumerate(counts, 1)
        for _ in range(count)
    ]


# --- Rows


def rows(*used: script.Sample, counted: int = 0, **dropped: int) -> list[str]:
    """Return the lines on rows; dropped reasons are given with underscores."""
    reasons = Counter({name.replace("_", " "): n for name, n in dropped.items()})
    return list(script.row_lines(list(used), reasons, counted))


def test_the_rows_of_the_real_table() -> None:
    lines = rows(*samples(7358), counted=7389, without_views=19, without_duration=12)
    assert lines == [
        "Read 7,389 rows, used 7,358.",
        "Dropped: 19 without views, 12 without duration.",
        "Unknown: nothing.",
    ]


def test_nothing_dropped_and_how_many_fewer_than_at_the_start() -> None:
    assert rows(*samples(1000), counted=2234)[:3] == [
        "Read 1,000 rows, used 1,000.",
        "Dropped: none.",
        "1,234 fewer than at the start: archived or deleted since.",
    ]
    for counted in (9, 10):  # rows may also have been added
        assert len(rows(*samples(10), counted=counted)) == 3


def test_what_is_unknown_is_a_share_of_the_videos_the_largest_first() -> None:
    used = [
        *samples(449, unknown="followers"),
        *samples(19, unknown="followers uploaded_at"),
        *samples(532),
    ]
    assert rows(*used)[2:] == ["Unknown: followers 46.8%, uploaded_at 1.9%."]


def test_one_video_that_lacks_an_input_is_not_none_of_them() -> None:
    used = [*samples(1, unknown="likes"), *samples(9998)]
    assert rows(*used)[2:] == ["Unknown: likes <0.1%."]
    assert [script.percent(share) for share in (0, 1e-9, 0.00099, 0.001, 1)] == [
        "0.0%",
        "<0.1%",
        "<0.1%",
        "0.1%",
        "100.0%",
    ]


def test_an_input_that_more_than_90_percent_lack_is_asked_about() -> None:
    used = [
        *samples(900, unknown="likes uploaded_at"),
        *samples(99),
        *samples(1, unknown="likes"),
    ]
    assert rows(*used)[2:] == [
        "Unknown: likes 90.1%, uploaded_at 90.0%.",
        "90.1% lack likes: did something before this script stop filling it?",
    ]


def test_all_that_can_be_unknown_or_dropped_fits() -> None:
    used = samples(999_999, unknown=" ".join(LACKING))
    dropped = {
        "without_views": 999_999,
        "without_duration": 999_999,
        "duplicated": 999_999,
    }
    lines = rows(*used[:99], counted=99_999_999, **dropped)
    assert len(lines) == 4 + len(LACKING)
    assert max(map(len, lines[:3])) <= 80
    assert max(map(len, "\n".join(lines).split("\n"))) <= 80
    assert all(f" {name} 100.0%" in lines[3].replace("\n", " ") for name in LACKING)


# --- Tiers


def tiers(
    *counts: int, percentages: tuple[Any, ...] = (25, 25, 25, 15, 10)
) -> list[str]:
    """Return the lines on tiers beside a baseline with these percentages."""
    entries = [{"percentage": percentage} for percentage in percentages]
    baseline = {"virality_tiers": entries}
    return list(script.tier_lines(samples(*counts), baseline))


def test_the_tiers_of_the_real_table() -> None:
    used = samples(1836, 1844, 1843, 1100, 735)
    assert list(script.tier_lines(used, BASELINE)) == [
        "Tier                        videos   share  baseline  | baseline",
        "1 Unlikely to perform        1,836   25.0%     25.0%  #########################|",
        "2 Below average              1,844   25.1%     25.0%  #########################|",
        "3 Average                    1,843   25.0%     25.0%  #########################|",
        "4 Strong potential           1,100   14.9%     15.0%  ###############|",
        "5 Viral potential              735   10.0%     10.0%  ##########|",
    ]


def test_a_bar_is_as_long_as_the_share_and_marked_at_the_baselines() -> None:
    lines = tiers(50, 20, 10, 20, percentages=(40, 40, 10, 0, 10))
    assert [line[54:] for line in lines[1:6]] == [
        "####################|####",
        "##########          |",
        "#####|",
        "##########",
        "     |",
    ]


def test_the_widest_baseline_fits_too() -> None:
    lines = tiers(20, 80, percentages=(100, 0, 0, 0, 0))
    assert lines[1][54:] == "#####                    |"
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("percentage", [None, 0])
def test_a_baseline_without_percentages_or_labels(percentage: Any) -> None:
    lines = tiers(2, 2, 2, 2, 2, percentages=(percentage,) * 5)
    assert lines[1] == f"1 {'2':>32}{'20.0%':>8}{'':10}  {'#' * 25}"
    assert len(lines) == 6


def test_a_long_label_is_cut() -> None:
    entries = [{"label": "x" * 70} for _ in range(5)]
    lines = list(script.tier_lines(samples(9), {"virality_tiers": entries}))
    assert lines[1].startswith("1 " + "x" * 22 + "     ")


def test_a_tier_far_from_the_baseline_is_said_in_words() -> None:
    assert tiers(24, 21, 20, 4, 31)[6:] == [
        "Tier 4: 4.0% here, 15.0% in the baseline. Was that made from other data?",
        "Tier 5: 31.0% here, 10.0% in the baseline. Was that made from other data?",
    ]


def test_more_than_five_points_are_far() -> None:
    usual = (20, 20, 20, 20, 20)
    assert tiers(1501, 2499, 2000, 2000, 2000, percentages=usual)[6:] == []
    far = tiers(1499, 2501, 2000, 2000, 2000, percentages=usual)[6:]
    assert [line[:7] for line in far] == ["Tier 1:", "Tier 2:"]


def test_an_empty_tier_is_said_in_words() -> None:
    said = ["Tier 5 is empty: is the baseline of other data?"]
    assert tiers(25, 25, 25, 25)[6:] == [
        "Tier 4: 25.0% here, 15.0% in the baseline. Was that made from other data?",
        *said,
    ]
    assert tiers(25, 25, 25, 25, percentages=(None,) * 5)[6:] == said


# --- Features


def test_the_table_of_the_features() -> None:
    used = samples(6) + samples(1, vector=0.0) + samples(1, vector=1.0)
    lines = list(script.feature_lines(used))
    assert lines[0] == (
        "Feature                   minimum     mean  maximum     at 0     at 1"
    )
    assert lines[1:] == [
        f"{name:24}  0.00000  0.50000  1.00000    12.5%    12.5%"
        for name in script.FEATURE_NAMES
    ]


@pytest.mark.parametrize("count", [1, 2, 999, 1000, 1001, 2500])
def test_the_figures_of_the_features(count: int) -> None:
    vectors = [
        [
            (i if k % 2 else count - 1 - i) * (k < 13) / 4096 + (k == 14)
            for k in range(15)
        ]
        for i in range(count)
    ]
    used = [(bytes(32) + script.VECTOR.pack(*vector), 1, "") for vector in vectors]
    lines = list(script.feature_lines(used))[1:]
    for k, line in enumerate(lines):
        column = [vector[k] for vector in vectors]
        low, mean, high = min(column), sum(column) / count, max(column)
        shares = [script.percent(column.count(end) / count) for end in (0, 1)]
        assert line.split() == [
            script.FEATURE_NAMES[k],
            *[f"{figure:.5f}" for figure in (low, mean, high)],
            *shares,
        ]


# --- All of it


def test_what_a_person_sees(serve: Serve, extract: Extract) -> None:
    said = extract(serve(sample_videos(1000)), "--seed", "7")
    assert said.isascii()
    rows, tiers, features, origin = said[said.index("Read ") :].split("\n\n")
    used = int(re.search(r"used (\d+)\.", rows)[1])  # type: ignore[index]
    assert rows.count("\n") == 3
    assert tiers.startswith("Tier ")
    assert features.startswith("Feature ")
    assert features.count("\n") == 15
    train, path = used * 4 // 5, OUTPUT.resolve()
    lines = origin.splitlines()
    assert lines[:4] == [
        "Project   127.0.0.1",
        f"Baseline  {script.BASELINE} of 2026-02-16",
        f"Seed      7: {train} to train, {used - train} to test",
        f"File      {path}",
    ]
    size = path.stat().st_size / 1e6
    seconds = re.fullmatch(rf" {{10}}{size:.1f} MB, in (\d+\.\d) s", lines[4])
    assert seconds and float(seconds[1]) < 60
    assert len(lines) == 5
    assert max(map(len, f"{rows}\n{tiers}\n{features}".split("\n"))) <= 80


def test_uploads_without_a_time_are_seen(serve: Serve, extract: Extract) -> None:
    """Of 200 videos, 198 lack it; their weekday and hour are 0.5, not 0."""
    table = [row(n, metadata={"bookmarks": n, "followers": n}) for n in range(1, 201)]
    for video in table[:2]:
        video["metadata"] = {"uploaded_at": "2026-01-18T00:00:00Z"}  # a Sunday
    said = extract(serve(table))
    assert "Unknown: uploaded_at 99.0%, bookmarks 1.0%, followers 1.0%.\n" in said
    assert "99.0% lack uploaded_at: did something before this script stop" in said
    assert re.search(r"hourPosted +0\.00000 +0\.49500 +0\.50000 +1\.0% +0\.0%\n", said)


def test_the_baseline_that_was_used_is_named(serve: Serve, extract: Extract) -> None:
    text = script.BASELINE.read_text()
    Path("mine.json").write_text(text.replace('"generated_at": "2026-02-16",', ""))
    said = extract(serve(50), "--baseline", "mine.json")
    assert "\nBaseline  mine.json of ?\n" in said
