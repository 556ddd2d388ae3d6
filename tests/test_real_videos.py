"""The real videos: the features and tiers published for them, to the last bit.

data/real_videos.jsonl.gz holds rows of the owner's table, one to a line: 1,472 videos
with the features and the tier that the original application published for each, and 18
rows that must not come out. Captions and counts were rebuilt from what was published.
"""

from statistics import fmean

from conftest import Extract, Serve, flat, make_sample, real_videos, written

import extract_training_data as script

VIDEOS = real_videos()
PUBLISHED = {  # by digest
    script.digest_of(video["row"], 42): video["published"]
    for video in VIDEOS
    if video["published"]
}
# fmt: off
NAMES = [
    "shareRate", "commentRate", "likeRate", "saveRate", "shareToLikeRatio",
    "commentToLikeRatio", "durationSeconds", "hashtagCount", "hasTrendingSound",
    "captionLength", "hasFollowerData", "followerTier", "viewsPerFollower",
    "weekdayPosted", "hourPosted",
]
# fmt: on
TIER_TABLE = """
Tier                  train test share baseline median views # | baseline
1 Unlikely to perform   292   87 25.7%    25.0%      201,034 ###########|
2 Below average         296   67 24.7%    25.0%      188,891 ###########|
3 Average               290   74 24.7%    25.0%      251,064 ###########|
4 Strong potential      185   40 15.3%    15.0%      436,908 ######|
5 Viral potential       114   27  9.6%    10.0%      134,891 ####|

"""


def test_every_vector_and_tier_is_as_published(serve: Serve, extract: Extract) -> None:
    extract(serve([video["row"] for video in VIDEOS]))
    data = written()
    assert len(PUBLISHED) == 1472
    # The file names no video, but its order is that of the digests.
    sets = script.split([make_sample(digest) for digest in PUBLISHED])
    places = [data["featureNames"].index(name) for name in NAMES]
    for part, samples in zip((data["trainSet"], data["testSet"]), sets, strict=True):
        expected = [PUBLISHED[sample.digest] for sample in samples]
        features = [[vector[i] for i in places] for vector in part["features"]]
        assert features == [video["features"] for video in expected]
        assert part["labels"] == [video["tier"] for video in expected]


def test_the_report_shows_tiers_and_means(serve: Serve, extract: Extract) -> None:
    report = extract(serve([video["row"] for video in VIDEOS])).out
    assert "Dropped: 4 without views, 3 without duration.\n" in report
    assert TIER_TABLE in report
    place = NAMES.index("shareToLikeRatio")
    means = ["shareToLikeRatio *"]
    for tiers in (script.TIERS, [1], [5]):
        videos = [video for video in PUBLISHED.values() if video["tier"] in tiers]
        means.append(f"{fmean(video['features'][place] for video in videos):.5f}")
    assert " ".join(means) in flat(report)
