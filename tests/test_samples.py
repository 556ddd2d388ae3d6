"""Rows in, samples out: what is known, the features, the tier, the order, the split."""

import doctest
import hashlib
import json
import math
import random
import re
import time
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from conftest import Patch
from hypothesis import given, settings
from hypothesis import strategies as st

import extract_training_data as script

P25, P50, P75, P90 = 0.045752, 0.095403, 0.159572, 0.239726
THRESHOLDS = [P25, P50, P75, P90]
PLAIN = {
    "platform": "tiktok",
    "platform_video_id": "7315772332042445998",
    "views": 1000,
    "likes": 100,
    "shares": 10,
    "comments": 20,
    "bookmarks": 5,
    "duration_seconds": 45,
    "hashtags": ["a", "b", "c"],
    "sound_name": "original sound",
    "description": "x" * 50,
    "followers": 20_000,
    "uploaded_at": "2026-01-16T21:07:04.000Z",  # a Friday
}


def collect(*rows: dict[str, Any], seed: int = 42) -> list[script.Sample]:
    """Return the samples of these rows."""
    return script.collect(rows, THRESHOLDS, seed)[0]


def video(number: int, **columns: Any) -> dict[str, Any]:
    """Return a plain row with the video ID `number` and that duration."""
    ids = {"platform_video_id": str(number), "duration_seconds": number}
    return PLAIN | ids | columns


def duration(sample: script.Sample) -> int:
    """Return the duration of a sample in seconds, by which rows are told apart."""
    return round(unpack(sample)[6] * 180)


def unpack(sample: script.Sample) -> tuple[float, ...]:
    """Return the features of a sample."""
    return script.VECTOR.unpack(sample[0][32:])


def digest(video_id: int | str, seed: int = 42) -> bytes:
    """Return the digest of a TikTok video, as the contract has it."""
    return hashlib.sha256(f"{seed}/tiktok/{video_id}".encode()).digest()


# --- What is known


def test_what_is_a_number() -> None:
    for value in (0, 12, 1.5, 0.0, 2**63):
        assert script.number(value) == value
    assert [script.number(text) for text in ("12345", "0", "007")] == [12345, 0, 7]


@pytest.mark.parametrize(
    "value",
    [
        *["", "many", "-1", "1.5", "1e3", " 7", "9" * 400],
        *["\u0661\u0662", "\u00b2"],  # digits, but not ASCII
        *[-1, -0.5, None, True, False, math.nan, math.inf, 10**400, [12], {}],
    ],
)
def test_what_is_no_number(value: Any) -> None:
    assert script.number(value) is None


@pytest.mark.parametrize(
    "value",
    [
        *["", "yesterday", "2026-02-30T10:00:00Z", "2026-01-16T21:07:04Z and more"],
        "0001-01-01T00:00:00+01:00",  # before year 1 in UTC: .NET's empty time
        *[20260116, True, None, ["2026-01-16T21:07:04Z"]],
    ],
)
def test_what_is_no_time(value: Any) -> None:
    assert script.upload_time(value) is None


@pytest.mark.parametrize(
    ("name", "unknown", "values"),
    [
        ("likes", [None, -1, "many", True], [0, 7, "7"]),
        ("shares", [None], [0]),
        ("comments", [None], [0]),
        ("bookmarks", [None, [5], "5.5"], [0, 2.5]),
        ("hashtags", [None, "fyp", {}], [[], ["fyp"]]),
        ("sound_name", [None, "", " \t\n\u3000", 7], ["a", " a "]),
        ("description", [None, 12345], ["", "x"]),
        ("followers", [None, -1, "many", True], [0, "12345"]),
        ("uploaded_at", [None, "then", 2026], ["2026-01-16"]),
    ],
)
def test_what_is_unknown_of_a_video(
    name: str, unknown: list[Any], values: list[Any]
) -> None:
    for value in unknown:
        assert [sample[2] for sample in collect(PLAIN | {name: value})] == [name]
    for value in values:
        assert [sample[2] for sample in collect(PLAIN | {name: value})] == [""]
    absent = {key: value for key, value in PLAIN.items() if key != name}
    assert collect(absent)[0][2] == name


# --- The features


def feature(name: str, **columns: Any) -> float:
    """Return one feature of the plain row with other columns."""
    return script.features(script.inputs(PLAIN | columns))[name]


