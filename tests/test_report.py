"""The report: what a person can tell a good extraction from a broken one by."""

import io
import re
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import OUTPUT, Extract, Patch, Serve, flat, make_sample, row
from sample_videos import sample_videos

import extract_training_data as script

BASELINE, _ = script.read_baseline(script.BASELINE)
LACKING = list(script.inputs_of({}))[2:]  # all but views and duration


# --- Rows


def lines_on_rows(
    unknown: list[tuple[str, ...]],
    counted: int | None = None,
    dropped: dict[str, int] | None = None,
) -> list[str]:
    """Return the lines on rows for samples that lack these inputs, one tuple a sample."""
    data = script.Dataset([], 42, dropped=Counter(dropped or {}))
    data.rows_counted = data.rows_read() + len(unknown) if counted is None else counted
    for number, names in enumerate(unknown):
        digest = number.to_bytes(32, "big")
        data.samples[digest] = make_sample(digest, unknown=names)
    return "\n".join(script.row_lines(data)).split("\n")


def test_the_rows_of_the_real_table() -> None:
    dropped = {"without duration": 12, "without views": 19}
    assert lines_on_rows([()] * 7358, counted=7389, dropped=dropped) == [
        "Read 7,389 rows, used 7,358.",
        "Dropped: 19 without views, 12 without duration.",
        "Unknown: nothing.",
    ]


def test_nothing_dropped_and_how_many_fewer_than_counted() -> None:
    assert lines_on_rows([()] * 1000, counted=2234) == [
        "Read 1,000 rows, used 1,000.",
        "Dropped: none.",
        "1,234 fewer than counted at the start: archived or deleted since, or their ids",
        "are not uuids.",
        "Unknown: nothing.",
    ]
    assert lines_on_rows([()] * 10, counted=11)[2].startswith("1 fewer than counted")
    for counted in (9, 10):  # rows may also have been added
        assert len(lines_on_rows([()] * 10, counted=counted)) == 3


def test_what_is_unknown_is_a_share_of_the_videos_the_largest_first() -> None:
    unknown = [("uploaded_at", "followers")] * 19 + [("followers",)] * 449
    lines = lines_on_rows(unknown + [()] * 532)
    assert lines[2:] == ["Unknown: followers 46.8%, uploaded_at 1.9%."]


def test_what_is_as_frequent_is_in_the_order_of_its_name() -> None:
    for names in (("likes", "bookmarks"), ("bookmarks", "likes")):
        dropped = dict.fromkeys(reversed(names), 7)
        lines = lines_on_rows([(name,) for name in names], dropped=dropped)
        assert lines[1:] == [
            "Dropped: 7 bookmarks, 7 likes.",
            "Unknown: bookmarks 50.0%, likes 50.0%.",
        ]


def test_one_sentence_names_what_more_than_90_percent_lack() -> None:
    unknown = [("likes", "shares", "uploaded_at")] * 900 + [("likes", "shares")]
    lines = lines_on_rows(unknown + [()] * 99)
    assert flat("\n".join(lines[2:])) == (
        "Unknown: likes 90.1%, shares 90.1%, uploaded_at 90.0%. "
        "Check: more than 90% of the videos lack likes, shares. "
        "Has the scraper stopped filling them in?"
    )


def test_all_that_can_be_unknown_or_dropped_fits() -> None:
    reasons = ("without views", "without duration", "duplicated")
    dropped = dict.fromkeys(reasons, 999_999)
    lines = lines_on_rows([tuple(LACKING)] * 9, counted=99_999_999, dropped=dropped)
    assert max(map(len, lines)) <= 80
    text = flat("\n".join(lines))
    assert "Dropped: 999,999 duplicated, 999,999 without duration, 999,999" in text
    assert all(f" {name} 100.0%" in text for name in LACKING)
    assert f"lack {', '.join(sorted(LACKING))}. Has" in text


# --- Tiers


def of_tiers(*counts: int) -> list[script.Sample]:
    """Return so many samples of each tier, from 1 on."""
    tiers = [tier for tier, count in enumerate(counts, 1) for _ in range(count)]
    return [make_sample(tier=tier) for tier in tiers]


