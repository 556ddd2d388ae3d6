"""The tier, the canonical order and the shuffle."""

import hashlib
import json
import random
from collections import Counter
from typing import Any

import pytest

import extract_training_data as script

P25, P50, P75, P90 = 0.045752, 0.095403, 0.159572, 0.239726
THRESHOLDS = [0, P25, P50, P75, P90]


@pytest.mark.parametrize(
    ("wes", "tier"),
    [
        (0, 1),
        (0.045751999, 1),
        (P25, 2),
        (0.095402999, 2),
        (P50, 3),
        (0.159571999, 3),
        (P75, 4),
        (0.239725999, 4),
        (P90, 5),
        (226.166667, 5),
        (1e9, 5),
        (float("inf"), 5),
    ],
)
def test_a_tier_begins_at_its_threshold(wes: float, tier: int) -> None:
    assert script.virality_tier(wes, THRESHOLDS) == tier


def test_below_every_threshold_is_tier_1() -> None:
    assert script.virality_tier(0.5, [1, 2, 3, 4, 5]) == 1


@pytest.mark.parametrize(
    ("likes", "comments", "shares", "wes"),
    [(7, 0, 0, 0.07), (0, 7, 0, 0.14), (0, 0, 7, 0.21), (300, 0, 0, 3.0)],
)
def test_a_comment_weighs_two_likes_and_a_share_three(
    likes: int, comments: int, shares: int, wes: float
) -> None:
    video = {"views": 100, "likes": likes, "comments": comments, "shares": shares}
    assert script.weighted_engagement_score(video) == wes


def video(number: int, **columns: Any) -> dict[str, Any]:
    """Return a row with the video ID `number`, recognisable by its duration, too."""
    row = {"platform": "tiktok", "platform_video_id": str(number), "views": 100}
    return row | {"duration_seconds": number} | columns


def collect(*rows: dict[str, Any]) -> tuple[list[str], dict[str, int]]:
    """Return the video IDs in canonical order, and what was dropped."""
    samples, dropped = script.collect(rows, THRESHOLDS)
    return [video_id for video_id, _, _ in samples], dropped


def test_the_canonical_order_is_by_video_id() -> None:
    rows = [video(30), video(10), video(20, platform="other"), video(20)]
    ids = ["other/20", "tiktok/10", "tiktok/20", "tiktok/30"]
    assert collect(*rows) == collect(*reversed(rows)) == (ids, {})


def test_rows_without_views_or_duration_are_dropped_and_counted() -> None:
    ids, dropped = collect(
        video(1),
        video(2, views=0),
        video(3, views=None),
        video(4, views=-7),
        video(5, duration_seconds=0),
        video(6, duration_seconds=None),
        video(7, views=0, duration_seconds=0),
        video(8, views=True),
        video(9, views=0.5, duration_seconds="0.5"),  # little, but not nothing
    )
    assert ids == ["tiktok/1", "tiktok/9"]
    assert dropped == {"without views": 5, "without duration": 2}


def test_a_video_that_comes_twice_is_taken_once_whichever_row_comes_first() -> None:
    numbers = (1, 2, 2, 3, 2, 3, 1)
    rows = [video(number, likes=likes) for likes, number in enumerate(numbers)]
    samples, dropped = script.collect([dict(row) for row in rows], THRESHOLDS)
    assert [video_id[-1] for video_id, _, _ in samples] == ["1", "2", "3"]
    assert dropped == {"duplicated": 4}
    assert script.collect([dict(row) for row in rows[::-1]], THRESHOLDS)[0] == samples


def test_a_sample_is_the_video_id_its_tier_and_its_features() -> None:
    [(video_id, tier, vector)], _ = script.collect([video(90, likes=10)], THRESHOLDS)
    assert (video_id, tier) == ("tiktok/90", 3)
    features = dict(zip(script.FEATURE_NAMES, script.VECTOR.unpack(vector)))
    assert (features["likeRate"], features["durationSeconds"]) == (0.1, 0.5)


def shuffled(numbers: range, seed: int) -> list[str]:
    """Return the video IDs of the videos with these numbers after the shuffle."""
    samples = [(f"tiktok/{number:04}", 1, b"") for number in numbers]
    script.shuffle(samples, seed)
    return [video_id for video_id, _, _ in samples]


def test_the_shuffle_is_a_permutation() -> None:
    assert sorted(shuffled(range(1000), 42)) == [f"tiktok/{n:04}" for n in range(1000)]


def test_the_shuffle_is_fisher_yates_by_sha_256() -> None:
    """Written again, the other way round: from the draws to the order."""
    ids = [f"tiktok/{number:04}" for number in range(500)]
    draws = [int(hashlib.sha256(f"42/{i}".encode()).hexdigest(), 16) for i in ids]
    order: list[str] = []
    for i, (video_id, draw) in enumerate(zip(ids, draws)):
        order.append(video_id)
        j = draw % (i + 1)
        order[i], order[j] = order[j], order[i]
    assert shuffled(range(500), 42) == order


def test_another_seed_gives_another_order() -> None:
    orders = [tuple(shuffled(range(100), seed)) for seed in (42, 43, -42, 0)]
    assert len(set(orders)) == 4


def test_the_shuffle_takes_any_text_for_a_video_id() -> None:
    samples = [(video_id, 1, b"") for video_id in ("\ud800", "é", "😂")]
    script.shuffle(samples, 42)
    assert len({video_id for video_id, _, _ in samples}) == 3


def test_over_200_seeds_each_of_50_videos_is_tested_about_a_fifth_of_the_time() -> None:
    tested = Counter(v for seed in range(200) for v in shuffled(range(50), seed)[40:])
    # 40 are expected, with a standard deviation of 5.7: 4.5 of them is 1 in 3,000
    # for all 50 videos together, and the draw is always the same.
    assert len(tested) == 50
    assert all(15 <= times <= 65 for times in tested.values()), tested


def test_every_order_of_four_videos_is_about_equally_likely() -> None:
    orders = Counter(tuple(shuffled(range(4), seed)) for seed in range(2400))
    assert len(orders) == 24
    chi_squared = sum((times - 100) ** 2 / 100 for times in orders.values())
    assert chi_squared < 49.7  # 23 degrees of freedom: 1 in 1,000


def test_the_order_of_the_rows_leaves_no_trace_in_the_file() -> None:
    rows = [video(number, likes=number) for number in range(1, 200)]
    texts = set()
    for seed in range(3):
        random.Random(seed).shuffle(rows)
        samples, _ = script.collect([dict(row) for row in rows], THRESHOLDS)
        script.shuffle(samples, 42)
        texts.add("".join(script.training_json(samples[:159], samples[159:], "now")))
    assert len(texts) == 1
    assert json.loads(texts.pop())["trainSet"]["count"] == 159
