"""The report: what a person can tell a good extraction from a broken one by."""

import io
import re
import sys
from collections import Counter
from collections.abc import Callable
from datetime import date
from math import nextafter
from pathlib import Path
from typing import Any

import pytest
from conftest import (
    FEATURE_NAMES,
    OUTPUT,
    Extract,
    Patch,
    Serve,
    flat,
    make_row,
    make_sample,
)
from sample_videos import sample_videos

import extract_training_data as script

BASELINE, _ = script.read_baseline(script.BASELINE)
LACKING = script.Video._fields[2:]  # all but views and duration
USUAL = (25, 25, 25, 15, 10)  # percent
COUNTED_AFTER_POSTING = {
    "shareRate",
    "commentRate",
    "likeRate",
    "saveRate",
    "shareToLikeRatio",
    "commentToLikeRatio",
    "viewsPerFollower",
}

# What the report points out, in one line each.
MORE_THAN_90_PERCENT_LACK = (
    "Check: more than 90% of the videos lack {}. "
    "Has the scraper stopped filling them in?"
)
MORE_THAN_10_PERCENT_LACK = (
    "Check: more than 10% of the videos lack {}. "
    "They count as 0 in the tier, too, which makes it too low."
)
OFF_THE_BASELINE = (
    "Check: empty, or more than 5 points off the baseline: {}. "
    "Either the table's columns are filled differently from before, or the baseline "
    'was made from other data. See "The label" in README.md.'
)
THE_SAME = "Check: the same in every video, so a model can learn nothing from them: {}."


def columns_of(lines: list[str]) -> int:
    """Return how many columns a report takes."""
    return max(map(len, "\n".join(lines).split("\n")))


def names_in(message: str, report: str) -> set[str]:
    """Return the names that a message in the report has in place of {}."""
    before, after = map(re.escape, message.split("{}"))
    [names] = re.findall(f"{before}(.*?){after}", flat(report))
    return set(names.split(", "))


# --- Rows


def lines_on_rows(
    samples: list[script.Sample],
    counted: int | None = 0,
    dropped: dict[str, int] | None = None,
) -> list[str]:
    """Return the lines on the rows that gave these samples; a wrapped one is one."""
    keyed = {number.to_bytes(32, "big"): each for number, each in enumerate(samples)}
    data = script.Dataset([], 42, keyed, Counter(dropped or {}), counted)
    return script.row_lines(data)


def samples_lacking(*names: str, some: int, of: int) -> list[script.Sample]:
    """Return samples, of which some lack what is named, and the others nothing."""
    unknown = [names] * some + [()] * (of - some)
    return [make_sample(unknown=each) for each in unknown]


def test_the_rows_of_the_real_table() -> None:
    dropped = {"without duration": 12, "without views": 19}
    days = [date(2026, 2, 13), *[date(2026, 1, 1)] * 7356, date(2025, 10, 16)]
    samples = [make_sample(uploaded_on=day) for day in days]
    assert lines_on_rows(samples, counted=7389, dropped=dropped) == [
        "Read 7,389 rows, used 7,358.",
        "Dropped: 19 without views, 12 without duration.",
        "Uploaded: 2025-10-16 to 2026-02-13.",
        "Unknown: nothing.",
    ]


def test_nothing_dropped_and_how_many_fewer_than_counted() -> None:
    samples = [make_sample()] * 1000
    assert lines_on_rows(samples, counted=2234) == [
        "Read 1,000 rows, used 1,000.",
        "Dropped: none.",
        (
            "1,234 fewer than counted at the start: archived or deleted since, or rows "
            "that\nshare an id, as in a view."
        ),
        "Uploaded: unknown.",
        "Unknown: nothing.",
    ]
    assert lines_on_rows(samples, counted=1001)[2].startswith("1 fewer than counted")
    for counted in (999, 1000):  # rows may also have been added
        assert len(lines_on_rows(samples, counted=counted)) == 4


def test_that_the_rows_were_not_counted() -> None:
    assert lines_on_rows([make_sample()], counted=None) == [
        "Read 1 rows, used 1.",
        "Dropped: none.",
        "The server did not count the rows, so a missing one would not be noticed.",
        "Uploaded: unknown.",
        "Unknown: nothing.",
    ]