def lines_on_tiers(
    *counts: int, percentages: tuple[Any, ...] = (25, 25, 25, 15, 10)
) -> list[str]:
    """Return the lines on tiers for so many videos of each, all to train."""
    entries = [{"percentage": percentage} for percentage in percentages]
    return list(script.tier_lines(of_tiers(*counts), [], {"virality_tiers": entries}))


def test_the_tiers_of_the_real_table() -> None:
    train = of_tiers(1465, 1480, 1474, 877, 590)
    test = of_tiers(371, 364, 369, 223, 145)
    assert list(script.tier_lines(train, test, BASELINE)) == [
        "Tier                      train     test   share  baseline  # share, | baseline",
        "1 Unlikely to perform     1,465      371   25.0%     25.0%  ###################|",
        "2 Below average           1,480      364   25.1%     25.0%  ###################|",
        "3 Average                 1,474      369   25.0%     25.0%  ###################|",
        "4 Strong potential          877      223   14.9%     15.0%  ###########|",
        "5 Viral potential           590      145   10.0%     10.0%  ########|",
    ]


def test_a_bar_is_as_long_as_the_share_and_marked_at_the_baselines() -> None:
    lines = lines_on_tiers(38, 14, 10, 30, 8, percentages=(30, 38, 20, 0, 10))
    assert [line[60:] for line in lines[1:6]] == [
        "###############|###",
        "#######            |",
        "#####     |",
        "###############",
        "#### |",
    ]


def test_the_widest_table_fits() -> None:
    train = [make_sample(tier=1)] * 800_000
    entries = [{"percentage": 100, "label": "x" * 70}, *[{"percentage": 0}] * 4]
    test = [make_sample(tier=2)] * 200_000
    lines = list(script.tier_lines(train, test, {"virality_tiers": entries}))
    assert lines[1] == (
        f"1 {'x' * 20}  800,000        0   80.0%    100.0%  ###############    |"
    )
    assert max(map(len, "\n".join(lines).split("\n"))) <= 80


@pytest.mark.parametrize("percentage", [None, 0, "many"])
def test_a_baseline_without_percentages_or_labels(percentage: Any) -> None:
    lines = lines_on_tiers(2, 2, 2, 2, 2, percentages=(percentage,) * 5)
    assert lines[1] == f"1 {'2':>29}{'0':>9}{'20.0%':>8}{'':10}  {'#' * 19}"
    assert len(lines) == 6


FAR = (
    "Either the table's columns are filled differently from before, or the baseline "
    'was made from other data. See "The label" in README.md.'
)


def test_one_sentence_names_the_tiers_that_are_far_from_the_baseline() -> None:
    [sentence] = lines_on_tiers(24, 21, 20, 4, 31)[6:]
    names = "tier 4, tier 5"
    start = f"Check: empty, or more than 5 points off the baseline: {names}. "
    assert flat(sentence) == start + FAR
    assert max(map(len, sentence.split("\n"))) <= 80


def test_more_than_five_points_are_far() -> None:
    usual = (20, 20, 20, 20, 20)
    assert lines_on_tiers(1501, 2499, 2000, 2000, 2000, percentages=usual)[6:] == []
    [far] = lines_on_tiers(1499, 2501, 2000, 2000, 2000, percentages=usual)[6:]
    assert "off the baseline: tier 1, tier 2. Either" in flat(far)


@pytest.mark.parametrize("percentages", [(25, 25, 25, 20, 5), (None,) * 5])
def test_an_empty_tier_is_named_even_if_few_are_expected(
    percentages: tuple[Any, ...],
) -> None:
    [sentence] = lines_on_tiers(25, 25, 25, 25, percentages=percentages)[6:]
    assert "off the baseline: tier 5. Either" in flat(sentence)


# --- Features


def lines_on_features(samples: list[script.Sample]) -> list[str]:
    """Return the lines on the features, those that are wrapped as more than one."""
    return "\n".join(script.feature_lines(samples)).split("\n")


