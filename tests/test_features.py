"""The features: a table of rows worked by hand, the boundaries, and any row at all."""

import doctest
import json
import math
import random
import re
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import extract_training_data as script

PLAIN = {
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


def feature(name: str, **columns: Any) -> float:
    """Return one feature of the plain row with other columns."""
    video = PLAIN | columns
    script.clean(video)
    return script.features(video)[name]


def test_the_features_and_their_order() -> None:
    assert script.FEATURE_NAMES == (
        "shareRate",
        "commentRate",
        "likeRate",
        "saveRate",
        "shareToLikeRatio",
        "commentToLikeRatio",
        "durationSeconds",
        "hashtagCount",
        "hasTrendingSound",
        "captionLength",
        "hasFollowerData",
        "followerTier",
        "viewsPerFollower",
        "weekdayPosted",
        "hourPosted",
    )


def test_a_plain_row() -> None:
    video = dict(PLAIN)
    script.clean(video)
    assert list(script.features(video).values()) == [
        0.01,  # shareRate = 10 / 1000
        0.02,  # commentRate = 20 / 1000
        0.1,  # likeRate = 100 / 1000
        0.005,  # saveRate = 5 / 1000
        0.1,  # shareToLikeRatio = 10 / 100
        0.2,  # commentToLikeRatio = 20 / 100
        0.25,  # durationSeconds = 45 / 180
        0.1,  # hashtagCount = 3 / 30
        1.0,  # hasTrendingSound
        0.025,  # captionLength = 50 / 2000
        1.0,  # hasFollowerData
        0.3,  # followerTier: micro
        0.001,  # viewsPerFollower = 1000 / 20000 / 50
        5 / 6,  # weekdayPosted: Friday
        21 / 23,  # hourPosted
    ]


@pytest.mark.parametrize(
    ("name", "columns", "value"),
    [
        ("shareRate", {"shares": 1000}, 1),
        ("shareRate", {"shares": 1001}, 1),
        ("shareRate", {"shares": 999}, 0.999),
        ("shareRate", {"shares": None}, 0),
        ("shareRate", {"shares": -5}, 0),
        ("shareRate", {"shares": "10"}, 0.01),
        ("shareRate", {"shares": 10**400}, 0),
        ("shareRate", {"shares": True}, 0),
        ("shareRate", {"shares": 3, "views": 2**53 + 1}, 3 / float(2**53 + 1)),
        ("commentRate", {"comments": 2000}, 1),
        ("commentRate", {"comments": None}, 0),
        ("likeRate", {"likes": 1354, "views": 6}, 1),
        ("likeRate", {"likes": None}, 0),
        ("saveRate", {"bookmarks": 5000}, 1),
        ("saveRate", {"bookmarks": None}, 0),
        ("saveRate", {"bookmarks": "250"}, 0.25),
        ("saveRate", {"bookmarks": [5]}, 0),
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
        ("hashtagCount", {"hashtags": ["a"] * 30}, 1),
        ("hashtagCount", {"hashtags": ["a"] * 31}, 1),
        ("hashtagCount", {"hashtags": "fyp"}, 0),
        ("hasTrendingSound", {"sound_name": None}, 0),
        ("hasTrendingSound", {"sound_name": ""}, 0),
        ("hasTrendingSound", {"sound_name": " \t\n\u3000"}, 0),
        ("hasTrendingSound", {"sound_name": " a "}, 1),
        ("hasTrendingSound", {"sound_name": 7}, 0),
        ("captionLength", {"description": None}, 0),
        ("captionLength", {"description": ""}, 0),
        ("captionLength", {"description": 12345}, 0),
        ("captionLength", {"description": "x" * 2000}, 1),
        ("captionLength", {"description": "x" * 2200}, 1),
        ("captionLength", {"description": "é" * 200}, 0.1),
        ("captionLength", {"description": "😂" * 100}, 0.1),  # 2 code units each
        ("captionLength", {"description": "👩\u200d💻" * 40}, 0.1),  # 5 code units each
        ("captionLength", {"description": "\ud83d" * 200}, 0.1),  # half an emoji
        ("hasFollowerData", {"followers": None}, 0),
        ("hasFollowerData", {"followers": 0}, 1),
        ("hasFollowerData", {"followers": -1}, 0),
        ("hasFollowerData", {"followers": "12345"}, 1),
        ("hasFollowerData", {"followers": "many"}, 0),
        ("hasFollowerData", {"followers": True}, 0),
        ("followerTier", {"followers": None}, 0.5),
        ("followerTier", {"followers": "many"}, 0.5),
        ("followerTier", {"followers": 0}, 0.1),
        ("followerTier", {"followers": 9_999}, 0.1),
        ("followerTier", {"followers": 10_000}, 0.3),
        ("followerTier", {"followers": 99_999}, 0.3),
        ("followerTier", {"followers": 100_000}, 0.5),
        ("followerTier", {"followers": 499_999}, 0.5),
        ("followerTier", {"followers": 500_000}, 0.7),
        ("followerTier", {"followers": 999_999}, 0.7),
        ("followerTier", {"followers": 1_000_000}, 0.9),
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
        ("hourPosted", {"uploaded_at": "2026-01-18T06:00:00"}, 6 / 23),  # UTC
        ("hourPosted", {"uploaded_at": "2026-01-18 06:00:00+00"}, 6 / 23),
        ("hourPosted", {"uploaded_at": "20260118T060000Z"}, 6 / 23),
        ("hourPosted", {"uploaded_at": "2026-01-18"}, 0),
        ("hourPosted", {"uploaded_at": "2026-W03-7T06:00:00Z"}, 6 / 23),
    ],
)
def test_by_hand(name: str, columns: dict[str, Any], value: float) -> None:
    assert feature(name, **columns) == value


def test_a_time_without_an_offset_is_utc_wherever_the_machine_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert feature("hourPosted", uploaded_at="2026-01-18T06:00:00") == 6 / 23
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("name", ["weekdayPosted", "hourPosted"])
@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-02-30T10:00:00Z",
        "2026-01-16T25:00:00Z",
        "2026-01-16x10:00:00Z",
        "20260116x100000Z",
        "2026-01-16T21:07:04.000Z and more",
        "0001-01-01T00:00:00+10:00",  # in UTC before year 1
        "9999-12-31T23:59:59-10:00",
        "10000-01-01T00:00:00Z",
        "\ud800",
        20260116,
        1768597624,
        True,
        ["2026-01-16T21:07:04Z"],
        {"at": "2026-01-16T21:07:04Z"},
    ],
)
def test_what_is_no_time_is_unknown(name: str, text: Any) -> None:
    assert feature(name, uploaded_at=text) == 0.5


