"""Rows in, samples out: the inputs, the features, the tier, the order, the split."""

import doctest
import hashlib
import json
import math
import random
import re
import time
from collections import Counter
from datetime import UTC, date, datetime
from itertools import permutations
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


def samples_in_canonical_order(count: int) -> list[script.Sample]:
    """Return samples of the videos 0, 1, ... in the order of their digests."""
    digests = sorted(tiktok_digest(video_id) for video_id in range(count))
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
    rows = [PLAIN | {name: value} for value in unknown]
    rows.append({key: value for key, value in PLAIN.items() if key != name})
    for row in rows:
        [only] = dataset_of(row).samples.values()
        assert only.unknown == (name,)
    for value in values:
        assert plain_sample(**{name: value}).unknown == ()


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
        ("shareRate", {"shares": None}, 0),
        ("likeRate", {"likes": 1354, "views": 6}, 1),
        ("shareToLikeRatio", {"likes": 0}, 0),
        ("shareToLikeRatio", {"likes": None}, 0),
        ("hashtagCount", {"hashtags": None}, 0),
        ("hasTrendingSound", {"sound_name": None}, 0),
        ("captionLength", {"description": None}, 0),
        ("captionLength", {"description": "x" * 2200}, 1),
        ("captionLength", {"description": "é" * 200}, 0.1),
        ("captionLength", {"description": "😂" * 100}, 0.1),  # 2 code units each
        ("captionLength", {"description": "👩\u200d💻" * 40}, 0.1),  # 5 code units each
        ("hasFollowerData", {"followers": None}, 0),
        ("hasFollowerData", {"followers": 0}, 1),
        ("followerTier", {"followers": None}, 0.5),
        ("viewsPerFollower", {"followers": None}, 0),
        ("viewsPerFollower", {"followers": 0}, 0),
        # Dividing by 50 first, or by 50 * followers, would differ in the last bit.
        ("viewsPerFollower", {"views": 7, "followers": 41}, 7 / 41 / 50),
        ("weekdayPosted", {"uploaded_at": None}, 0.5),
        ("weekdayPosted", {"uploaded_at": "2026-01-18T12:00:00Z"}, 0),  # Sunday
        ("weekdayPosted", {"uploaded_at": "2026-01-24T12:00:00Z"}, 1),  # Saturday
        ("weekdayPosted", {"uploaded_at": "2026-01-24T23:30:00-01:00"}, 0),
        ("hourPosted", {"uploaded_at": None}, 0.5),
        ("hourPosted", {"uploaded_at": "2026-01-18T00:59:59.999Z"}, 0),
        ("hourPosted", {"uploaded_at": "2026-01-18T23:00:00Z"}, 1),
        ("hourPosted", {"uploaded_at": "2026-01-18T23:00:00+09:30"}, 13 / 23),
    ],
)
def test_a_feature_worked_out_by_hand(
    name: str, columns: dict[str, Any], value: float
) -> None:
    assert plain_feature(name, **columns) == value


def test_the_size_of_a_creator_is_one_of_five() -> None:
    lowest = {0.1: 0, 0.3: 10_000, 0.5: 100_000, 0.7: 500_000, 0.9: 1_000_000}
    for size, followers in lowest.items():
        assert plain_feature("followerTier", followers=followers) == size
    for size, followers in zip(lowest, [*lowest.values()][1:]):
        assert plain_feature("followerTier", followers=followers - 1) == size


