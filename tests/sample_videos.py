"""Made-up rows of the table `scraped_videos`, with the spread of the real one.

    >>> rows = sample_videos(2500, seed=1)
    >>> rows == sample_videos(2500, seed=1)
    True

Views run over seven orders of magnitude; the engagement falls into the tiers about as
in the real table; what is null or missing there is so here, as often. The rows come
with every column, in random order of their ids.
"""

import random
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

WORDS = "pov wait for it life tips story time how my day in business hook need try ever"
EMOJI = ("😂", "🔥", "💀", "🏽", "👩‍💻", "✨")
TAGS = ("fyp", "viral", "foryou", "smallbusiness", "storytime", "learnontiktok")
SOUNDS = ("original sound", "Love You So", "nhạc nền - dropship")
NEWEST = datetime(2026, 2, 13, 8, tzinfo=UTC)


def sample_videos(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Return `count` rows, the same for the same seed."""
    rng = random.Random(seed)
    return [sample_video(rng, number) for number in range(count)]


def sample_video(rng: random.Random, number: int) -> dict[str, Any]:
    """Return the row `number`, which makes its video ID unique."""

    def sometimes(probability: float) -> bool:
        return rng.random() < probability

    views = min(int(10 ** rng.gauss(5.0, 1.6)) + 6, 300_000_000)
    likes = int(views * rng.betavariate(1.0, 9.5))
    shares = int(views * rng.lognormvariate(-6.0, 1.5))
    comments = int(views * rng.lognormvariate(-7.2, 1.5))
    words = rng.choices(WORDS.split(), k=min(int(rng.lognormvariate(3.15, 0.5)), 400))
    if sometimes(0.4):
        words.insert(rng.randrange(len(words) + 1), rng.choice(EMOJI))
    tags = list(TAGS[: rng.randrange(6)]) + [
        f"tag{i}" for i in range(int(rng.expovariate(0.4)))
    ]
    posted = NEWEST - timedelta(seconds=rng.randrange(120 * 86400))
    metadata: dict[str, Any] = {"apify_run_id": f"run{rng.getrandbits(24):06x}"}
    if not sometimes(0.04):
        saved = int(views * rng.lognormvariate(-5.5, 1.4))
        metadata["bookmarks"] = None if sometimes(0.02) else saved
    if sometimes(0.8):
        followers = int(10 ** rng.gauss(4.8, 1.1))
        metadata["followers"] = followers if sometimes(0.69) else None
    if sometimes(0.98):
        metadata["uploaded_at"] = posted.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return {
        "id": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
        "platform": "tiktok",
        "platform_video_id": str(7_300_000_000_000_000_000 + number * 99_999_999_977),
        "video_url": None,
        "author": f"creator{rng.randrange(3000)}",
        "author_url": None,
        "description": None if sometimes(0.003) else " ".join(words)[:2200],
        "views": 0 if sometimes(0.0026) else views,
        "likes": None if sometimes(0.004) else likes,
        "shares": None if sometimes(0.04) else shares,
        "comments": None if sometimes(0.03) else comments,
        "sound_name": rng.choice(("", "  ", None))
        if sometimes(0.01)
        else rng.choice(SOUNDS),
        "sound_url": None,
        "hashtags": None if sometimes(0.015) else tags,
        "category": None,
        "duration_seconds": None
        if sometimes(0.0016)
        else 4 + int(rng.expovariate(1 / 32)),
        "metadata": None if sometimes(0.002) else metadata,
        "archived_at": "2026-02-14T09:00:00+00:00" if sometimes(0.008) else None,
        "created_at": "2026-02-13T08:00:00+00:00",
        "updated_at": "2026-02-13T08:00:00+00:00",
    }