@pytest.mark.parametrize(
    ("value", "result"),
    [
        (0, 0),
        (12, 12),
        (1.5, 1.5),
        (2**63, 2.0**63),
        ("12345", 12345),
        (" 12345\n", 12345),
        ("+1.5e3", 1500),
        (".5", 0.5),
        ("7.", 7),
        ("9E2", 900),
        ("5e-1", 0.5),
        ("5E+1", 50),
        ("0" * 5000 + "7", 7),
        (-1, None),
        ("-1", None),
        (-0.5, None),
        (None, None),
        (True, None),
        (False, None),
        ("", None),
        ("true", None),
        ("12 345", None),
        ("12,345", None),
        ("1_000", None),
        ("0x10", None),
        ("١٢", None),
        ("nan", None),
        ("infinity", None),
        ("1e999", None),
        (math.nan, None),
        (math.inf, None),
        (-math.inf, None),
        (10**400, None),
        ([], None),
        ([12], None),
        ({}, None),
    ],
)
def test_what_is_a_number(value: Any, result: float | None) -> None:
    assert script.number(value) == result


def test_a_long_text_takes_no_longer_than_its_length() -> None:
    started = time.monotonic()
    assert script.number("1" * 100_000 + "x") is None
    assert time.monotonic() - started < 1


def test_a_number_is_a_float() -> None:
    assert type(script.number(12)) is type(script.number("12")) is float


def test_the_examples_in_the_docstrings() -> None:
    results = doctest.testmod(script)
    assert results.attempted >= 5
    assert results.failed == 0


def test_the_example_that_the_file_opens_with() -> None:
    example = re.search(
        r"(\{.*\}).*\[(.*), \.\.\.\], (\d)", script.__doc__ or "", re.DOTALL
    )
    assert example
    row, shown = json.loads(example[1]), [float(x) for x in example[2].split(", ")]
    script.clean(row)
    assert list(script.features(row).values())[: len(shown)] == shown
    tiers = script.read_baseline(script.HERE / "calibration-baseline.json")
    thresholds = [tier["weighted_score_threshold"]["min"] for tier in tiers]
    wes = script.weighted_engagement_score(row)
    assert script.virality_tier(wes, thresholds) == int(example[3])


# --- Any row that JSON can express

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.text(st.characters(), max_size=30)
    | st.integers().map(str)
    | st.floats().map(str)
    | st.datetimes().map(str)
    | st.sampled_from(["2026-01-16T21:07:04+00:00", "\ud800", "\x00\x1b[31m", "1e400"])
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
COLUMNS = (
    "platform",
    "platform_video_id",
    "description",
    "views",
    "likes",
    "shares",
    "comments",
    "sound_name",
    "hashtags",
    "duration_seconds",
    "bookmarks",
    "followers",
    "uploaded_at",
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(1, 2**52) | st.integers(1, 2**63), min_size=6, max_size=6))
def test_whole_numbers_give_what_the_same_numbers_as_floats_give(
    counts: list[int],
) -> None:
    whole = PLAIN | dict(zip(script.COUNTS, counts))
    floats = PLAIN | dict(zip(script.COUNTS, map(float, counts)))
    script.clean(whole)
    script.clean(floats)
    assert script.features(whole) == script.features(floats)
    wes = script.weighted_engagement_score
    assert wes(whole) == wes(floats)


USABLE = (1, 7, 10**12, 2**63, 5e-324, 1e308, "77")  # so that not all are dropped


def hostile_rows(values: list[Any], rng: random.Random) -> list[dict[str, Any]]:
    """Return 100 rows with values that belong into other columns, or columns missing."""
    rows = []
    for _ in range(100):
        row = {name: rng.choice(values) for name in COLUMNS if rng.random() < 0.9}
        if rng.random() < 0.8:
            row |= {"views": rng.choice(USABLE), "duration_seconds": rng.choice(USABLE)}
        rows.append(row)
    return rows


@settings(max_examples=120, deadline=None)
@given(
    st.lists(JSON, min_size=20, max_size=40),
    st.integers(0, 2**32).map(random.Random),
)
def test_any_row_gives_15_numbers_from_0_to_1_or_is_dropped(
    values: list[Any], rng: random.Random
) -> None:
    rows = hostile_rows(values, rng)  # 12,000 in all
    samples, dropped = script.collect(rows, [0, 1, 2, 3, 4])
    assert len(samples) + dropped.total() == len(rows) == 100
    for _, tier, vector in samples:
        features = script.VECTOR.unpack(vector)
        assert len(features) == 15
        assert all(0 <= value <= 1 for value in features)
        assert 1 <= tier <= 5
    text = "".join(script.training_json(samples, samples, "now"))
    json.loads(text, parse_constant=pytest.fail)