def test_the_first_and_the_last_day_of_the_uploads_in_utc(
    serve: Serve, extract: Extract
) -> None:
    times = [
        "2026-01-05T12:00:00Z",
        "2026-01-04T01:30:00+02:00",  # in UTC, on the 3rd
        "2026-01-06T23:30:00-01:00",  # in UTC, on the 7th
        None,
    ]
    rows = [make_row(n, metadata={"uploaded_at": t}) for n, t in enumerate(times)]
    report = extract(serve(rows)).out
    assert "\nUploaded: 2026-01-03 to 2026-01-07.\n" in report


def test_what_is_unknown_is_a_share_of_the_videos_the_largest_first() -> None:
    samples = samples_lacking("uploaded_at", "followers", some=19, of=19)
    samples += samples_lacking("followers", some=449, of=981)
    dropped = {"without views": 1000}
    [line] = lines_on_rows(samples, dropped=dropped)[3:]
    assert line == "Unknown: followers 46.8%, uploaded_at 1.9%."


def test_what_is_as_frequent_is_in_the_order_of_its_name() -> None:
    for names in (("hashtags", "bookmarks"), ("bookmarks", "hashtags")):
        dropped = dict.fromkeys(reversed(names), 7)
        samples = [make_sample(unknown=(name,)) for name in names]
        lines = lines_on_rows(samples, dropped=dropped)
        assert lines[1] == "Dropped: 7 bookmarks, 7 hashtags."
        assert lines[3] == "Unknown: bookmarks 50.0%, hashtags 50.0%."


def test_a_share_that_is_not_0_never_reads_as_0() -> None:
    [line] = lines_on_rows(samples_lacking("likes", some=1, of=2001))[3:]
    assert line == "Unknown: likes <0.1%."
    [line] = lines_on_rows(samples_lacking("likes", some=1, of=1999))[3:]
    assert line == "Unknown: likes 0.1%."


def test_one_sentence_names_what_more_than_90_percent_lack() -> None:
    names = ("followers", "bookmarks")
    assert len(lines_on_rows(samples_lacking(*names, some=900, of=1000))) == 4
    [check] = lines_on_rows(samples_lacking(*names, some=901, of=1000))[4:]
    assert flat(check) == MORE_THAN_90_PERCENT_LACK.format("bookmarks, followers")


def test_one_sentence_names_likes_comments_and_shares_above_10_percent() -> None:
    assert len(lines_on_rows(samples_lacking(*LACKING, some=100, of=1000))) == 4
    [check] = lines_on_rows(samples_lacking(*LACKING, some=101, of=1000))[4:]
    assert flat(check) == MORE_THAN_10_PERCENT_LACK.format("comments, likes, shares")


def test_a_count_that_more_than_90_percent_lack_is_named_in_both_sentences() -> None:
    samples = samples_lacking("shares", "followers", some=80, of=80)
    samples += samples_lacking("shares", some=12, of=20)
    assert [flat(line) for line in lines_on_rows(samples)[3:]] == [
        "Unknown: shares 92.0%, followers 80.0%.",
        MORE_THAN_90_PERCENT_LACK.format("shares"),
        MORE_THAN_10_PERCENT_LACK.format("shares"),
    ]


def test_all_that_can_be_unknown_or_dropped_fits() -> None:
    reasons = ("without views", "without duration", "duplicated")
    dropped = dict.fromkeys(reasons, 999_999)
    lines = lines_on_rows(samples_lacking(*LACKING, some=9, of=9), 99_999_999, dropped)
    assert columns_of(lines) <= 80
    _, first, _, _, unknown, over_90, over_10 = map(flat, lines)
    assert first == (
        "Dropped: 999,999 duplicated, 999,999 without duration, 999,999 without views."
    )
    names = sorted(LACKING)
    assert unknown == f"Unknown: {', '.join(f'{name} 100.0%' for name in names)}."
    assert over_90 == MORE_THAN_90_PERCENT_LACK.format(", ".join(names))
    assert over_10 == MORE_THAN_10_PERCENT_LACK.format("comments, likes, shares")


# --- Tiers


def samples_of_tiers(*counts: int) -> list[script.Sample]:
    """Return so many samples of each tier, from 1 on."""
    tiers = [tier for tier, count in enumerate(counts, 1) for _ in range(count)]
    return [make_sample(tier=tier) for tier in tiers]