@pytest.mark.skipif(
    not hasattr(time, "tzset"), reason="only Unix can change the zone of a process"
)
def test_times_are_utc_wherever_the_machine_is(monkeypatch: Patch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        for text, hour in (("2026-01-18T06:00", 6), ("2026-01-18T06:00+02:00", 4)):
            assert plain_feature("hourPosted", uploaded_at=text) == hour / 23
        late = dataset_of(plain_row(1, uploaded_at="2026-01-17T23:30:00Z"))
        assert late.days == {date(2026, 1, 17)}
    finally:
        monkeypatch.undo()
        time.tzset()


def test_any_row_gives_features_from_0_to_1_or_is_dropped() -> None:
    rng = random.Random(1)
    strange = [
        {name: rng.choice(STRANGE) for name in PLAIN} | {"platform_video_id": number}
        for number in range(1, 3001)
    ]
    usable = [row | {"views": 7, "duration_seconds": "1"} for row in strange[:1000]]
    data = dataset_of(*usable, *strange[1000:])
    assert data.rows_read() == 3000
    assert len(data.samples) > 1000
    for each in data.samples.values():
        assert all(0 <= value <= 1 for value in each.features)


# --- The tier


def test_a_tier_begins_at_its_threshold() -> None:
    for tier, low in enumerate(THRESHOLDS, start=2):
        assert script.virality_tier(low, THRESHOLDS) == tier
        assert script.virality_tier(math.nextafter(low, 0), THRESHOLDS) == tier - 1
    assert [script.virality_tier(wes, THRESHOLDS) for wes in (0, 226.2)] == [1, 5]


@pytest.mark.parametrize(
    ("likes", "comments", "shares", "wes"),
    [(7, 0, 0, 0.07), (0, 7, 0, 0.14), (None, None, 7, 0.21), (50, 50, 50, 3)],
)
def test_a_comment_weighs_two_likes_and_a_share_three(
    likes: int | None, comments: int | None, shares: int, wes: float
) -> None:
    video = {"views": 100, "likes": likes, "comments": comments, "shares": shares}
    assert script.weighted_engagement_score(video) == wes


# --- The dataset


def test_a_sample_has_the_digest_the_views_the_features_and_the_tier() -> None:
    columns = {"likes": 10, "comments": None, "shares": 10, "duration_seconds": 90}
    [(key, only)] = dataset_of(plain_row(90, **columns), seed=7).samples.items()
    assert key == only.digest == tiktok_digest(90, seed=7)
    assert (only.views, only.tier, only.unknown) == (1000, 1, ("comments",))
    found = features_by_name(only)
    assert (found["likeRate"], found["durationSeconds"]) == (0.01, 0.5)


def test_the_days_are_those_of_the_used_videos_in_utc() -> None:
    times = ["2026-01-16T23:30:00-01:00", "2026-01-04T12:00:00Z", None]
    rows = [plain_row(n, uploaded_at=time) for n, time in enumerate(times, 1)]
    unused = plain_row(9, uploaded_at="2026-01-01", views=0)
    assert dataset_of(*rows, unused).days == {date(2026, 1, 4), date(2026, 1, 17)}


def test_rows_that_are_not_usable_are_dropped_and_counted_once() -> None:
    absent = {key: PLAIN[key] for key in PLAIN if key != "platform_video_id"}
    nameless = [absent, *[PLAIN | {"platform_video_id": name} for name in (None, "")]]
    viewless = [plain_row(n, views=views) for n, views in enumerate((0, None, -7), 1)]
    timeless = [plain_row(9, duration_seconds=length) for length in (0, None)]
    nothing = [absent | {"views": 0}, plain_row(9, views=0, duration_seconds=0)]
    few = plain_row(2, views=1, duration_seconds=0.5)  # little, but not nothing
    data = dataset_of(*nameless, *timeless, *viewless, *nothing, plain_row(1), few)
    assert set(data.samples) == {tiktok_digest(1), tiktok_digest(2)}
    assert data.dropped == Counter(
        {"without video ID": 4, "without views": 4, "without duration": 2}
    )
    assert data.rows_read() == 12


def test_the_platform_makes_another_video() -> None:
    data = dataset_of(plain_row(7), plain_row(7, platform="other"))
    other = hashlib.sha256(b"42/other/7").digest()
    assert set(data.samples) == {other, tiktok_digest(7)}


def test_of_a_video_in_several_rows_the_one_with_the_most_views_is_taken() -> None:
    counts = [(1000, 90), (4000, 40), (3000, 60)]  # the fewer views, the more likes
    rows = [plain_row(2, views=views, likes=likes) for views, likes in counts]
    for arrived in permutations([*rows, plain_row(1)]):
        data = dataset_of(*arrived)
        assert set(data.samples) == {tiktok_digest(1), tiktok_digest(2)}
        taken = data.samples[tiktok_digest(2)]
        assert (taken.views, features_by_name(taken)["likeRate"]) == (4000, 0.01)
        assert (data.dropped, data.rows_read()) == ({"duplicated": 2}, 4)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("views", [1000, 1001, None]),
        ("likes", [100, 101, 99]),
        ("shares", [0, None]),  # the same features and tier
        ("uploaded_at", ["2026-01-16T21:00:00Z", "2026-01-17T20:00:00Z", None]),
    ],
)
def test_which_row_of_a_video_arrives_first_does_not_matter(
    column: str, values: list[Any]
) -> None:
    rows = [PLAIN | {column: value} for value in values]
    first, *others = [dataset_of(*arrived) for arrived in permutations(rows)]
    assert others == [first] * len(others)


# --- The split


@pytest.mark.parametrize(("count", "cut"), [(2, 1), (4, 3), (10, 8), (7358, 5886)])
def test_the_first_four_fifths_are_the_train_set(count: int, cut: int) -> None:
    samples = samples_in_canonical_order(count)
    train, test = script.split(reversed(samples))
    assert sorted(train) == samples[:cut]
    assert sorted(test) == samples[cut:]


def test_each_set_is_shuffled_by_fisher_yates_with_its_digests_as_draws() -> None:
    """Written again: a place is drawn for each sample as it arrives."""
    samples = samples_in_canonical_order(500)
    sets = script.split(reversed(samples))
    for part, found in zip((samples[:400], samples[400:]), sets):
        order: list[script.Sample] = []
        for i, each in enumerate(part):
            order.append(each)
            j = int(each.digest.hex(), 16) % (i + 1)
            order[i], order[j] = order[j], order[i]
        assert found == order


def test_one_more_video_moves_at_most_one_to_the_other_set() -> None:
    _, before = script.split(samples_in_canonical_order(7358))
    _, after = script.split(samples_in_canonical_order(7359))
    assert len({s.digest for s in before} - {s.digest for s in after}) <= 1


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
