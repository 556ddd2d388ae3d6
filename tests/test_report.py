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

LACKING = sorted(set(script.READERS) - {"views", "duration_seconds"})
USUAL = (25, 25, 25, 15, 10)  # percent
# fmt: off
COUNTED_AFTER_POSTING = {
    "shareRate", "commentRate", "likeRate", "saveRate", "shareToLikeRatio",
    "commentToLikeRatio", "viewsPerFollower",
}
# fmt: on

# What the report points out, in one line each.
NOT_COUNTED = "The rows were not counted, so a missing one would go unnoticed."
FEWER = (
    "{} fewer than counted at the start: archived or deleted since, no longer shown to "
    "this key, or rows that share an id, as in a view."
)
DUPLICATED = (
    "Check: {} duplicated. If the table holds each video once, rows were replaced under "
    "new ids while it was read, and others may be missing: run this again. If a "
    "video may have several rows, nothing is lost."
)
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
IN_THE_TIER = MORE_THAN_10_PERCENT_LACK.format("likes, comments, shares")
ALL_LACK = MORE_THAN_90_PERCENT_LACK.format(", ".join(LACKING))
THE_SAME = "Check: the same in every video, so a model can learn nothing from it: {}."
STAR = (
    "* counted after posting: leave these out to predict before posting. shareRate, "
    "commentRate and likeRate give the tier away: it is computed from the same counts. "
    'See "Before you train" in README.md.'
)


def joined(lines: list[str]) -> str:
    """Return lines of sentences as one, and see that they fit."""
    assert max(map(len, lines), default=0) <= 80
    return " ".join(lines)


# --- Rows


def about_rows(
    samples: list[script.Sample],
    dropped: dict[str, int],
    counted: int | None = 0,
    days: tuple[date, ...] = (),
) -> list[str]:
    """Return the lines on the rows that gave these samples."""
    keyed = {number.to_bytes(32, "big"): each for number, each in enumerate(samples)}
    data = script.Dataset([], 42, keyed, set(days), Counter(dropped), counted)
    return script.row_lines(data)


def samples_lacking(*names: str, some: int, of: int) -> list[script.Sample]:
    """Return samples, of which some lack what is named, and the others nothing."""
    unknown = [names] * some + [()] * (of - some)
    return [make_sample(unknown=each) for each in unknown]


def test_the_rows_of_the_real_table() -> None:
    days = (date(2026, 2, 13), date(2025, 10, 16), date(2026, 1, 1))
    dropped = {"without duration": 12, "without views": 19}
    assert about_rows([make_sample()] * 7358, dropped, 7389, days) == [
        "Read 7,389 rows, used 7,358.",
        "Dropped: 19 without views, 12 without duration.",
        "Uploaded: 2025-10-16 to 2026-02-13.",
        "Unknown: nothing.",
    ]


@pytest.mark.parametrize(
    ("read", "counted", "said"),
    [
        (1_000_000, 0, ""),  # rows may also have been added
        (1_000_000, 1_000_000, ""),
        (1_000_000, 1_000_001, FEWER.format("1")),
        (990_000, 1_000_000, FEWER.format("10,000")),
        (989_999, 1_000_000, "Check: " + FEWER.format("10,001")),
        (1_000, None, NOT_COUNTED),
    ],
)
def test_how_many_fewer_than_counted(read: int, counted: int, said: str) -> None:
    lines = about_rows([make_sample()], {"without views": read - 1}, counted)
    assert joined(lines[2:-2]) == said


def test_duplicated_rows_are_pointed_out() -> None:
    lines = about_rows([make_sample()], {"duplicated": 1807})
    assert lines[1] == "Dropped: 1,807 duplicated."
    assert joined(lines[2:-2]) == DUPLICATED.format("1,807")


def test_what_is_unknown_is_a_share_of_the_videos_the_largest_first() -> None:
    samples = samples_lacking("uploaded_at", "followers", some=19, of=19)
    samples += samples_lacking("followers", some=449, of=981)
    assert about_rows(samples, {})[1:] == [
        "Dropped: none.",
        "Uploaded: unknown.",
        "Unknown: followers 46.8%, uploaded_at 1.9%.",
    ]


def test_what_is_as_frequent_is_in_the_order_of_its_name() -> None:
    for names in (("hashtags", "bookmarks"), ("bookmarks", "hashtags")):
        samples = [make_sample(unknown=(name,)) for name in names]
        lines = about_rows(samples, dict.fromkeys(reversed(names), 7))
        assert lines[1] == "Dropped: 7 bookmarks, 7 hashtags."
        assert lines[3] == "Unknown: bookmarks 50.0%, hashtags 50.0%."


@pytest.mark.parametrize(
    ("some", "checks"),
    [
        (100, []),
        (101, [IN_THE_TIER]),
        (900, [IN_THE_TIER]),
        (901, [ALL_LACK, IN_THE_TIER]),
        (1000, [ALL_LACK, IN_THE_TIER]),
    ],
)
def test_one_sentence_each_names_what_many_lack(some: int, checks: list[str]) -> None:
    lines = about_rows(samples_lacking(*LACKING, some=some, of=1000), {})
    shown = ", ".join(f"{name} {some / 1000:.1%}" for name in LACKING)
    assert joined(lines[3:]) == " ".join([f"Unknown: {shown}.", *checks])


