"""Rows in, samples out: the inputs, the features, the tier, the order, the split."""

import doctest
import hashlib
import json
import math
import random
import re
import time
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from conftest import Patch, features_of, make_sample

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


def dataset(*rows: dict[str, Any], seed: int = 42) -> script.Dataset:
    """Return the dataset with these rows."""
    data = script.Dataset(THRESHOLDS, seed)
    for video in rows:
        data.add(video)
    return data


def sample(**columns: Any) -> script.Sample:
    """Return the sample of the plain row with other columns."""
    [only] = dataset(PLAIN | columns).samples.values()
    return only


def video(number: int, **columns: Any) -> dict[str, Any]:
    """Return a plain row with the video ID `number`."""
    return PLAIN | {"platform_video_id": str(number)} | columns


def digest(video_id: int | str, seed: int = 42) -> bytes:
    """Return the digest of a TikTok video, as the contract has it."""
    return hashlib.sha256(f"{seed}/tiktok/{video_id}".encode()).digest()


def samples(*numbers: int, seed: int = 42) -> list[script.Sample]:
    """Return samples of these video IDs in canonical order."""
    return [make_sample(drawn) for drawn in sorted(digest(n, seed) for n in numbers)]


# --- The inputs


def test_what_is_a_number() -> None:
    for value in (0, 12, 1.5, 0.0, 2**63 - 1):
        assert script.number(value) == value
    texts = ["12345", "0", "007", str(2**63 - 1)]
    assert [script.number(text) for text in texts] == [12345, 0, 7, 2**63 - 1]


# fmt: off
NO_NUMBERS: list[Any] = [
    "", "many", "-1", "1.5", "1e3", " 7", str(2**63), "0" * 20, "9" * 5000,
    "\u0661\u0662", "\u00b2",  # digits, but not ASCII
    -1, -0.5, 2**63, None, True, False, math.nan, math.inf, [12], {},
]
NO_UPLOAD_TIMES: list[Any] = [
    "", "yesterday", "2026-02-30T10:00:00Z", "2026-01-16T21:07:04Z and more",
    "0001-01-01T00:00:00+01:00",  # before the year 1 in UTC
    "1970-01-01T00:00:00Z",  # a default
    "1705012312345",  # milliseconds, which read as a day in 1705
    "2014-01-01T01:59:59+02:00",  # in UTC, a second before 2014
    20260116, True, None, ["2026-01-16T21:07:04Z"],
]
STRANGE: list[Any] = [
    None, True, False, 0, 1, 7, -1, 10**12, 2**63 - 1, 2**63, -(2**63), 0.5, 1e300,
    "", " ", "77", "1e400", "9" * 5000, "\u0662", "\U0001f602", "x" * 5000,
    "2026-01-16T21:07:04+00:00", "0001-01-01T00:00:00+23:59", "1705012312345",
    [], ["a"] * 99, [None], {}, {"a": []},
]
# fmt: on


@pytest.mark.parametrize("value", NO_NUMBERS)
def test_what_is_no_number(value: Any) -> None:
    assert script.number(value) is None


@pytest.mark.parametrize("value", NO_UPLOAD_TIMES)
def test_what_is_no_upload_time(value: Any) -> None:
    assert script.upload_time(value) is None


def test_uploads_begin_with_2014() -> None:
    for text in ("2014-01-01T00:00:00Z", "2013-12-31T23:00:00-01:00"):
        assert script.upload_time(text) == datetime(2014, 1, 1, tzinfo=UTC)


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
        ("uploaded_at", [None, "then", 2026, "1970-01-01"], ["2026-01-16"]),
    ],
)
def test_what_is_unknown_of_a_video(
    name: str, unknown: list[Any], values: list[Any]
) -> None:
    for value in unknown:
        assert sample(**{name: value}).unknown == (name,)
    for value in values:
        assert sample(**{name: value}).unknown == ()
    absent = {key: value for key, value in PLAIN.items() if key != name}
    [only] = dataset(absent).samples.values()
    assert only.unknown == (name,)


# --- The features


def feature(name: str, **columns: Any) -> float:
    """Return one feature of the plain row with other columns."""
    return features_of(sample(**columns))[name]


