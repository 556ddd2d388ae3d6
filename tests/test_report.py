"""The report: what a person can tell a good extraction from a broken one by."""

import io
import re
import sys
from collections import Counter
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
        "1,234 fewer than counted at the start: archived or deleted since, or their id is",
        "no uuid.",
        "Unknown: nothing.",
    ]
    assert lines_on_rows([()] * 10, counted=11)[2].startswith("1 fewer than counted")
    for counted in (9, 10):  # rows may also have been added
        assert len(lines_on_rows([()] * 10, counted=counted)) == 3


def test_rows_that_were_not_counted() -> None:
    data = script.Dataset([], 42, samples={b"": make_sample()})
    said = "The server did not count the rows: it took too long, or refused."
    assert list(script.row_lines(data))[2] == said


def test_what_is_unknown_is_a_share_of_the_videos_the_largest_first() -> None:
    unknown = [("uploaded_at", "followers")] * 19 + [("followers",)] * 449
    lines = lines_on_rows(unknown + [()] * 532)
    assert lines[2:] == ["Unknown: followers 46.8%, uploaded_at 1.9%."]


def test_an_input_that_more_than_90_percent_lack_is_asked_about() -> None:
    unknown = [("likes", "uploaded_at")] * 900 + [("likes",)]
    lines = lines_on_rows(unknown + [()] * 99)
    assert lines[2:] == [
        "Unknown: likes 90.1%, uploaded_at 90.0%.",
        "90.1% lack likes. Did something before this script stop filling it?",
    ]


def test_all_that_can_be_unknown_or_dropped_fits() -> None:
    reasons = ("without views", "without duration", "duplicated")
    dropped = dict.fromkeys(reasons, 999_999)
    lines = lines_on_rows([tuple(LACKING)] * 9, counted=99_999_999, dropped=dropped)
    assert max(map(len, lines)) <= 80
    text = flat("\n".join(lines))
    assert all(f" {name} 100.0%" in text for name in LACKING)


# --- Tiers


def of_tiers(*counts: int) -> list[script.Sample]:
    """Return so many samples of each tier, from 1 on."""
    tiers = [tier for tier, count in enumerate(counts, 1) for _ in range(count)]
    return [make_sample(tier=tier) for tier in tiers]


def tiers(
    *counts: int, percentages: tuple[Any, ...] = (25, 25, 25, 15, 10)
) -> list[str]:
    """Return the lines on tiers beside a baseline with these percentages."""
    entries = [{"percentage": percentage} for percentage in percentages]
    return list(script.tier_lines(of_tiers(*counts), {"virality_tiers": entries}))


def test_the_tiers_of_the_real_table() -> None:
    assert list(script.tier_lines(of_tiers(1836, 1844, 1843, 1100, 735), BASELINE)) == [
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
    lines = list(script.tier_lines(of_tiers(9), {"virality_tiers": entries}))
    assert lines[1].startswith("1 " + "x" * 22 + "     ")


def test_a_tier_far_from_the_baseline_is_said_in_words() -> None:
    assert tiers(24, 21, 20, 4, 31)[6:] == [
        "Tier 4: 4.0% here, 15.0% in the baseline. Was it made from other data?",
        "Tier 5: 31.0% here, 10.0% in the baseline. Was it made from other data?",
    ]


def test_more_than_five_points_are_far() -> None:
    usual = (20, 20, 20, 20, 20)
    assert tiers(1501, 2499, 2000, 2000, 2000, percentages=usual)[6:] == []
    far = tiers(1499, 2501, 2000, 2000, 2000, percentages=usual)[6:]
    assert [line[:7] for line in far] == ["Tier 1:", "Tier 2:"]


def test_an_empty_tier_is_said_in_words() -> None:
    said = ["Tier 5 is empty. Was the baseline made from other data?"]
    assert tiers(25, 25, 25, 25)[6:] == [
        "Tier 4: 25.0% here, 15.0% in the baseline. Was it made from other data?",
        *said,
    ]
    assert tiers(25, 25, 25, 25, percentages=(None,) * 5)[6:] == said


# --- Features


def test_the_table_of_the_features() -> None:
    rates = (0.25, 0.5, 0.0, 1.0, 0.5, 0.5, 0.5, 0.75)
    lines = list(script.feature_lines([make_sample(likeRate=rate) for rate in rates]))
    assert lines[0] == (
        "Feature                   minimum     mean  maximum     at 0     at 1"
    )
    for name, line in zip(script.FEATURE_NAMES, lines[1:], strict=True):
        figures = (
            "0.00000  0.50000  1.00000    12.5%    12.5%"
            if name == "likeRate"
            else "0.50000  0.50000  0.50000     0.0%     0.0%"
        )
        assert line == f"{name:24}  {figures}"


# --- All of it


def test_what_a_person_sees(serve: Serve, extract: Extract) -> None:
    report, said = extract(serve(sample_videos(1000)), "--seed", "7")
    assert said == ""
    assert report.isascii()
    rows, tiers, features, origin = report.split("\n\n")
    used = int(re.search(r"used (\d+)\.", rows)[1])  # type: ignore[index]
    assert rows.startswith("Read ")
    assert rows.count("\n") == 3
    assert tiers.startswith("Tier ")
    assert features.startswith("Feature ")
    assert features.count("\n") == len(script.FEATURE_NAMES)
    train, path = used * 4 // 5, OUTPUT.resolve()
    lines = origin.splitlines()
    assert lines[:4] == [
        "Project   127.0.0.1",
        f"Baseline  {script.BASELINE} of 2026-02-16",
        f"Seed      7: {train} to train, {used - train} to test",
        f"File      {path}",
    ]
    size = path.stat().st_size / 1e6
    assert re.fullmatch(rf" {{10}}{size:.1f} MB, in \d+\.\d s", lines[4])
    assert len(lines) == 5
    assert max(map(len, f"{rows}\n{tiers}\n{features}".split("\n"))) <= 80


def test_the_seconds_are_those_of_the_whole_run(
    serve: Serve, extract: Extract, monkeypatch: Patch
) -> None:
    """The clock is read twice: before the settings, and after the last table."""
    clock = iter([100.0, 107.5])
    order: list[str] = []

    def note(name: str) -> None:
        function = getattr(script, name)

        def noted(*arguments: Any) -> Any:
            order.append(name)
            return function(*arguments)

        monkeypatch.setattr(script, name, noted)

    server = serve(50)
    for name in ("monotonic", "read_settings", "write_whole", "feature_lines"):
        if name == "monotonic":
            monkeypatch.setattr(script, name, lambda: next(clock))
        note(name)
    assert extract(server).out.endswith(" MB, in 7.5 s\n")
    assert order == [
        "monotonic",
        "read_settings",
        "write_whole",
        "feature_lines",
        "monotonic",
    ]


def test_uploads_without_a_time_are_seen(serve: Serve, extract: Extract) -> None:
    """Of 200 videos, 198 lack it; their weekday and hour are 0.5, not 0."""
    table = [row(n, metadata={"bookmarks": n, "followers": n}) for n in range(1, 201)]
    for video in table[:2]:
        video["metadata"] = {"uploaded_at": "2026-01-18T00:00:00Z"}  # a Sunday
    report = extract(serve(table)).out
    assert "Unknown: uploaded_at 99.0%, bookmarks 1.0%, followers 1.0%.\n" in report
    assert "99.0% lack uploaded_at. Did something before this script stop" in report
    assert re.search(
        r"hourPosted +0\.00000 +0\.49500 +0\.50000 +1\.0% +0\.0%\n", report
    )


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
