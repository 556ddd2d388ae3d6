"""Rows in, samples out: the inputs, the features, the tier, the order, the split."""

import doctest
import hashlib
import json
import math
import random
import re
import time
from datetime import UTC, date, datetime
from itertools import pairwise, permutations
from typing import Any

import pytest
from conftest import Patch, features_by_name, make_sample
from local_supabase import Row

import extract_training_data as script

P25, P50, P75, P90 = 0.045752, 0.095403, 0.159572, 0.239726
THRESHOLDS = [P25, P50, P75, P90]
PLAIN: Row = {
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


def dataset_of(*rows: Row, seed: int = 42) -> script.Dataset:
    """Return the dataset to which these rows were added, in this order."""
    data = script.Dataset(THRESHOLDS, seed)
    for row in rows:
        data.add(row)
    return data


def plain_sample(**columns: Any) -> script.Sample:
    """Return the sample of the plain row, with other values in these columns."""
    [only] = dataset_of(PLAIN | columns).samples.values()
    return only


def plain_row(video_id: int, **columns: Any) -> Row:
    """Return the plain row with this video ID, and other values in these columns."""
    return PLAIN | {"platform_video_id": str(video_id)} | columns


def tiktok_digest(video_id: int, seed: int = 42) -> bytes:
    """Return the digest of a TikTok video, as the contract has it."""
    return hashlib.sha256(f"{seed}/tiktok/{video_id}".encode()).digest()


def samples_in_canonical_order(count: int, seed: int = 42) -> list[script.Sample]:
    """Return samples of the videos 0, 1, ... in the order of their digests."""
    digests = sorted(tiktok_digest(video_id, seed) for video_id in range(count))
    return [make_sample(digest) for digest in digests]


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
    lacked = set(plain_sample().unknown)
    assert name not in lacked
    for value in unknown:
        assert set(plain_sample(**{name: value}).unknown) == lacked | {name}
    for value in values:
        assert set(plain_sample(**{name: value}).unknown) == lacked
    absent = {key: value for key, value in PLAIN.items() if key != name}
    [only] = dataset_of(absent).samples.values()
    assert set(only.unknown) == lacked | {name}


def test_views_and_a_duration_that_are_unknown_are_0() -> None:
    video = script.video_of(PLAIN | {"views": "many", "duration_seconds": None})
    assert (video.views, video.duration_seconds) == (0, 0)


# --- The features


def plain_feature(name: str, **columns: Any) -> float:
    """Return one feature of the plain row, with other values in these columns."""
    return features_by_name(plain_sample(**columns))[name]


def test_the_features_of_a_plain_row_and_their_order() -> None:
    assert list(features_by_name(plain_sample()).items()) == [
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
    assert plain_feature(name, **columns) == value


def test_the_size_of_a_creator_is_one_of_five() -> None:
    below = {10_000: 0.1, 100_000: 0.3, 500_000: 0.5, 1_000_000: 0.7, 10**9: 0.9}
    for (low, _), (high, size) in pairwise([(0, 0.0), *below.items()]):
        assert plain_feature("followerTier", followers=low) == size
        assert plain_feature("followerTier", followers=high - 1) == size


@pytest.mark.skipif(
    not hasattr(time, "tzset"), reason="only Unix can change the zone of a process"
)
def test_times_are_utc_wherever_the_machine_is(monkeypatch: Patch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        for offset, hour in (("", 6), ("+02:00", 4)):
            uploaded_at = f"2026-01-18T06:00:00{offset}"
            assert plain_feature("hourPosted", uploaded_at=uploaded_at) == hour / 23
        late = plain_sample(uploaded_at="2026-01-17T23:30:00Z")  # in Tokyo, on the 18th
        assert late.uploaded_on == date(2026, 1, 17)
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
    data = dataset_of(*usable, *strange[1000:])
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
        columns = dict(zip(("likes", "comments", "shares"), counts, strict=True))
        video = script.video_of({"views": 100} | columns)
        assert script.weighted_engagement_score(video) == wes
    above_1 = script.video_of({"views": 1, "likes": 3, "comments": 1})
    assert script.weighted_engagement_score(above_1) == 5


# --- The dataset


def test_a_sample_has_the_digest_the_views_the_features_the_tier_and_the_day() -> None:
    columns = {"likes": 10, "comments": None, "shares": 10, "duration_seconds": 90}
    uploaded_at = "2026-01-16T23:30:00-01:00"  # in UTC, on the next day
    data = dataset_of(plain_row(90, uploaded_at=uploaded_at, **columns), seed=7)
    [(key, only)] = data.samples.items()
    assert key == only.digest == tiktok_digest(90, seed=7)
    assert only.views == 1000
    assert features_by_name(only)["likeRate"] == 0.01
    assert features_by_name(only)["durationSeconds"] == 0.5
    assert only.tier == 1  # (10 + 3 * 10) / 1000
    assert only.uploaded_on == date(2026, 1, 17)
    assert plain_sample(uploaded_at=None).uploaded_on is None


def test_rows_without_views_or_duration_are_dropped_and_counted() -> None:
    viewless = [plain_row(n, views=views) for n, views in enumerate((0, None, -7))]
    timeless = [plain_row(9, duration_seconds=length) for length in (0, None)]
    neither = plain_row(9, views=0, duration_seconds=0)
    few = plain_row(2, views=1, duration_seconds=0.5)  # little, but not nothing
    data = dataset_of(*timeless, *viewless, neither, plain_row(1), few)
    assert set(data.samples) == {tiktok_digest(1), tiktok_digest(2)}
    assert data.dropped == {"without views": 4, "without duration": 2}
    assert data.rows_read() == 8


def test_the_canonical_order_is_that_of_the_digests_whatever_that_of_the_rows() -> None:
    rows = [plain_row(number) for number in range(1, 100)]
    ordered = dataset_of(*rows).in_canonical_order()
    found = [each.digest for each in ordered]
    assert found == sorted(tiktok_digest(number) for number in range(1, 100))
    assert dataset_of(*reversed(rows)).in_canonical_order() == ordered


def test_the_platform_makes_another_video() -> None:
    data = dataset_of(plain_row(7), plain_row(7, platform="other"))
    other = hashlib.sha256(b"42/other/7").digest()
    assert set(data.samples) == {other, tiktok_digest(7)}


def test_of_a_video_in_several_rows_the_one_with_the_most_views_is_taken() -> None:
    """Those with fewer views have more likes, shares and comments."""
    rows = [
        plain_row(2, views=1000, likes=90, shares=90, comments=90),
        plain_row(2, views=4000, likes=40, shares=40, comments=40),
        plain_row(2, views=3000, likes=60, shares=60, comments=60),
    ]
    for arrived in permutations([*rows, plain_row(1), plain_row(3)]):
        data = dataset_of(*arrived)
        assert set(data.samples) == {tiktok_digest(n) for n in (1, 2, 3)}
        taken = data.samples[tiktok_digest(2)]
        assert (taken.views, features_by_name(taken)["likeRate"]) == (4000, 0.01)
        assert data.dropped == {"duplicated": 2}
        assert data.rows_read() == 5


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("views", [1000, 1001, 0, None]),
        ("likes", [100, 101, 99]),
        ("shares", [0, None]),  # the same features and tier
        ("uploaded_at", ["2026-01-16T21:00:00Z", "2026-01-17T20:00:00Z", None]),
        ("uploaded_at", ["2026-01-16T21:00:00Z", "2026-01-23T21:00:00Z"]),  # the same
    ],
)
def test_which_row_of_a_video_arrives_first_does_not_matter(
    column: str, values: list[Any]
) -> None:
    rows = [PLAIN | {column: value} for value in values]
    first, *others = [dataset_of(*arrived) for arrived in permutations(rows)]
    assert len(first.samples) == 1
    for other in others:
        assert other.samples == first.samples
        assert other.dropped == first.dropped


# --- The split


def test_the_first_four_fifths_are_the_train_set_rounded_down() -> None:
    for count, cut in ((2, 1), (4, 3), (5, 4), (9, 7), (10, 8), (7358, 5886)):
        train, test = script.split(samples_in_canonical_order(count))
        assert (len(train), len(test)) == (cut, count - cut)
        assert max(each.digest for each in train) < min(each.digest for each in test)


def test_each_set_is_shuffled_by_fisher_yates_with_its_digests_as_draws() -> None:
    """Written again, the other way round: from the draws to the order."""
    ordered = samples_in_canonical_order(500)
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
            _, test = script.split(samples_in_canonical_order(count, seed))
            sets.append({each.digest for each in test})
        before, after = sets
        there = {tiktok_digest(n, seed) for n in range(min(7358, 7358 + change))}
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
    [only] = dataset_of(json.loads(found[1])).samples.values()
    shown = [float(text) for text in found[2].split(", ")]
    assert list(features_by_name(only).values())[: len(shown)] == shown
    assert (str(only.tier), only.unknown) == (found[3], ())