def test_a_sentence_is_wrapped_at_80_columns() -> None:
    for name, lines in ((68 * "x", 1), (69 * "x", 2)):
        assert len(about_rows([make_sample()], {name: 1})[1:-2]) == lines


# --- Tiers


def baseline_with(*percentages: Any, label: str | None = None) -> dict[str, Any]:
    """Return a baseline that has these shares, and this label for each."""
    entries: list[dict[str, Any]] = [
        {"tier": tier, "percentage": percentage, "label": label}
        for tier, percentage in enumerate(percentages, 1)
    ]
    return {"virality_tiers": entries}


def test_the_median_of_the_views_in_both_sets_blank_for_an_empty_tier() -> None:
    train = [make_sample(tier=1, views=views) for views in (50, 9, 10_000_000)]
    test = [make_sample(tier=1, views=30)]
    test += [make_sample(tier=2, views=views) for views in (5, 77_000, 1234)]
    lines = script.tier_lines(train, test, baseline_with(*USUAL))
    assert lines[:6] == [
        "Tier train test share baseline median views # | baseline",
        "1        3    1 57.1%    25.0%           40 #####|#####",
        "2        0    3 42.9%    25.0%        1,234 #####|##",
        "3        0    0  0.0%    25.0%                   |",
        "4        0    0  0.0%    15.0%                 |",
        "5        0    0  0.0%    10.0%                |",
    ]


def test_the_table_of_a_million_videos_fits() -> None:
    train = [make_sample(tier=1, views=999_999_999)] * 800_000
    test = [make_sample(tier=2)] * 199_999 + [make_sample(tier=3)]
    baseline = baseline_with(100, 0.04, 0, None, "many", label="x" * 70)
    lines = script.tier_lines(train, test, baseline)
    label = "x" * 19
    assert max(map(len, lines)) <= 80
    assert lines[:6] == [
        "Tier                    train    test share baseline median views # | baseline",
        f"1 {label} 800,000       0 80.0%   100.0%  999,999,999 #########  |",
        f"2 {label}       0 199,999 20.0%    <0.1%        1,000 |#",
        f"3 {label}       0       1 <0.1%                 1,000",
        f"4 {label}       0       0  0.0%",
        f"5 {label}       0       0  0.0%",
    ]


@pytest.mark.parametrize(
    ("counts", "percentages", "far"),
    [
        ((2500, 2500, 2500, 1500, 1000), USUAL, ""),
        ((3000, 2500, 2000, 2000, 500), USUAL, ""),  # exactly 5 points
        ((3001, 2500, 1999, 2001, 499), USUAL, "tier 1, tier 3, tier 4, tier 5"),
        ((25, 25, 25, 25, 0), (25, 25, 25, 22, 3), "tier 5"),  # few are expected
        ((10, 80, 5, 5, 0), (None,) * 5, "tier 5"),
        ((10, 80, 5, 4, 1), ("many",) * 5, ""),
    ],
)
def test_one_sentence_names_the_tiers_that_are_far_from_the_baseline_or_empty(
    counts: tuple[int, ...], percentages: tuple[Any, ...], far: str
) -> None:
    tiers = Counter(dict(enumerate(counts, 1))).elements()
    samples = [make_sample(tier=tier) for tier in tiers]
    lines = script.tier_lines(samples, [], baseline_with(*percentages))
    assert joined(lines[6:]) == (OFF_THE_BASELINE.format(far) if far else "")


# --- Features


def test_the_table_of_the_features() -> None:
    tiers = (1, 1, 1, 3, 3, 3, 5, 5)
    rates = (0.25, 0.5, 0.0, 1.0, 0.25, 0.5, 0.375, 1.0)
    rest = (0.1, 0.2, 0.3, 0.4, 0.4, 0.5, 0.7, 0.8)
    columns = zip(tiers, rates, rest, strict=True)
    samples = [make_sample(tier=t, likeRate=a, rest=b) for t, a, b in columns]
    header, *lines = script.feature_lines(samples)
    assert header == "Feature                 mean in tier 1 in tier 5  at 0  at 1"
    for name, line in zip(FEATURE_NAMES, lines):
        starred = f"{name} *" if name in COUNTED_AFTER_POSTING else name
        figures = (
            "0.48438   0.25000   0.68750 12.5% 25.0%"
            if name == "likeRate"
            else "0.42500   0.20000   0.75000  0.0%  0.0%"
        )
        assert line == f"{starred:20} {figures}"
    assert joined(lines[len(FEATURE_NAMES) :]) == STAR


def test_a_long_name_of_a_feature_widens_the_table(monkeypatch: Patch) -> None:
    name = "x" * 30
    first, *others = script.FEATURES
    monkeypatch.setattr(script, "FEATURES", [first._replace(name=name), *others])
    table = script.feature_lines([make_sample(), make_sample(tier=5)])[:16]
    assert table[1] == f"{name} * 0.50000   0.50000   0.50000 0.0% 0.0%"
    assert {len(line) for line in table} == {70}


