"""The real videos: the features and tiers published for them, to the last bit.

They stand beside a checkout of the project's own people only, and are not copied here.
"""

import gzip
import json

import pytest
from conftest import ROOT, Extract, Serve, written

import extract_training_data as script

FOLDER = ROOT.parent / "shared" / "real-videos"

if not FOLDER.is_dir():
    pytest.skip(f"no real videos in {FOLDER}", allow_module_level=True)


def test_every_vector_and_tier_is_the_published_one(
    serve: Serve, extract: Extract
) -> None:
    with gzip.open(FOLDER / "scraped_videos.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    expected = json.loads((FOLDER / "expected.json").read_text())

    said = extract(serve(rows))

    data = written()
    assert data["featureNames"] == list(script.FEATURE_NAMES)
    assert (data["trainSet"]["count"], data["testSet"]["count"]) == (1177, 295)
    assert data["labelDistribution"] == dict(zip("12345", (379, 363, 364, 225, 141)))
    assert "Read 1,479 rows, used 1,472.\n" in said
    assert "4 without views" in said
    assert "3 without duration" in said

    # The file names no video, but its order is that of the digests.
    digests = {
        script.digest({"platform": "tiktok", "platform_video_id": video_id}, 42): video
        for video_id, video in expected.items()
    }
    sets = script.split([(drawn, 1, "") for drawn in sorted(digests)])
    for part, samples in zip((data["trainSet"], data["testSet"]), sets):
        published = [digests[script.digest_of(sample)] for sample in samples]
        assert part["features"] == [video["features"] for video in published]
        assert part["labels"] == [video["tier"] for video in published]