def test_the_features_of_a_plain_row_and_their_order() -> None:
    assert list(script.features(script.inputs(PLAIN)).items()) == [
        ("shareRate", 0.01),  # 10 / 1000
        ("commentRate", 0.02),  # 20 / 1000
        ("likeRate", 0.1),  # 100 / 1000
        ("saveRate", 0.005),  # 5 / 1000
        ("shareToLikeRatio", 0.1),  # 10 / 100
        ("commentToLikeRatio", 0.2),  # 20 / 100
        ("durationSeconds", 0.25),  # 45 / 180
        ("hashtagCount", 0.1),  # 3 / 30
        ("hasTrendingSound", 1.0),
        ("captionLength", 0.025),  # 50 / 2000
        ("hasFollowerData", 1.0),
        ("followerTier", 0.3),  # micro
        ("viewsPerFollower", 0.001),  # 1000 / 20000 / 50
        ("weekdayPosted", 5 / 6),  # Friday
        ("hourPosted", 21 / 23),
    ]


@pytest.mark.parametrize(
    ("name", "columns", "value"),
    [
        ("shareRate", {"shares": 1000}, 1),
        ("shareRate", {"shares": 1001}, 1),
        ("shareRate", {"shares": None}, 0),
        ("commentRate", {"comments": 2000}, 1),
        ("commentRate", {"comments": None}, 0),
        ("likeRate", {"likes": 1354, "views": 6}, 1),
        ("likeRate", {"likes": None}, 0),
        ("saveRate", {"bookmarks": 5000}, 1),
        ("saveRate", {"bookmarks": None}, 0),
        ("shareToLikeRatio", {"shares": 169, "likes": 100}, 1),
        ("shareToLikeRatio", {"likes": 0}, 0),
        ("shareToLikeRatio", {"likes": None}, 0),
        ("commentToLikeRatio", {"comments": 101}, 1),
        ("commentToLikeRatio", {"likes": 0}, 0),
        ("durationSeconds", {"duration_seconds": 180}, 1),
        ("durationSeconds", {"duration_seconds": 18}, 0.1),
        ("hashtagCount", {"hashtags": None}, 0),
        ("hashtagCount", {"hashtags": []}, 0),
        ("hashtagCount", {"hashtags": ["a"] * 31}, 1),
        ("hasTrendingSound", {"sound_name": None}, 0),
        ("hasTrendingSound", {"sound_name": " \t\n\u3000"}, 0),
        ("captionLength", {"description": None}, 0),
        ("captionLength", {"description": ""}, 0),
        ("captionLength", {"description": "x" * 2200}, 1),
        ("captionLength", {"description": "é" * 200}, 0.1),
        ("captionLength", {"description": "😂" * 100}, 0.1),  # 2 code units each
        ("captionLength", {"description": "👩\u200d💻" * 40}, 0.1),  # 5 code units each
        ("hasFollowerData", {"followers": None}, 0),
        ("hasFollowerData", {"followers": 0}, 1),
        ("followerTier", {"followers": None}, 0.5),
        ("viewsPerFollower", {"followers": None}, 0),
        ("viewsPerFollower", {"followers": 0}, 0),
        ("viewsPerFollower", {"followers": 20}, 1),
        ("viewsPerFollower", {"followers": 19}, 1),
        ("viewsPerFollower", {"followers": 40}, 0.5),
        # Dividing by 50 first, or by 50 * followers, would differ in the last bit.
        ("viewsPerFollower", {"views": 7, "followers": 41}, 7 / 41 / 50),
        ("weekdayPosted", {"uploaded_at": None}, 0.5),
        ("weekdayPosted", {"uploaded_at": "2026-01-18T12:00:00Z"}, 0),  # Sunday
        ("weekdayPosted", {"uploaded_at": "2026-01-19T12:00:00Z"}, 1 / 6),
        ("weekdayPosted", {"uploaded_at": "2026-01-24T12:00:00Z"}, 1),  # Saturday
        ("weekdayPosted", {"uploaded_at": "2026-01-24T23:30:00-01:00"}, 0),
        ("hourPosted", {"uploaded_at": None}, 0.5),
        ("hourPosted", {"uploaded_at": "2026-01-18T00:59:59.999Z"}, 0),
        ("hourPosted", {"uploaded_at": "2026-01-18T23:00:00Z"}, 1),
        ("hourPosted", {"uploaded_at": "2026-01-18T23:00:00+09:30"}, 13 / 23),
        ("hourPosted", {"uploaded_at": "2026-01-18 06:00:00+00"}, 6 / 23),
        ("hourPosted", {"uploaded_at": "2026-01-18"}, 0),
    ],
)
def test_by_hand(name: str, columns: dict[str, Any], value: float) -> None:
    assert feature(name, **columns) == value


