"""The real videos: the features and tiers published for them, to the last bit.

data/real_videos.jsonl.gz holds rows of the owner's table, one to a line: 1,472 videos
with the features and the tier that the original application published for each, and 18
rows that must not come out. Captions and counts were rebuilt from what was published.
"""

from statistics import median

import pytest
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


@pytest.fixture
def report(serve: Serve, extract: Extract) -> str:
    """The report on the real videos. The file is there, too."""
    return extract(serve([video["row"] for video in real_videos()])).out


def test_every_vector_and_tier_is_the_published_one(report: str) -> None:
    data = written()
    assert (data["trainSet"]["count"], data["testSet"]["count"]) == (1177, 295)
    tiers = (379, 363, 364, 225, 141)
    assert data["labelDistribution"] == dict(zip("12345", tiers, strict=True))
    assert "Read 1,479 rows, used 1,472.\n" in report
    assert "Dropped: 4 without views, 3 without duration.\n" in report

    # The file names no video, but its order is that of the digests.
    published = {
        script.digest_of(video["row"], 42): video["published"]
        for video in real_videos()
        if video["published"]
    }
    sets = script.split([make_sample(digest) for digest in sorted(published)])
    places = [data["featureNames"].index(name) for name in PUBLISHED]
    for part, samples in zip((data["trainSet"], data["testSet"]), sets, strict=True):
        expected = [published[sample.digest] for sample in samples]
        features = [[vector[i] for i in places] for vector in part["features"]]
        assert features == [video["features"] for video in expected]
        assert part["labels"] == [video["tier"] for video in expected]


def test_the_report_shows_the_tiers(report: str) -> None:
    table = """
Tier                    train    test  share baseline median views  # | baseline
1 Unlikely to perform     292      87  25.7%    25.0%      201,034  ###########|
2 Below average           296      67  24.7%    25.0%      188,891  ###########|
3 Average                 290      74  24.7%    25.0%      251,064  ###########|
4 Strong potential        185      40  15.3%    15.0%      436,908  ######|
5 Viral potential         114      27   9.6%    10.0%      134,891  ####|

"""
    assert table in report


@pytest.mark.parametrize("name", ["likeRate", "shareToLikeRatio"])
def test_the_report_shows_the_medians_in_the_tiers_1_and_5(
    name: str, report: str
) -> None:
    place = PUBLISHED.index(name)
    published = [video["published"] for video in real_videos() if video["published"]]
    in_tier: dict[int, list[float]] = {tier: [] for tier in script.TIERS}
    for video in published:
        in_tier[video["tier"]].append(video["features"][place])
    [line] = [line for line in report.splitlines() if line.startswith(f"{name} ")]
    medians = [f"{median(in_tier[tier]):.5f}" for tier in (1, 5)]
    assert line[30:50].split() == medians