def test_the_table_of_the_features() -> None:
    rates = (0.25, 0.5, 0.0, 1.0, 0.25, 0.5, 0.375, 1.0)
    rest = (0.2, 0.6, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4)
    pairs = zip(rates, rest, strict=True)
    lines = lines_on_features([make_sample(likeRate=a, rest=b) for a, b in pairs])
    assert (
        lines[0]
        == "Feature                  median     mean  maximum     at 0     at 1"
    )
    end = len(script.FEATURE_NAMES) + 1
    for name, line in zip(script.FEATURE_NAMES, lines[1:end], strict=True):
        figures = (
            "0.43750  0.48438  1.00000    12.5%    25.0%"
            if name == "likeRate"
            else "0.40000  0.40000  0.60000     0.0%     0.0%"
        )
        assert line == f"{name:22}  {figures}"
    assert flat("\n".join(lines[end:])) == (
        "shareRate, commentRate and likeRate give the tier away: it is computed from "
        'the same counts. See "Before you train" in README.md.'
    )
    assert max(map(len, lines)) <= 80


def test_one_sentence_names_the_features_that_are_the_same_in_every_video() -> None:
    samples = [make_sample(rest=rest, hourPosted=0.5) for rest in (0.1, 0.2)]
    text = flat("\n".join(lines_on_features(samples)))
    assert "so a model can learn nothing from them: hourPosted. shareRate" in text


def test_durations_in_milliseconds_are_seen(serve: Serve, extract: Extract) -> None:
    table = [
        video | {"duration_seconds": (video["duration_seconds"] or 0) * 1000}
        for video in sample_videos(100)
    ]
    report = flat(extract(serve(table)).out)
    assert "can learn nothing from them: durationSeconds. " in report


def test_a_table_without_metadata_is_seen(serve: Serve, extract: Extract) -> None:
    report = extract(serve([v | {"metadata": None} for v in sample_videos(100)])).out
    assert "lack bookmarks, followers, uploaded_at. Has the" in flat(report)
    names = "saveRate, hasFollowerData, followerTier, viewsPerFollower, weekdayPosted,"
    assert f"nothing from them: {names} hourPosted." in flat(report)
    assert report.count("Has") == 1


def test_views_and_comments_that_are_swapped_are_seen(
    serve: Serve, extract: Extract
) -> None:
    table = [
        video | {"views": video["comments"], "comments": video["views"]}
        for video in sample_videos(300)
    ]
    report = flat(extract(serve(table)).out)
    assert "off the baseline: tier 1, tier 2, tier 3, tier 4, tier 5. " + FAR in report


def test_wrapping_breaks_no_path() -> None:
    path = "/home/you/" + 9 * "my-project/"
    assert script.wrapped(f"It is in {path}\nand here") == f"It is in\n{path}\nand here"


# --- All of it


def test_what_a_person_sees(serve: Serve, extract: Extract) -> None:
    report, said = extract(serve(sample_videos(1000)), "--seed", "7")
    assert said == ""
    assert report.isascii()
    rows, tiers, features, origin = report.split("\n\n")
    used = int(re.search(r"used (\d+)\.", rows)[1])  # type: ignore[index]
    assert rows.startswith("Read ")
    assert tiers.startswith("Tier ")
    assert features.startswith("Feature ")
    train, path = used * 4 // 5, OUTPUT.resolve()
    lines = origin.splitlines()
    assert lines[:5] == [
        "Project   127.0.0.1",
        f"Baseline  {script.BASELINE} of 2026-02-16",
        "Seed      7",
        f"Sets      {train} to train, {used - train} to test",
        f"File      {path}",
    ]
    size = path.stat().st_size / 1e6
    assert re.fullmatch(rf" {{10}}{size:.1f} MB, in \d+\.\d s", lines[5])
    assert len(lines) == 6
    assert max(map(len, f"{rows}\n{tiers}\n{features}".split("\n"))) <= 80


def test_the_same_rows_in_another_order_give_the_same_report(
    serve: Serve, extract: Extract
) -> None:
    def lasting(report: str) -> str:
        return re.sub(r"in [\d.]+ s\n$|127.0.0.1", "", report)

    table = [row(n, likes=None, metadata=None) for n in range(1, 21)]
    table += [row(30, views=0), row(31, duration_seconds=0)]
    first = extract(serve(table)).out
    other_ids = [
        video | {"id": row(n)["id"]} for n, video in enumerate(reversed(table), 1)
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
    Path("mine.json").write_text(text.replace('"generated_at": "2026-02-16",', ""))
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