def baseline_with(*percentages: Any) -> dict[str, Any]:
    """Return a baseline that has these shares, and no labels."""
    return {"virality_tiers": [{"percentage": each} for each in percentages]}


def lines_on_tiers(*counts: int, percentages: tuple[Any, ...] = USUAL) -> list[str]:
    """Return the lines on tiers for so many videos of each, all to train."""
    baseline = baseline_with(*percentages)
    return script.tier_lines(samples_of_tiers(*counts), [], baseline)


def test_the_tiers_of_the_real_table() -> None:
    train = samples_of_tiers(1465, 1480, 1474, 877, 590)
    test = samples_of_tiers(371, 364, 369, 223, 145)
    assert script.tier_lines(train, test, BASELINE) == [
        "Tier                    train    test  share baseline median views  # | baseline",
        "1 Unlikely to perform   1,465     371  25.0%    25.0%        1,000  ###########|",
        "2 Below average         1,480     364  25.1%    25.0%        1,000  ###########|",
        "3 Average               1,474     369  25.0%    25.0%        1,000  ###########|",
        "4 Strong potential        877     223  14.9%    15.0%        1,000  #######|",
        "5 Viral potential         590     145  10.0%    10.0%        1,000  ####|",
    ]


def test_the_median_of_the_views_in_both_sets_blank_for_an_empty_tier() -> None:
    train = [make_sample(tier=1, views=views) for views in (50, 9, 10_000_000)]
    test = [make_sample(tier=1, views=30)]
    test += [make_sample(tier=2, views=views) for views in (5, 77_000, 1234)]
    lines = script.tier_lines(train, test, baseline_with(*USUAL))
    assert lines[1:4] == [
        "1                           3       1  57.1%    25.0%           40  #####|#####",
        "2                           0       3  42.9%    25.0%        1,234  #####|##",
        "3                           0       0   0.0%    25.0%                    |",
    ]


def test_a_bar_is_as_long_as_the_share_and_marked_at_the_baselines() -> None:
    lines = lines_on_tiers(38, 14, 10, 30, 8, percentages=(30, 38, 20, 0, 10))
    assert [line[68:] for line in lines[1:6]] == [
        "#########|#",
        "####       |",
        "###   |",
        "#########",
        "## |",
    ]


def test_the_widest_table_fits() -> None:
    """Of a million videos, as many as the table has columns for."""
    train = [make_sample(tier=1, views=999_999_999)] * 800_000
    test = [make_sample(tier=2)] * 199_999 + [make_sample(tier=3)]
    baseline = baseline_with(100, 0.04, 0, 0, 0)
    baseline["virality_tiers"][0]["label"] = "x" * 70
    lines = script.tier_lines(train, test, baseline)
    assert lines[1:4] == [
        f"1 {'x' * 19} 800,000       0  80.0%   100.0%  999,999,999  #########  |",
        "2                           0 199,999  20.0%    <0.1%        1,000  ##",
        "3                           0       1  <0.1%                 1,000",
    ]
    assert columns_of(lines) <= 80


@pytest.mark.parametrize("percentage", [None, 0, "many"])
def test_a_baseline_without_percentages_or_labels(percentage: Any) -> None:
    lines = lines_on_tiers(2, 2, 2, 2, 2, percentages=(percentage,) * 5)
    assert len(lines) == 6
    assert lines[1] == (
        "1                           2       0  20.0%                 1,000  ###########"
    )


def test_one_sentence_names_the_tiers_that_are_far_from_the_baseline() -> None:
    lines = lines_on_tiers(24, 21, 20, 4, 31)
    assert columns_of(lines) <= 80
    [check] = lines[6:]
    assert flat(check) == OFF_THE_BASELINE.format("tier 4, tier 5")


def test_more_than_five_points_are_far() -> None:
    assert lines_on_tiers(2999, 2500, 2500, 1501, 500)[6:] == []
    [check] = lines_on_tiers(3001, 2500, 2500, 1499, 500)[6:]
    assert flat(check) == OFF_THE_BASELINE.format("tier 1")


@pytest.mark.parametrize("percentages", [(25, 25, 25, 20, 5), (None,) * 5])
def test_an_empty_tier_is_named_even_if_few_are_expected(
    percentages: tuple[Any, ...],
) -> None:
    [check] = lines_on_tiers(25, 25, 25, 25, percentages=percentages)[6:]
    assert flat(check) == OFF_THE_BASELINE.format("tier 5")