@pytest.mark.parametrize(
    ("tier", "rates", "figures"),
    [
        (1, [0.5], ["0.50000", "0.50000", "0.0%", "0.0%"]),
        (3, [0.5], ["0.50000", "0.0%", "0.0%"]),
        (3, [0, 1, *[0.5] * 1999], ["0.50000", "<0.1%", "<0.1%"]),
        (3, [0, 1, *[0.5] * 1998], ["0.50000", "0.1%", "0.1%"]),
        (3, [nextafter(0, 1), nextafter(1, 0)], ["0.50000", "0.0%", "0.0%"]),
        (3, [0], ["0.00000", "100.0%", "0.0%"]),
    ],
)
def test_means_are_blank_without_videos_and_only_0_and_1_are_at_0_and_1(
    tier: int, rates: list[float], figures: list[str]
) -> None:
    samples = [make_sample(tier=tier, likeRate=rate) for rate in rates]
    line = script.feature_lines(samples)[1 + FEATURE_NAMES.index("likeRate")]
    assert line.removeprefix("likeRate *").split() == figures


def test_one_sentence_names_the_features_that_are_the_same_in_every_video() -> None:
    first = make_sample(rest=0.1, hourPosted=0.5, weekdayPosted=0)
    others = [
        make_sample(rest=rest, hourPosted=0.5, weekdayPosted=0) for rest in (1, 0.1)
    ]
    lines = script.feature_lines([first, *others])[16:]
    assert joined(lines) == f"{THE_SAME.format('weekdayPosted, hourPosted')} {STAR}"


# --- All of it


def test_what_a_person_sees(serve: Serve, extract: Extract) -> None:
    report, said = extract(serve(sample_videos(5200, seed=1)), "--seed", "7")
    assert said == ""
    assert report.isascii()
    rows, tiers, features, origin = report.split("\n\n")
    assert rows.startswith("Read 5,153 rows, used 5,131.")
    assert tiers.startswith("Tier ")
    assert features.startswith("Feature ")
    assert max(map(len, f"{rows}\n{tiers}\n{features}".splitlines())) <= 80
    size = f"{OUTPUT.stat().st_size / 1e6:.1f}"
    assert re.sub(r"\d+[.]\d s$", "N s", origin, flags=re.MULTILINE) == (
        "Project   127.0.0.1\n"
        f"Baseline  {script.BASELINE} of 2026-02-16\n"
        "Seed      7\n"
        "Sets      4,104 to train, 1,027 to test\n"
        f"File      {OUTPUT.resolve()}\n"
        f"          {size} MB, in N s\n"
        "Checks    none\n"
    )


def test_a_scraper_that_broke_is_seen_and_the_checks_are_counted(
    serve: Serve, extract: Extract
) -> None:
    broken = {"metadata": None, "duration_seconds": 39_000}  # milliseconds
    report = flat(extract(serve([row | broken for row in sample_videos(100)])).out)
    assert (
        MORE_THAN_90_PERCENT_LACK.format("bookmarks, followers, uploaded_at") in report
    )
    assert (
        THE_SAME.format(
            "saveRate, durationSeconds, hasFollowerData, followerTier, viewsPerFollower, "
            "weekdayPosted, hourPosted"
        )
        in report
    )
    assert report.endswith(" s Checks 2")


def test_the_same_rows_in_another_order_give_the_same_report(
    serve: Serve, extract: Extract
) -> None:
    table = [make_row(n, likes=None, metadata=None) for n in range(1, 21)]
    table += [make_row(30, views=0), make_row(31, duration_seconds=0), make_row(32)]
    table.append(make_row(32, views=200))
    reports = []
    for rows, size in ((table, 1000), (table[::-1], 3)):
        ids = [row | {"id": make_row(n)["id"]} for n, row in enumerate(rows)]
        report = extract(serve(ids, max_rows=size)).out
        reports.append(re.sub(r"in [\d.]+ s", "", report))
    assert reports[0] == reports[1]


def test_the_seconds_are_those_of_the_whole_run(
    serve: Serve, extract: Extract, monkeypatch: Patch
) -> None:
    """From the settings to the report's last table, each of which takes a second."""
    clock = [100.0]

    def slow(function: Callable[..., Any]) -> Callable[..., Any]:
        def after_a_second(*arguments: Any) -> Any:
            clock[0] += 1.26
            return function(*arguments)

        return after_a_second

    server = serve(50)
    monkeypatch.setattr(script, "monotonic", lambda: clock[0])
    for name in ("read_settings", "feature_lines"):
        monkeypatch.setattr(script, name, slow(getattr(script, name)))
    monkeypatch.setattr(script, "write_whole", lambda target, text: 1_234_560_000)
    assert "\n          1,234.6 MB, in 2.5 s\n" in extract(server).out


def test_the_baseline_that_was_used_is_named(serve: Serve, extract: Extract) -> None:
    text = script.BASELINE.read_text()
    Path("mine.json").write_text(text.replace('"2026-02-16"', "null"))
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