def test_the_tiers_of_followers() -> None:
    below = {10_000: 0.1, 100_000: 0.3, 500_000: 0.5, 1_000_000: 0.7, 10**9: 0.9}
    for (low, _), (high, tier) in pairwise([(0, 0.0), *below.items()]):
        assert feature("followerTier", followers=low) == tier
        assert feature("followerTier", followers=high - 1) == tier


def test_a_time_without_an_offset_is_utc_wherever_the_machine_is(
    monkeypatch: Patch,
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert feature("hourPosted", uploaded_at="2026-01-18T06:00:00") == 6 / 23
    finally:
        monkeypatch.undo()
        time.tzset()


JSON = st.recursive(  # any value that a column or a key of metadata can have
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats()
    | st.text(max_size=30)
    | st.integers().map(str)
    | st.datetimes().map(str)
    | st.sampled_from(["2026-01-16T21:07:04+00:00", "\x00\x1b[31m", "1e400"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner)
    ),
    max_leaves=5,
)
USABLE = (1, 7, 10**12, 2**63, 5e-324, 1e308, "77")  # so that not all are dropped


@settings(max_examples=100, deadline=None)
@given(st.lists(JSON, min_size=20, max_size=40), st.randoms(use_true_random=True))
def test_any_row_gives_15_numbers_from_0_to_1_or_is_dropped(
    values: list[Any], rng: random.Random
) -> None:
    rows = []
    for number in range(100):
        columns = {name: rng.choice(values) for name in PLAIN if rng.random() < 0.9}
        if rng.random() < 0.8:
            counts = {
                "views": rng.choice(USABLE),
                "duration_seconds": rng.choice(USABLE),
            }
            columns |= counts
        rows.append(columns | {"platform_video_id": number})
    samples, dropped = script.collect(rows, THRESHOLDS, 42)
    assert len(samples) + dropped.total() == 100
    for sample in samples:
        assert all(0 <= value <= 1 for value in unpack(sample))
        assert 1 <= sample[1] <= 5
    text = "".join(script.training_json(samples, samples, "now"))
    json.loads(text, parse_constant=pytest.fail)


# --- The tier


def test_a_tier_begins_at_its_threshold() -> None:
    for tier, low in enumerate(THRESHOLDS, start=2):
        assert script.virality_tier(low, THRESHOLDS) == tier
        assert script.virality_tier(math.nextafter(low, 0), THRESHOLDS) == tier - 1
    assert [script.virality_tier(wes, THRESHOLDS) for wes in (-1, 0)] == [1, 1]
    assert [script.virality_tier(wes, THRESHOLDS) for wes in (226.17, 1e9)] == [5, 5]


def test_a_comment_weighs_two_likes_and_a_share_three() -> None:
    for counts, wes in (((7, 0, 0), 0.07), ((0, 7, 0), 0.14), ((None, None, 7), 0.21)):
        known = dict(zip(("likes", "comments", "shares"), counts))
        assert script.weighted_engagement_score(known | {"views": 100}) == wes
    above = {"views": 1, "likes": 3, "comments": 1, "shares": None}
    assert script.weighted_engagement_score(above) == 5


# --- The canonical order


def test_a_sample_is_digest_and_features_tier_and_what_is_unknown() -> None:
    [sample] = collect(
        video(90, likes=10, comments=None, shares=10, followers=None), seed=7
    )
    assert script.digest_of(sample) == sample[0][:32] == digest(90, seed=7)
    features = dict(zip(script.FEATURE_NAMES, unpack(sample)))
    assert (features["likeRate"], features["durationSeconds"]) == (0.01, 0.5)
    assert sample[1] == 1  # (10 + 3 * 10) / 1000
    assert sample[2].split() == ["comments", "followers"]


def test_rows_without_views_or_duration_are_dropped_and_counted() -> None:
    viewless = [video(n, views=views) for n, views in enumerate((0, None, -7))]
    timeless = [video(9, duration_seconds=length) for length in (0, None)]
    neither = video(9, views=0, duration_seconds=0)
    few = video(2, views=0.5, duration_seconds="1")  # little, but not nothing
    rows = [*timeless, *viewless, neither, video(1), few]
    samples, dropped = script.collect(rows, THRESHOLDS, 42)
    assert set(map(script.digest_of, samples)) == {digest(1), digest(2)}
    reasons = [("without views", 4), ("without duration", 2), ("duplicated", 0)]
    assert list(dropped.items()) == reasons  # whichever came first


def test_the_canonical_order_is_that_of_the_digests_whatever_that_of_the_rows() -> None:
    rows = [video(number) for number in range(1, 100)]
    samples = collect(*rows)
    assert [*map(script.digest_of, samples)] == sorted(map(digest, range(1, 100)))
    assert collect(*reversed(rows)) == samples


def test_the_platform_makes_another_video() -> None:
    other = hashlib.sha256(b"42/other/7").digest()
    both = collect(video(7), video(7, platform="other"))
    assert set(map(script.digest_of, both)) == {other, digest(7)}


def test_a_video_that_comes_twice_is_taken_once_whichever_row_comes_first() -> None:
    numbers = (1, 2, 2, 3, 2, 3, 1)
    rows = [video(number, likes=likes) for likes, number in enumerate(numbers)]
    samples, dropped = script.collect(rows, THRESHOLDS, 42)
    assert sorted(map(duration, samples)) == [1, 2, 3]
    assert dropped == Counter(duplicated=4)
    for _ in range(5):
        random.shuffle(rows)
        assert collect(*rows) == samples


# --- The split


def test_the_first_four_fifths_are_the_train_set_rounded_down() -> None:
    for count, train in ((2, 1), (4, 3), (5, 4), (9, 7), (10, 8), (7358, 5886)):
        samples = [(digest(n), 1, "") for n in range(count)]
        sets = script.split(sorted(samples))
        assert [len(part) for part in sets] == [train, count - train]
        assert max(sets[0]) < min(sets[1])


def test_each_set_is_shuffled_by_fisher_yates_with_its_digests_as_draws() -> None:
    """Written again, the other way round: from the draws to the order."""
    samples = sorted((digest(n), 1, "") for n in range(500))
    for part, found in ((samples[:400], 0), (samples[400:], 1)):
        order: list[script.Sample] = []
        for i, sample in enumerate(part):
            order.append(sample)
            j = int(sample[0].hex(), 16) % (i + 1)
            order[i], order[j] = order[j], order[i]
        assert script.split(samples)[found] == order


def orders(count: int, seeds: int) -> list[tuple[list[int], list[int]]]:
    """Return the train and the test set of `count` videos for each of the seeds."""
    sets = []
    for seed in range(seeds):
        numbers = {digest(number, seed): number for number in range(count)}
        samples = [(drawn, 1, "") for drawn in sorted(numbers)]
        train, test = script.split(samples)
        sets.append(([numbers[s[0]] for s in train], [numbers[s[0]] for s in test]))
    return sets


def test_every_order_of_a_set_is_about_equally_likely_over_seeds() -> None:
    counts = Counter(tuple(train) for train, _ in orders(5, 6000))
    assert len(counts) == 120  # four of five, in any order
    chi_squared = sum((times - 50) ** 2 / 50 for times in counts.values())
    assert chi_squared < 172.0  # 119 degrees of freedom: 1 in 1,000


def test_every_choice_of_the_test_set_is_about_equally_likely_over_seeds() -> None:
    counts = Counter(frozenset(test) for _, test in orders(6, 3000))
    assert len(counts) == 15  # two of six
    chi_squared = sum((times - 200) ** 2 / 200 for times in counts.values())
    assert chi_squared < 36.1  # 14 degrees of freedom: 1 in 1,000


@pytest.mark.parametrize(
    ("change", "most"), [(1, 1), (51, 12), (400, 32), (735, 44), (-50, 12)]
)
def test_when_videos_are_added_or_archived_few_change_sides(
    change: int, most: int
) -> None:
    """As many as in the real table; `most` is one, or 4 standard deviations."""
    for seed in range(10):
        before, after = (
            script.split(sorted((digest(n, seed), 1, "") for n in range(count)))
            for count in (7358, 7358 + change)
        )
        assert len(set(before[1]) & set(after[0])) <= most
        assert len(set(before[0]) & set(after[1])) <= most


# --- The examples


def test_the_examples_in_the_docstrings() -> None:
    results = doctest.testmod(script)
    assert results.attempted >= 5
    assert results.failed == 0


def test_the_example_that_the_file_opens_with() -> None:
    found = re.search(
        r"(\{.*\}).*\[(.*), \.\.\.\], (\d)", script.__doc__ or "", re.DOTALL
    )
    assert found
    [sample] = collect(json.loads(found[1]))
    shown = [float(text) for text in found[2].split(", ")]
    assert list(unpack(sample))[: len(shown)] == shown
    assert (str(sample[1]), sample[2]) == (found[3], "")