# --- Features


def line_on_likes(*samples: script.Sample) -> str:
    """Return the report's line on likeRate."""
    return script.feature_lines(samples)[1 + FEATURE_NAMES.index("likeRate")]


def test_the_table_of_the_features() -> None:
    tiers = (1, 1, 1, 3, 3, 3, 5, 5)
    rates = (0.25, 0.5, 0.0, 1.0, 0.25, 0.5, 0.375, 1.0)
    rest = (0.1, 0.2, 0.3, 0.4, 0.4, 0.5, 0.7, 0.8)
    columns = zip(tiers, rates, rest, strict=True)
    samples = [make_sample(tier=t, likeRate=a, rest=b) for t, a, b in columns]
    header, *lines, star = script.feature_lines(samples)
    assert header == (
        "Feature                 median in tier 1 in tier 5   maximum      at 0      at 1"
    )
    for name, line in zip(FEATURE_NAMES, lines, strict=True):
        starred = f"{name} *" if name in COUNTED_AFTER_POSTING else name
        figures = (
            "   0.43750   0.25000   0.68750   1.00000     12.5%     25.0%"
            if name == "likeRate"
            else "   0.40000   0.20000   0.75000   0.80000      0.0%      0.0%"
        )
        assert line == f"{starred:20}{figures}"
    assert star == (
        "* counted after posting: leave these out to predict before posting. shareRate,\n"
        "commentRate and likeRate give the tier away: it is computed from the same\n"
        'counts. See "Before you train" in README.md.'
    )


def test_a_median_is_blank_if_no_video_has_the_tier() -> None:
    for tier, medians in (
        (1, "   0.50000          "),
        (3, "                    "),
        (5, "             0.50000"),
    ):
        line = line_on_likes(make_sample(tier=tier))
        assert line == (
            f"likeRate *             0.50000{medians}   0.50000      0.0%      0.0%"
        )


def test_a_share_at_0_or_at_1_that_is_not_0_never_reads_as_0() -> None:
    rates = (0.0, 1.0, *[0.5] * 1999)
    line = line_on_likes(*[make_sample(tier=3, likeRate=rate) for rate in rates])
    assert line.endswith("   1.00000     <0.1%     <0.1%")


def test_only_what_is_exactly_0_or_1_is_at_0_or_at_1() -> None:
    nearly = (nextafter(0, 1), nextafter(1, 0))
    line = line_on_likes(*[make_sample(tier=3, likeRate=rate) for rate in nearly])
    assert line.endswith("   1.00000      0.0%      0.0%")
    line = line_on_likes(make_sample(tier=3, likeRate=0))
    assert line.endswith("   0.00000    100.0%      0.0%")


def test_one_sentence_names_the_features_that_are_the_same_in_every_video() -> None:
    first = make_sample(rest=0.1, hourPosted=0.5, weekdayPosted=0)
    other = make_sample(rest=0.2, hourPosted=0.5, weekdayPosted=0)
    lines = script.feature_lines([first, other])
    assert columns_of(lines) <= 80
    check = lines[-2]
    assert flat(check) == THE_SAME.format("weekdayPosted, hourPosted")


def test_durations_in_milliseconds_are_seen(serve: Serve, extract: Extract) -> None:
    table = [
        row | {"duration_seconds": (row["duration_seconds"] or 0) * 1000}
        for row in sample_videos(100)
    ]
    report = extract(serve(table)).out
    assert "durationSeconds" in names_in(THE_SAME, report)


def test_a_table_without_metadata_is_seen(serve: Serve, extract: Extract) -> None:
    rows = [row | {"metadata": None} for row in sample_videos(100)]
    report = extract(serve(rows)).out
    assert "\nUploaded: unknown.\n" in report
    lack = {"bookmarks", "followers", "uploaded_at"}
    assert names_in(MORE_THAN_90_PERCENT_LACK, report) >= lack
    assert names_in(THE_SAME, report) >= {
        "saveRate",
        "hasFollowerData",
        "followerTier",
        "viewsPerFollower",
        "weekdayPosted",
        "hourPosted",
    }
    assert report.count("Check:") == 2


def test_views_and_comments_that_are_swapped_are_seen(
    serve: Serve, extract: Extract
) -> None:
    table = [
        row | {"views": row["comments"], "comments": row["views"]}
        for row in sample_videos(300)
    ]
    report = flat(extract(serve(table)).out)
    names = "tier 1, tier 2, tier 3, tier 4, tier 5"
    assert OFF_THE_BASELINE.format(names) in report


