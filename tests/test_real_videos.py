"""The real videos: the features and tiers published for them, to the last bit.

real_videos.jsonl.gz holds rows of the owner's table, one to a line: 1,472 videos with
the features and the tier that the original application published for each, and 18 rows
that must not come out. Captions and counts were rebuilt from what was published.
"""

import gzip
import json
from pathlib import Path

from conftest import Extract, Serve, make_sample, written

import extract_training_data as script

FILE = Path(__file__).with_name("real_videos.jsonl.gz")


def test_every_vector_and_tier_is_the_published_one(
    serve: Serve, extract: Extract
) -> None:
    with gzip.open(FILE, "rt", encoding="utf-8") as lines:
        videos = [json.loads(line) for line in lines]

    said = extract(serve([video["row"] for video in videos]))

    data = written()
    assert (data["trainSet"]["count"], data["testSet"]["count"]) == (1177, 295)
    tiers = (379, 363, 364, 225, 141)
    assert data["labelDistribution"] == dict(zip("12345", tiers, strict=True))
    assert "Read 1,479 rows, used 1,472.\n" in said
    assert "Dropped: 4 without views, 3 without duration.\n" in said

    # The file names no video, but its order is that of the digests.
    published = {
        script.digest(video["row"], 42): video["published"]
        for video in videos
        if video["published"]
    }
    sets = script.split([make_sample(digest) for digest in sorted(published)])
    for part, samples in zip((data["trainSet"], data["testSet"]), sets, strict=True):
        expected = [published[sample.digest] for sample in samples]
        assert part["features"] == [video["features"] for video in expected]
        assert part["labels"] == [video["tier"] for video in expected]
