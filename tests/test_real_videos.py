"""The real videos: the features and tiers published for them, to the last bit.

data/real_videos.jsonl.gz holds rows of the owner's table, one to a line: 1,472 videos
with the features and the tier that the original application published for each, and 18
rows that must not come out. Captions and counts were rebuilt from what was published.
"""

from conftest import Extract, Serve, make_sample, real_videos, written

import extract_training_data as script

# fmt: off
PUBLISHED = [
    "shareRate", "commentRate", "likeRate", "saveRate", "shareToLikeRatio",
    "commentToLikeRatio", "durationSeconds", "hashtagCount", "hasTrendingSound",
    "captionLength", "hasFollowerData", "followerTier", "viewsPerFollower",
    "weekdayPosted", "hourPosted",
]
# fmt: on


def test_every_vector_and_tier_is_the_published_one(
    serve: Serve, extract: Extract
) -> None:
    videos = real_videos()
    report = extract(serve([video["row"] for video in videos])).out

    data = written()
    assert (data["trainSet"]["count"], data["testSet"]["count"]) == (1177, 295)
    tiers = (379, 363, 364, 225, 141)
    assert data["labelDistribution"] == dict(zip("12345", tiers, strict=True))
    assert "Read 1,479 rows, used 1,472.\n" in report
    assert "Dropped: 4 without views, 3 without duration.\n" in report

    # The file names no video, but its order is that of the digests.
    published = {
        script.digest(video["row"], 42): video["published"]
        for video in videos
        if video["published"]
    }
    sets = script.split([make_sample(digest) for digest in sorted(published)])
    places = [data["featureNames"].index(name) for name in PUBLISHED]
    for part, samples in zip((data["trainSet"], data["testSet"]), sets, strict=True):
        expected = [published[sample.digest] for sample in samples]
        features = [[vector[i] for i in places] for vector in part["features"]]
        assert features == [video["features"] for video in expected]
        assert part["labels"] == [video["tier"] for video in expected]