def test_the_features_of_a_plain_row_and_their_order() -> None:
    assert list(features_of(sample()).items()) == [
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
        ("durationSeconds", {"duration_seconds": 600}, 1),
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
def test_a_feature_worked_out_by_hand(
    name: str, columns: dict[str, Any], value: float
) -> None:
    assert feature(name, **columns) == value


def test_the_tiers_of_followers() -> None:
    below = {10_000: 0.1, 100_000: 0.3, 500_000: 0.5, 1_000_000: 0.7, 10**9: 0.9}
    for (low, _), (high, tier) in pairwise([(0, 0.0), *below.items()]):
        assert feature("followerTier", followers=low) == tier
        assert feature("followerTier", followers=high - 1) == tier


@pytest.mark.skipif(
    not hasattr(time, "tzset"), reason="only Unix can change the zone of a process"
)
def test_times_are_utc_wherever_the_machine_is(
    monkeypatch: Patch,
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert feature("hourPosted", uploaded_at="2026-01-18T06:00:00") == 6 / 23
        assert feature("hourPosted", uploaded_at="2026-01-18T06:00:00+02:00") == 4 / 23
    finally:
        monkeypatch.undo()
        time.tzset()


def test_any_row_gives_features_from_0_to_1_or_is_dropped() -> None:
    rng = random.Random(1)
    strange = [
        {name: rng.choice(STRANGE) for name in PLAIN} | {"platform_video_id": number}
        for number in range(3000)
    ]
    usable = [row | {"views": 7, "duration_seconds": "1"} for row in strange[:1000]]
    data = dataset(*usable, *strange[1000:])
    assert data.rows_read() == 3000
    ordered = data.in_canonical_order()
    assert len(ordered) > 1000
    for each in ordered:
        assert all(0 <= value <= 1 for value in each.features)
        assert 1 <= each.tier <= 5


# --- The tier


def test_a_tier_begins_at_its_threshold() -> None:
    for tier, low in enumerate(THRESHOLDS, start=2):
        assert script.virality_tier(low, THRESHOLDS) == tier
        assert script.virality_tier(math.nextafter(low, 0), THRESHOLDS) == tier - 1
    assert script.virality_tier(0, THRESHOLDS) == 1
    assert [script.virality_tier(wes, THRESHOLDS) for wes in (226.17, 1e9)] == [5, 5]


def test_a_comment_weighs_two_likes_and_a_share_three() -> None:
    for counts, wes in (((7, 0, 0), 0.07), ((0, 7, 0), 0.14), ((None, None, 7), 0.21)):
        inputs = dict(zip(("likes", "comments", "shares"), counts, strict=True))
        assert script.weighted_engagement_score(inputs | {"views": 100}) == wes
    above = {"views": 1, "likes": 3, "comments": 1, "shares": None}
    assert script.weighted_engagement_score(above) == 5


# --- The dataset


def test_a_sample_has_the_digest_the_features_the_tier_and_what_is_unknown() -> None:
    columns = {"likes": 10, "comments": None, "shares": 10, "followers": None}
    data = dataset(video(90, duration_seconds=90, **columns), seed=7)
    [(key, only)] = data.samples.items()
    assert key == only.digest == digest(90, seed=7)
    assert features_of(only)["likeRate"] == 0.01
    assert features_of(only)["durationSeconds"] == 0.5
    assert only.tier == 1  # (10 + 3 * 10) / 1000
    assert only.unknown == ("comments", "followers")


def test_rows_without_views_or_duration_are_dropped_and_counted() -> None:
    viewless = [video(n, views=views) for n, views in enumerate((0, None, -7))]
    timeless = [video(9, duration_seconds=length) for length in (0, None)]
    neither = video(9, views=0, duration_seconds=0)
    few = video(2, views=1, duration_seconds="1")  # little, but not nothing
    data = dataset(*timeless, *viewless, neither, video(1), few)
    assert set(data.samples) == {digest(1), digest(2)}
    assert data.dropped == {"without views": 4, "without duration": 2}
    assert data.rows_read() == 8


def test_the_canonical_order_is_that_of_the_digests_whatever_that_of_the_rows() -> None:
    rows = [video(number) for number in range(1, 100)]
    ordered = dataset(*rows).in_canonical_order()
    found = [each.digest for each in ordered]
    assert found == sorted(digest(number) for number in range(1, 100))
    assert dataset(*reversed(rows)).in_canonical_order() == ordered


def test_the_platform_makes_another_video() -> None:
    other = hashlib.sha256(b"42/other/7").digest()
    assert set(dataset(video(7), video(7, platform="other")).samples) == {
        other,
        digest(7),
    }


def test_a_video_that_comes_twice_is_taken_once_as_it_came_last() -> None:
    rows = [video(number, likes=i) for i, number in enumerate((1, 2, 2, 3, 2))]
    data = dataset(*rows)
    likes = {key: features_of(each)["likeRate"] for key, each in data.samples.items()}
    assert likes == {digest(1): 0, digest(3): 0.003, digest(2): 0.004}
    assert data.dropped == {"duplicated": 2}
    assert data.rows_read() == 5


# --- The split


def test_the_first_four_fifths_are_the_train_set_rounded_down() -> None:
    for count, cut in ((2, 1), (4, 3), (5, 4), (9, 7), (10, 8), (7358, 5886)):
        train, test = script.split(samples(*range(count)))
        assert (len(train), len(test)) == (cut, count - cut)
        assert max(each.digest for each in train) < min(each.digest for each in test)


def test_each_set_is_shuffled_by_fisher_yates_with_its_digests_as_draws() -> None:
    """Written again, the other way round: from the draws to the order."""
    ordered = samples(*range(500))
    for part, found in ((ordered[:400], 0), (ordered[400:], 1)):
        order: list[script.Sample] = []
        for i, each in enumerate(part):
            order.append(each)
            j = int(each.digest.hex(), 16) % (i + 1)
            order[i], order[j] = order[j], order[i]
        assert script.split(ordered)[found] == order


@pytest.mark.parametrize(("change", "most"), [(1, 1), (51, 12), (735, 44), (-50, 12)])
def test_when_videos_are_added_or_archived_few_change_sides(
    change: int, most: int
) -> None:
    """As many as in the real table; `most` is one, or 4 standard deviations."""
    for seed in range(3):
        sets = []
        for count in (7358, 7358 + change):
            _, test = script.split(samples(*range(count), seed=seed))
            sets.append({each.digest for each in test})
        before, after = sets
        there = {digest(n, seed) for n in range(min(7358, 7358 + change))}
        assert len((before - after) & there) <= most
        assert len((after - before) & there) <= most


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
    [only] = dataset(json.loads(found[1])).samples.values()
    shown = [float(text) for text in found[2].split(", ")]
    assert list(features_of(only).values())[: len(shown)] == shown
    assert (str(only.tier), only.unknown) == (found[3], ())