# --- Source and file


def test_the_size_of_a_million_videos() -> None:
    train, test = [make_sample()] * 800_000, [make_sample()] * 200_000
    path = Path("training-data.json")
    assert script.file_lines(train, test, path, 1_234_560_000, 61.26) == [
        "Sets      800,000 to train, 200,000 to test",
        "File      training-data.json",
        "          1,234.6 MB, in 61.3 s",
    ]


def test_a_line_of_80_columns_is_not_wrapped() -> None:
    words = "x" * 39
    assert script.wrapped(f"{words}x {words}") == f"{words}x {words}"
    assert script.wrapped(f"{words}xx {words}") == f"{words}xx\n{words}"


def test_wrapping_breaks_no_path() -> None:
    path = "/home/you/" + 9 * "my-project/"
    assert script.wrapped(f"It is in {path}\nand here") == f"It is in\n{path}\nand here"


# --- All of it


def test_what_a_person_sees(serve: Serve, extract: Extract) -> None:
    report, said = extract(serve(sample_videos(2500, seed=1)), "--seed", "7")
    assert said == ""
    assert report.isascii()
    assert len(report.splitlines()) <= 45
    rows, tiers, features, origin = report.split("\n\n")
    assert rows.startswith("Read 2,480 rows, used 2,467.\n")
    assert tiers.startswith("Tier ")
    assert features.startswith("Feature ")
    assert columns_of([rows, tiers, features]) <= 80
    path = OUTPUT.resolve()
    lines = origin.splitlines()
    assert lines[:5] == [
        "Project   127.0.0.1",
        f"Baseline  {script.BASELINE} of 2026-02-16",
        "Seed      7",
        "Sets      1,973 to train, 494 to test",
        f"File      {path}",
    ]
    size = path.stat().st_size / 1e6
    assert re.fullmatch(rf" {{10}}{size:.1f} MB, in \d+\.\d s", lines[5])
    assert len(lines) == 6


def test_the_same_rows_in_another_order_give_the_same_report(
    serve: Serve, extract: Extract
) -> None:
    def lasting(report: str) -> str:
        return re.sub(r"in [\d.]+ s\n$|127.0.0.1", "", report)

    table = [make_row(n, likes=None, metadata=None) for n in range(1, 21)]
    table += [make_row(30, views=0), make_row(31, duration_seconds=0)]
    first = extract(serve(table)).out
    other_ids = [
        row | {"id": make_row(n)["id"]} for n, row in enumerate(reversed(table), 1)
    ]
    assert lasting(extract(serve(other_ids, max_rows=3)).out) == lasting(first)


def test_the_seconds_are_those_of_the_whole_run(
    serve: Serve, extract: Extract, monkeypatch: Patch
) -> None:
    """From the settings to the report's last table, each of which takes a second."""
    clock = [100.0]

    def slow(function: Callable[..., Any]) -> Callable[..., Any]:
        def after_a_second(*arguments: Any) -> Any:
            clock[0] += 1
            return function(*arguments)

        return after_a_second

    server = serve(50)
    monkeypatch.setattr(script, "monotonic", lambda: clock[0])
    for name in ("read_settings", "feature_lines"):
        monkeypatch.setattr(script, name, slow(getattr(script, name)))
    monkeypatch.setattr(script, "write_whole", slow(lambda target, text: 52_500_000))
    assert extract(server).out.endswith(" 52.5 MB, in 3.0 s\n")


def test_the_baseline_that_was_used_is_named(serve: Serve, extract: Extract) -> None:
    text = script.BASELINE.read_text()
    for dated in ("", '"generated_at": null,'):
        mine = text.replace('"generated_at": "2026-02-16",', dated)
        Path("mine.json").write_text(mine)
        report = extract(serve(50), "--baseline", "mine.json").out
        assert "\nBaseline  mine.json of ?\n" in report


def test_what_the_output_can_not_show_is_escaped(
    serve: Serve, extract: Extract, monkeypatch: Patch
) -> None:
    output = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", output)
    extract(serve(50), "--output", "donn\u00e9es.json")
    output.seek(0)
    assert "/donn\\xe9es.json\n" in output.read()
