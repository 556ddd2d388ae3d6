"""The real videos: the features and tiers published for them, to the last bit.

They stand beside a checkout of the project's own people only, and are not copied here.
"""

import gzip
import json
from collections import Counter
from collections.abc import Callable

import pytest
from conftest import ROOT, written
from local_supabase import LocalSupabase

import extract_training_data as script

FOLDER = ROOT.parent / "shared" / "real-videos"

if not FOLDER.is_dir():
    pytest.skip(f"no real videos in {FOLDER}", allow_module_level=True)


def test_every_vector_and_tier_is_the_published_one(
    serve: Callable[..., LocalSupabase],
    extract: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with gzip.open(FOLDER / "scraped_videos.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    expected = json.loads((FOLDER / "expected.json").read_text())

    assert extract(serve(rows)) == 0

    data = written()
    assert data["featureNames"] == list(script.FEATURE_NAMES)
    assert (data["trainSet"]["count"], data["testSet"]["count"]) == (1177, 295)
    assert data["labelDistribution"] == dict(zip("12345", (379, 363, 364, 225, 141)))
    assert "Dropped: " in (report := capsys.readouterr().err)
    assert "4 without views" in report
    assert "3 without duration" in report

    # The file names no video. So, as a multiset: each vector with its tier ...
    pairs = Counter(
        (tuple(vector), tier)
        for part in (data["trainSet"], data["testSet"])
        for vector, tier in zip(part["features"], part["labels"], strict=True)
    )
    assert pairs == Counter(
        (tuple(video["features"]), video["tier"]) for video in expected.values()
    )

    # ... and for each video by its ID, where the script still knows it.
    tiers = script.read_baseline(ROOT / "calibration-baseline.json")
    thresholds = [tier["weighted_score_threshold"]["min"] for tier in tiers]
    for row in rows:
        metadata = row["metadata"] or {}
        row |= {
            key: metadata.get(key) for key in ("bookmarks", "followers", "uploaded_at")
        }
    live = [row for row in rows if row["archived_at"] is None]
    samples, _ = script.collect(live, thresholds)
    assert len(samples) == len(expected) == 1472
    for video_id, tier, vector in samples:
        video = expected[video_id.removeprefix("tiktok/")]
        assert list(script.VECTOR.unpack(vector)) == video["features"]
        assert tier == video["tier"]
