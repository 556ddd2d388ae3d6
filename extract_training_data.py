# /// script
# requires-python = ">=3.11"
# dependencies = ["supabase>=2.34,<3", "python-dotenv>=1.0,<2"]
# ///
"""Turn the scraped TikTok videos of a Supabase project into a training set.

    python extract_training_data.py

A row of the table `scraped_videos` comes in as the server sends it:

    {"id": "000d8d7d-9f33-4d2a-a033-cc7fc979407f", "platform": "tiktok",
     "platform_video_id": "7315772332042445998", "description": "pov life tips",
     "views": 128939, "likes": 19915, "shares": 694, "comments": 67,
     "sound_name": "original sound", "hashtags": ["fyp", "viral", "foryou"],
     "duration_seconds": 39, "bookmarks": 3957, "followers": 1197799,
     "uploaded_at": "2025-11-04T15:18:44.000Z"}

and leaves as 15 features from 0 to 1 and a virality tier from 1 to 5, which comes from
its weighted engagement score (WES), here 0.17:

    [0.005382390122461008, 0.0005196255593730368, ...], 4

The usable videos are shuffled reproducibly, split 80/20 and written to
training-data.json. The real table has 7,389 rows; 7,358 are usable, of which
5,886 are the train set and 1,472 the test set.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - say so before an import fails
    sys.exit("extract_training_data.py needs Python 3.11 or newer.")

import argparse
import asyncio
import gc
import io
import json
import os
import re
import tempfile
import textwrap
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from itertools import pairwise
from math import inf
from pathlib import Path
from statistics import fmean, median
from time import monotonic
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import UUID

try:
    import httpx  # comes with supabase, which sends its requests with it
    from dotenv import dotenv_values
    from postgrest import AsyncPostgrestClient, AsyncSelectRequestBuilder, CountMethod
    from supabase import AsyncClientOptions, acreate_client
except ImportError as error:
    sys.exit(f"""Error: A package is missing, too old or broken: {error}
In the script's folder, install the packages, and run the script with them:
    python3 -m venv .venv && .venv/bin/pip install -r requirements.txt
    .venv/bin/python extract_training_data.py""")

Video = dict[str, Any]  # a row, as the server sends it
Inputs = dict[str, Any]  # the checked values of a row; None where unknown

HERE = Path(__file__).resolve().parent
BASELINE = HERE / "calibration-baseline.json"
ENV_FILES = (HERE / ".env.local", HERE / ".env")  # a setting in the first one wins
TABLE = "scraped_videos"
COLUMNS = (  # "->" keeps the JSON type, "->>" would turn a number into text
    "id,platform,platform_video_id,description,views,likes,shares,comments,"
    "sound_name,hashtags,duration_seconds,bookmarks:metadata->bookmarks,"
    "followers:metadata->followers,uploaded_at:metadata->uploaded_at"
)
PAGE_SIZE = 1000  # rows; Supabase sends no more in one reply by default
READERS = 4  # ranges of ids that are read side by side; random uuids spread evenly
ID_BORDERS = [  # 00000000-..., 3fffffff-..., 7fffffff-..., bfffffff-..., ffffffff-...
    str(UUID(int=n * (2**128 - 1) // READERS)) for n in range(READERS + 1)
]
TIMEOUT = httpx.Timeout(30, connect=10)  # seconds; Supabase cancels a query after 8
RETRY_WAITS = (1, 2, 4, 8)  # seconds before the second to the fifth attempt
MAX_RETRY_AFTER = 60  # seconds; a server that asks for more gets 60
MAX_MESSAGE = 500  # characters of what a server says

MAX_NUMBER = 2**63  # every bigint is smaller
MAX_DIGITS = 19  # of a number that comes as text; enough for every bigint
FIRST_UPLOAD = datetime(2014, 1, 1, tzinfo=UTC)  # to musical.ly, later TikTok
MAX_DURATION = 180  # seconds
MAX_HASHTAGS = 30
MAX_CAPTION_LENGTH = 2000  # UTF-16 code units
MAX_VIEWS_PER_FOLLOWER = 50
FOLLOWER_BOUNDS = (10_000, 100_000, 500_000, 1_000_000)
FOLLOWER_TIERS = (0.1, 0.3, 0.5, 0.7, 0.9)  # nano, micro, mid, macro, mega
UNKNOWN = 0.5  # for a follower tier, weekday or hour that is not known

TIERS = [1, 2, 3, 4, 5]
TIER_TOLERANCE = 0.05  # report a tier whose share is further off the baseline's
MOSTLY_UNKNOWN = 0.9  # report an input that more than this share of the videos lack
LINE_WIDTH = 80  # columns
BAR_WIDTH = 19  # columns

URL_FORM = re.compile(r"https?://[\w-]+(\.[\w-]+)*(:\d+)?(/[\w./~-]*)?", re.ASCII)
KEY_FORM = re.compile(r"[\w.-]+", re.ASCII)  # sb_secret_..., or a JWT
THIS_MACHINE = ("localhost", "127.0.0.1")


class Failure(Exception):
    """The run can't go on.

    problem: what happened, one line without a full stop.
    advice: what the person can do now, in whole sentences.
    """

    exit_code = 1

    def __init__(self, problem: str, advice: str) -> None:
        super().__init__(problem, advice)
        self.problem = problem
        self.advice = advice


class UsageError(Failure):
    """The options or the settings are wrong. No request has been sent yet."""

    exit_code = 2


class TransientError(Failure):
    """A request failed, but the next attempt may succeed.

    retry_after: the seconds that the server asks to wait, 0 to 60.
    """

    def __init__(self, problem: str, advice: str, retry_after: float = 0) -> None:
        super().__init__(problem, advice)
        self.retry_after = retry_after


# --- Rows in, samples out


class Sample(NamedTuple):
    """A usable video, as the training set needs it."""

    digest: bytes  # decides its place in the order and the split
    features: "array[float]"  # a list of them takes almost three times the memory
    tier: int  # 1 to 5
    unknown: tuple[str, ...]  # the names of its unknown inputs, for the report


@dataclass
class Dataset:
    """Takes rows, keeps the samples of the usable videos, and counts the others."""

    thresholds: Sequence[float]  # the lowest WES of the tiers 2 to 5
    seed: int
    samples: dict[bytes, Sample] = field(default_factory=dict)  # keyed by digest
    dropped: Counter[str] = field(default_factory=Counter)  # rows, by reason
    rows_counted: int | None = None  # by the server at the start; None if it didn't

    def add(self, video: Video) -> None:
        """Turn a row into a sample, or drop it.

        A video whose row is deleted and inserted again during the run may come twice.
        The row that comes last is kept.
        """
        inputs = inputs_of(video)
        if not inputs["views"]:
            self.dropped["without views"] += 1
        elif not inputs["duration_seconds"]:
            self.dropped["without duration"] += 1
        else:
            sample = Sample(
                digest=digest(video, self.seed),
                features=array("d", features(inputs).values()),
                tier=virality_tier(weighted_engagement_score(inputs), self.thresholds),
                unknown=tuple(name for name, value in inputs.items() if value is None),
            )
            if sample.digest in self.samples:
                self.dropped["duplicated"] += 1
            self.samples[sample.digest] = sample

    def rows_read(self) -> int:
        """Return how many rows were added, the dropped ones included."""
        return len(self.samples) + self.dropped.total()

    def in_canonical_order(self) -> list[Sample]:
        """Return the samples in the order of their digests.

        This order depends on the videos and the seed alone, not on the order of the
        rows in the database or on their ids.
        """
        return [self.samples[key] for key in sorted(self.samples)]


def inputs_of(video: Video) -> Inputs:
    """Return the values of a row, checked: numbers of at least 0, a time in UTC, ...

    A value is None if it is unknown: null, absent, of another type or unreadable.
    """
    sound, caption = video.get("sound_name"), video.get("description")
    hashtags = video.get("hashtags")
    return {
        "views": number(video.get("views")),
        "duration_seconds": number(video.get("duration_seconds")),
        "likes": number(video.get("likes")),
        "shares": number(video.get("shares")),
        "comments": number(video.get("comments")),
        "bookmarks": number(video.get("bookmarks")),
        "hashtags": hashtags if isinstance(hashtags, list) else None,
        "sound_name": sound if isinstance(sound, str) and sound.strip() else None,
        "description": caption if isinstance(caption, str) else None,
        "followers": number(video.get("followers")),
        "uploaded_at": upload_time(video.get("uploaded_at")),
    }


def number(value: Any) -> float | None:
    """Return a number from 0 to below 2**63, or None for anything else.

    Text that is all ASCII digits counts as the number it spells.

    >>> number(12), number("12"), number(-1), number(True), number("1e3")
    (12, 12, None, None, None)
    """
    if type(value) in (int, float):  # not isinstance(): for it, True is an int
        return value if 0 <= value < MAX_NUMBER else None
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return number(int(value)) if len(value) <= MAX_DIGITS else None
    return None


def upload_time(value: Any) -> datetime | None:
    """Return a time in ISO 8601 as a datetime in UTC, or None for anything else.

    A time without an offset is taken as UTC. A time before 2014, when there was no
    TikTok, is unknown: it is a default such as 1970-01-01, or digits that only look
    like a date.

    >>> str(upload_time("2026-01-01T00:30:00+02:00"))
    '2025-12-31 22:30:00+00:00'
    >>> str(upload_time("2026-01-01T00:30:00"))
    '2026-01-01 00:30:00+00:00'
    """
    try:
        time = datetime.fromisoformat(value)
        time = time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (TypeError, ValueError, OverflowError):
        return None  # not text, not a time, or before the year 1 in UTC
    return time if time >= FIRST_UPLOAD else None


def features(inputs: Inputs) -> dict[str, float]:
    """Return the features of a usable video by name, each in [0, 1].

    To add a 16th, add a line here: name, formula, cap, and the value if the input is
    unknown. A new column also goes into COLUMNS and inputs_of().
    """
    views, likes = inputs["views"], inputs["likes"] or 0
    shares, comments = inputs["shares"] or 0, inputs["comments"] or 0
    followers, posted = inputs["followers"], inputs["uploaded_at"]
    # fmt: off
    return {
        "shareRate":          min(shares / views, 1.0),
        "commentRate":        min(comments / views, 1.0),
        "likeRate":           min(likes / views, 1.0),
        "saveRate":           min((inputs["bookmarks"] or 0) / views, 1.0),
        "shareToLikeRatio":   min(shares / likes, 1.0) if likes else 0.0,
        "commentToLikeRatio": min(comments / likes, 1.0) if likes else 0.0,
        "durationSeconds":    min(inputs["duration_seconds"] / MAX_DURATION, 1.0),
        "hashtagCount":       min(len(inputs["hashtags"] or []) / MAX_HASHTAGS, 1.0),
        "hasTrendingSound":   1.0 if inputs["sound_name"] else 0.0,
        "captionLength":      min(utf16_length(inputs["description"] or "") / MAX_CAPTION_LENGTH, 1.0),
        "hasFollowerData":    0.0 if followers is None else 1.0,
        "followerTier":       UNKNOWN if followers is None else follower_tier(followers),
        "viewsPerFollower":   min(views / followers / MAX_VIEWS_PER_FOLLOWER, 1.0) if followers else 0.0,
        "weekdayPosted":      posted.isoweekday() % 7 / 6 if posted else UNKNOWN,  # Sunday 0
        "hourPosted":         posted.hour / 23 if posted else UNKNOWN,
    }
    # fmt: on


def utf16_length(text: str) -> int:
    """Return the length in UTF-16 code units; most emoji count as 2.

    TikTok's own limit and the JavaScript app that uses the model count like this.
    """
    return len(text.encode("utf-16-le")) // 2


def follower_tier(followers: float) -> float:
    """Return the size of a creator's following: 0.1 (nano) to 0.9 (mega).

    >>> follower_tier(9_999), follower_tier(10_000)
    (0.1, 0.3)
    """
    return FOLLOWER_TIERS[bisect_right(FOLLOWER_BOUNDS, followers)]


# Taken from the features of a made-up video, so that each name stands in one place.
FEATURE_NAMES = list(features(inputs_of({"views": 1, "duration_seconds": 1})))


def weighted_engagement_score(inputs: Inputs) -> float:
    """Return the WES of a video that has views. It has no upper limit.

    >>> weighted_engagement_score({"views": 100, "likes": 5, "comments": 2, "shares": 1})
    0.12
    """
    likes, comments, shares = inputs["likes"], inputs["comments"], inputs["shares"]
    engagement = (likes or 0) + 2 * (comments or 0) + 3 * (shares or 0)
    return float(engagement / inputs["views"])


def virality_tier(wes: float, thresholds: Sequence[float]) -> int:
    """Return the highest tier, 2 to 5, whose threshold is at most `wes`, or else 1.

    >>> [virality_tier(wes, [1, 2, 3, 4]) for wes in (0.5, 2, 99)]
    [1, 3, 5]
    """
    return 1 + bisect_right(thresholds, wes)


def digest(video: Video, seed: int) -> bytes:
    """Return the SHA-256 of the seed and the video's ID, 32 bytes.

    It decides the order, the split and the shuffle. Unlike hash() and the module
    random, it is the same in every run and every version of Python.
    """
    text = f"{seed}/{video.get('platform')}/{video.get('platform_video_id')}"
    return sha256(text.encode()).digest()


def split(samples: list[Sample]) -> tuple[list[Sample], list[Sample]]:
    """Return the train set, the first 80 % in canonical order, and the test set.

    Both are shuffled. When videos are added or archived, only those near the border
    change sides.
    """
    cut = len(samples) * 4 // 5
    return shuffle(samples[:cut]), shuffle(samples[cut:])


def shuffle(samples: list[Sample]) -> list[Sample]:
    """Return samples in canonical order shuffled by Fisher-Yates.

    Each position i is swapped with a position from 0 to i, drawn by the digest of the
    sample that was at i in the canonical order. (That order is random already;
    Fisher-Yates on top is the recipe of the project's owner.)
    """
    shuffled = samples.copy()
    for i, sample in enumerate(samples):
        j = int.from_bytes(sample.digest, "big") % (i + 1)
        shuffled[i], shuffled[j] = shuffled[j], shuffled[i]
    return shuffled


# --- Reading


async def read_table(url: str, key: str, dataset: Dataset) -> None:
    """Read the project's videos into the dataset. Raises Failure.

    Every row that is in the table during the whole run is read exactly once. One that
    is inserted, archived or deleted meanwhile is read once or not at all.
    """
    show_progress(dataset)
    said: set[str] = set()  # shared, so that one message is not printed four times
    client = await connect(url, key)
    async with client:
        try:
            async with asyncio.TaskGroup() as readers:
                readers.create_task(count_rows(client, dataset))
                for after, last in pairwise(ID_BORDERS):
                    readers.create_task(read_range(client, after, last, dataset, said))
        except ExceptionGroup as group:
            # The first failure has ended the other readers.
            raise group.exceptions[0] from None


async def read_range(
    client: AsyncPostgrestClient,
    after: str,
    last: str,
    dataset: Dataset,
    said: set[str],
) -> None:
    """Read the videos with ids above `after`, up to `last`, into the dataset.

    Each page starts after the last id seen. An offset would skip or repeat rows when
    an earlier row is inserted or removed. Only an empty page ends the range: a server
    may send fewer rows than asked for, so a short one does not.
    """
    while page := await fetch_page(client, after, last, said):
        for video in page:
            dataset.add(video)
        show_progress(dataset)
        after = page[-1]["id"]


async def fetch_page(
    client: AsyncPostgrestClient, after: str, last: str, said: set[str]
) -> list[Video]:
    """Return up to 1,000 rows with ids above `after`, up to `last`, lowest ids first.

    Tries again after transient errors. Raises Failure.
    """
    query = (
        client.table(TABLE)
        .select(COLUMNS)
        .is_("archived_at", None)
        .gt("id", after)
        .lte("id", last)
        .order("id")
        .limit(PAGE_SIZE)
    )
    for seconds in RETRY_WAITS:
        try:
            return await request_rows(query)
        except TransientError as error:
            await back_off(error, seconds, said)
    return await request_rows(query)  # the last attempt: its failure ends the run


async def back_off(error: TransientError, seconds: float, said: set[str]) -> None:
    """Say what happened, and wait before the next attempt.

    said: the messages that some reader has printed and still waits on. They are not
        printed again.
    """
    seconds = max(seconds, error.retry_after)
    message = f"{error.problem}. Trying again in {seconds:g} s."
    if message not in said:
        say(message)
    said.add(message)
    await asyncio.sleep(seconds)
    said.discard(message)


async def request_rows(query: AsyncSelectRequestBuilder) -> list[Video]:
    """Send a request once and return its rows.

    Raises Failure, a TransientError if the next attempt may succeed.
    """
    try:
        reply: Any = await query.execute()  # check_reply() raises for an HTTP error
    except httpx.RequestError as error:
        raise request_error(error) from None
    rows = reply.data  # text, where the reply is not JSON
    if not isinstance(rows, list):
        raise no_array_error()
    return rows


async def count_rows(client: AsyncPostgrestClient, dataset: Dataset) -> None:
    """Let the server count the rows, for the progress and the report.

    A failure is ignored: on a large table, a count may take longer than the server
    allows, and what else is wrong shows when the pages are read.
    """
    query = client.table(TABLE).select("id", count=CountMethod.exact)
    # The client raises ValueError if the count in the reply is not a number.
    with suppress(Failure, httpx.RequestError, ValueError):
        reply = await query.is_("archived_at", None).limit(1).execute()
        dataset.rows_counted = reply.count


async def connect(url: str, key: str) -> AsyncPostgrestClient:
    """Return a client for the tables of a project.

    Raises UsageError if the proxy or the certificates in the environment can't be used.
    """
    try:
        # Left to itself, supabase would use HTTP/2 (users report dropped connections,
        # supabase-py #1064), follow redirects (which could take the key elsewhere), and
        # wait for up to 120 s.
        http = httpx.AsyncClient(
            timeout=TIMEOUT, event_hooks={"response": [check_reply]}
        )
    except (ValueError, ImportError, OSError, httpx.InvalidURL) as error:
        raise UsageError(
            f"The HTTP client can't be set up: {error}",
            "A variable in the environment can't be used: HTTPS_PROXY or another "
            "*_PROXY (the URL of a proxy), or SSL_CERT_FILE (a file that exists).",
        ) from None
    # The client's own retries would multiply ours.
    options = AsyncClientOptions(httpx_client=http, postgrest_client_retry=False)
    return (await acreate_client(url, key, options)).postgrest


# --- Requests that fail

OUTAGE_ADVICE = (
    "Is SUPABASE_URL right, and is this machine online? If it needs a proxy, check "
    "HTTPS_PROXY and the other *_PROXY variables in the environment. A paused project "
    "can be restored in the dashboard; https://status.supabase.com shows outages."
)
SLOW_DATABASE_ADVICE = (
    "The database needs longer for a page than its time limit. Check that the column "
    "id has an index (a primary key has one), or give the key's role more time, in the "
    "project's SQL editor:\n"
    "    alter role service_role set statement_timeout = '60s';\n"
    "    notify pgrst, 'reload config';"
)


async def check_reply(response: httpx.Response) -> None:
    """Raise Failure for an HTTP error or an empty body. A response hook of httpx.

    The client's own APIError has neither the status nor the headers, and the client
    takes a reply without a body for an empty page, which would end a range.
    """
    await response.aread()
    if not response.is_success:
        raise http_error(response)
    if not response.content:
        raise no_array_error()


def no_array_error() -> TransientError:
    """Return the error for a reply that is not a JSON array."""
    return TransientError(
        "The reply is not a JSON array",
        "What answers at SUPABASE_URL is not a Supabase project. Is it the login page "
        "of a network or a proxy? Check SUPABASE_URL and this machine's connection.",
    )


def request_error(error: httpx.RequestError) -> Failure:
    """Return the error for a request without a usable reply."""
    # A timeout of httpx has no text, and none of its errors names the host.
    kind = f"{type(error).__name__}: {error}".removesuffix(": ")
    problem = f"No usable reply from {error.request.url.host} ({kind})"
    problem = one_line(problem, error.request)
    if "CERTIFICATE_VERIFY_FAILED" in kind:
        return Failure(
            problem,
            "If a proxy or a self-hosted Supabase has a certificate of its own, set "
            "SSL_CERT_FILE in the environment to a PEM file with the certificate of "
            "the authority that signed it.",
        )
    return TransientError(problem, OUTAGE_ADVICE)


def http_error(response: httpx.Response) -> Failure:
    """Return the error for an HTTP error or a redirect."""
    status = response.status_code
    try:
        body = response.json()
    except ValueError:  # a gateway's HTML or plain text
        body = None
    fields = body if isinstance(body, dict) else {}
    code = fields.get("code")
    slow = code == "57014" or status == 544  # PostgreSQL's time limit, or the gateway's
    crashed = status == 400 and code == ""  # what PostgREST says if PostgreSQL crashes

    label = f"HTTP {status} {response.reason_phrase}".strip()
    message = fields.get("message") or fields.get("error") or fields.get("msg")
    texts = [message, fields.get("details"), fields.get("hint")]
    if crashed:
        texts.append("no message, as when PostgreSQL crashes")
    if response.has_redirect_location:
        texts.append(f"not followed, a redirect to {response.headers['location']}")
    parts = [f"{label} ({code})" if code else label]
    parts += [str(text).strip().rstrip(".") for text in texts if text]
    problem = one_line(": ".join(parts), response.request)

    if slow or crashed or status in (408, 429) or status >= 500:
        retry_after = number(response.headers.get("retry-after")) or 0
        return TransientError(
            problem,
            advice=SLOW_DATABASE_ADVICE if slow else OUTAGE_ADVICE,
            retry_after=min(retry_after, MAX_RETRY_AFTER),
        )
    return Failure(problem, refusal_advice(status, code))


def refusal_advice(status: int, code: str | None) -> str:
    """Return what a person can do about an HTTP error that is final, or a redirect."""
    if status == 402:
        return (
            "Supabase restricts this organization's projects: a quota is exceeded, or "
            "a bill is due. See Usage and Billing of the organization in the dashboard "
            "(https://supabase.com/dashboard)."
        )
    if code == "42501":
        return (
            "The role of this key has no grant on the table. If it is a publishable "
            "(anon) key, use a secret key instead. A secret key needs a grant, too: "
            "since 2026, Supabase grants nothing on new tables. Run this in the "
            "project's SQL editor:\n"
            f"    grant select on public.{TABLE} to service_role;"
        )
    if status in (401, 403):
        advice = (
            "This key doesn't belong to the project at SUPABASE_URL, or it has expired "
            "or been revoked. (Legacy keys end with 2026.) Copy a secret key from that "
            "project's dashboard: Project Settings > API Keys. A setting in the "
            "environment wins over .env.local and .env."
        )
        if code == "PGRST301":
            advice += (
                " A local stack may want its legacy service_role key, as "
                "SUPABASE_SERVICE_ROLE_KEY, in place of SUPABASE_SECRET_KEY."
            )
        return advice
    if status < 400:  # a redirect
        return (
            "SUPABASE_URL is not the project's own address, which looks like "
            "https://abcdefgh.supabase.co. Copy it from the project's dashboard "
            "(Connect, at the top)."
        )
    return (
        f"Check that the table {TABLE} is in the schema public, with the columns in "
        "README.md (the id is a uuid), and that the Data API exposes this schema "
        "(Project Settings > Data API). If so, check that SUPABASE_URL is the URL of a "
        "Supabase project."
    )


def one_line(text: str, request: httpx.Request) -> str:
    """Return text as one line of at most 500 characters that can't show the key.

    Unprintable characters become blanks, so that no line break or escape sequence of
    a server reaches the terminal.
    """
    masked = text.replace(request.headers["apikey"], "[key]")
    printable = "".join(char if char.isprintable() else " " for char in masked)
    line = " ".join(printable.split()).rstrip(".")
    cut = " [...]"
    return line if len(line) <= MAX_MESSAGE else line[: MAX_MESSAGE - len(cut)] + cut


# --- Writing


def training_json(
    train: list[Sample], test: list[Sample], generated_at: datetime
) -> Iterator[str]:
    """Yield the text of training-data.json, piece by piece.

    Numbers have all their digits, so that they read back exactly.
    """
    time = generated_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    yield f'{{\n  "generatedAt": "{time}",\n'
    yield f'  "featureNames": {json.dumps(FEATURE_NAMES)},\n'
    yield '  "trainSet": '
    yield from set_json(train)
    yield '  "testSet": '
    yield from set_json(test)
    labels = Counter(sample.tier for sample in train + test)
    distribution = {tier: labels[tier] for tier in TIERS}
    yield f'  "labelDistribution": {json.dumps(distribution)}\n}}\n'


def set_json(samples: list[Sample]) -> Iterator[str]:
    """Yield the text of one set, a feature vector to a line."""
    yield '{\n    "features": ['
    separator = "\n"
    for sample in samples:
        yield f"{separator}[{','.join(map(repr, sample.features))}]"
        separator = ",\n"
    yield f'\n    ],\n    "labels": {[sample.tier for sample in samples]},\n'
    yield f'    "count": {len(samples)}\n  }},\n'


def write_whole(target: Path, text: Iterable[str]) -> int:
    """Write a file that appears whole or not at all, and return its size in bytes.

    Raises Failure if it can't be written. Then an earlier file is unchanged.
    """
    try:
        # Only their owner can read the files that tempfile makes. A file that is opened
        # in a temporary folder has the permissions of any new file.
        with tempfile.TemporaryDirectory(prefix=".", dir=target.parent) as folder:
            part = Path(folder) / target.name
            with part.open("w", encoding="utf-8", newline="\n") as file:
                file.writelines(text)
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
    except OSError as error:
        raise Failure(
            f"Can't write {target}: {error.strerror}",
            "Name a file in another place with --output, or make room if the disk is "
            "full.",
        ) from None
    return target.stat().st_size


# --- Report


def row_lines(dataset: Dataset) -> Iterator[str]:
    """Yield lines on the rows that were read, and on the inputs that are unknown."""
    read, used = dataset.rows_read(), len(dataset.samples)
    dropped = [f"{n:,} {reason}" for reason, n in ranked(dataset.dropped)]
    yield f"Read {read:,} rows, used {used:,}."
    yield f"Dropped: {', '.join(dropped) or 'none'}."
    counted = dataset.rows_counted
    if counted is None:
        yield "The rows were not counted at the start, so a missing one would not show."
    elif counted > read:
        yield wrapped(
            f"{counted - read:,} fewer than counted at the start: archived or deleted "
            "since, or their ids are not uuids."
        )

    samples = dataset.samples.values()
    unknown = Counter(name for sample in samples for name in sample.unknown)
    listed = [f"{name} {n / used:.1%}" for name, n in ranked(unknown)]
    yield wrapped(f"Unknown: {', '.join(listed) or 'nothing'}.")
    mostly = [name for name, n in ranked(unknown) if n / used > MOSTLY_UNKNOWN]
    if mostly:
        yield wrapped(
            f"Check: more than {MOSTLY_UNKNOWN:.0%} of the videos lack "
            f"{', '.join(mostly)}. Has the scraper stopped filling them in?"
        )


def ranked(counts: Counter[str]) -> list[tuple[str, int]]:
    """Return names and counts, the largest first, ties in the order of the names."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def tier_lines(
    train: list[Sample], test: list[Sample], baseline: dict[str, Any]
) -> Iterator[str]:
    """Yield a table of the tiers, and a sentence if some are far off the baseline."""
    in_train = Counter(sample.tier for sample in train)
    in_test = Counter(sample.tier for sample in test)
    used = len(train) + len(test)
    shares = [(in_train[tier] + in_test[tier]) / used for tier in TIERS]
    entries = baseline["virality_tiers"]
    usual_shares = [(number(entry.get("percentage")) or 0) / 100 for entry in entries]
    scale = BAR_WIDTH / max(shares + usual_shares)

    far = []
    columns = f"{'train':>9}{'test':>9}{'share':>8}{'baseline':>10}"
    yield f"{'Tier':22}{columns}  # share, | baseline"
    for tier, entry, share, usual in zip(TIERS, entries, shares, usual_shares):
        name = f"{tier} {entry.get('label') or ''}"
        counts = f"{in_train[tier]:9,}{in_test[tier]:9,}"
        shown = f"{usual:.1%}" if usual else ""
        drawn = bar(round(share * scale), round(usual * scale))
        yield f"{name:22.22}{counts}{share:8.1%}{shown:>10}  {drawn}"
        if not share or (usual and abs(share - usual) > TIER_TOLERANCE):
            far.append(f"tier {tier}")
    if far:
        yield wrapped(
            f"Check: empty, or more than {TIER_TOLERANCE * 100:g} points off the "
            f"baseline: {', '.join(far)}. Either the table's columns are filled "
            "differently from before, or the baseline was made from other data. See "
            '"The label" in README.md.'
        )


def bar(share: int, mark: int) -> str:
    """Return a bar of `#` as wide as the share, with `|` at the mark if it is not 0.

    >>> bar(4, 2), bar(2, 4), bar(3, 0)
    ('##|#', '##  |', '###')
    """
    drawn = "#" * share
    if not mark:
        return drawn
    return drawn[:mark].ljust(mark) + "|" + drawn[mark + 1 :]


def feature_lines(samples: Collection[Sample]) -> Iterator[str]:
    """Yield a table of the features, and what to know before training on them."""
    yield f"{'Feature':22}{'median':>9}{'mean':>9}{'maximum':>9}{'at 0':>9}{'at 1':>9}"
    constant = []
    for i, name in enumerate(FEATURE_NAMES):
        values = sorted(sample.features[i] for sample in samples)
        at_0 = values.count(0.0) / len(values)
        at_1 = values.count(1.0) / len(values)
        figures = f"{median(values):9.5f}{fmean(values):9.5f}{values[-1]:9.5f}"
        yield f"{name:22}{figures}{at_0:9.1%}{at_1:9.1%}"
        if values[0] == values[-1]:
            constant.append(name)
    if constant:
        yield wrapped(
            "Check: the same in every video, so a model can learn nothing from them: "
            f"{', '.join(constant)}."
        )
    yield wrapped(
        "shareRate, commentRate and likeRate give the tier away: it is computed from "
        'the same counts. See "Before you train" in README.md.'
    )


def wrapped(text: str) -> str:
    """Return text with each of its lines wrapped at 80 columns."""
    wrapper = textwrap.TextWrapper(
        width=LINE_WIDTH, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(wrapper.fill(line) for line in text.splitlines())


# --- Settings, baseline, output


def read_settings(environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the project's URL and key: from `environ`, else .env.local, else .env.

    Raises UsageError for a setting that is missing or malformed. No message shows a
    value, which may be the key in the wrong place.
    """
    sources: list[Mapping[str, str | None]] = [environ]
    for path in ENV_FILES:
        try:
            sources.append(dotenv_values(path, encoding="utf-8-sig"))
        except (OSError, UnicodeError) as error:
            raise UsageError(
                f"{path} can't be read: {error}",
                "Make it readable, and save it as UTF-8. (PowerShell may have written "
                "UTF-16.)",
            ) from None

    def find(*names: str) -> str:
        for source in sources:
            for name in names:
                value = (source.get(name) or "").strip()
                if value:
                    return value
        return ""

    url = find("SUPABASE_URL", "NEXT_PUBLIC_SUPABASE_URL")
    key = find("SUPABASE_SECRET_KEY", "SUPABASE_SERVICE_ROLE_KEY")
    wrong = []
    if not is_usable_url(url):
        wrong.append(f"SUPABASE_URL is {'malformed' if url else 'not set'}")
    if not KEY_FORM.fullmatch(key):
        wrong.append(f"SUPABASE_SECRET_KEY is {'malformed' if key else 'not set'}")
    if wrong:
        raise UsageError(
            ", and ".join(wrong),
            "Two settings are needed, which look like\n"
            "    SUPABASE_URL=https://abcdefgh.supabase.co\n"
            "    SUPABASE_SECRET_KEY=sb_secret_...\n"
            "Copy .env.example to .env and fill it in, or set them in the environment."
            f"\n.env.local and .env are looked for in {HERE}",
        )
    # The dashboard also shows the URL with /rest/v1, which the client adds itself.
    return url.rstrip("/").removesuffix("/rest/v1"), key


def is_usable_url(text: str) -> bool:
    """Return whether text is an http or https URL that the HTTP client can use."""
    if not URL_FORM.fullmatch(text):
        return False
    try:
        return bool(httpx.URL(text).host) and urlsplit(text).port != 0
    except (ValueError, httpx.InvalidURL):  # 192.168.0.256, xn--a, port 70000
        return False


def setting_warnings(url: str, key: str) -> Iterator[str]:
    """Yield a warning for each setting that works, but with a risk."""
    address = urlsplit(url)
    if address.scheme == "http" and address.hostname not in THIS_MACHINE:
        yield "SUPABASE_URL is plain http: others can read the key on the way."
    if key.startswith("sb_publishable_"):
        yield (
            "The key is a publishable one. Row-level security may show it only a part "
            "of the table, and the training set would be made from that part. Use a "
            "secret key (sb_secret_...)."
        )


def read_baseline(path: Path) -> tuple[dict[str, Any], list[float]]:
    """Return the baseline, its tiers in order, and the lowest WES of the tiers 2 to 5.

    Raises UsageError for a file that can't be read, or whose tiers make no sense.
    """
    try:
        baseline = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise baseline_error(path, f"{error.strerror}") from None
    except ValueError as error:
        raise baseline_error(path, f"it is not JSON: {error}") from None
    try:
        entries = sorted(baseline["virality_tiers"], key=lambda entry: entry["tier"])
        minima = [entry["weighted_score_threshold"]["min"] for entry in entries]
    except (KeyError, TypeError):
        needed = "virality_tiers, each with tier and weighted_score_threshold.min"
        raise baseline_error(path, f"it needs {needed}") from None
    if [entry["tier"] for entry in entries] != TIERS:
        raise baseline_error(path, "its tiers are not 1 to 5, once each")
    # The comparisons are false for a nan, too.
    if not all(isinstance(low, int | float) and -inf < low < inf for low in minima):
        raise baseline_error(path, "its thresholds are not all finite numbers")
    if not all(low < high for low, high in pairwise(minima)):
        raise baseline_error(path, "its thresholds do not ascend with the tiers")
    return baseline | {"virality_tiers": entries}, minima[1:]


def baseline_error(path: Path, cause: str) -> UsageError:
    """Return the error for a baseline that can't be used."""
    return UsageError(
        f"The baseline {path} can't be used: {cause}",
        "Restore the one that came with the script, or name another with --baseline.",
    )


def resolve_output(path: Path) -> Path:
    """Return the path to write to, links followed. Raises UsageError if it can't be."""
    try:
        target = Path(os.path.realpath(path))
        if target.exists() and not target.is_file():
            raise UsageError(
                f"--output {path} is a folder or a device",
                "Name a file, such as training-data.json.",
            )
        with tempfile.TemporaryFile(dir=target.parent):
            pass  # a file can be made there
    except OSError as error:
        raise UsageError(
            f"Can't write in the folder of {path}: {error.strerror}",
            "Name a file in another folder with --output.",
        ) from None
    return target


# --- The command


def say(message: str) -> None:
    """Print a message to standard error, in place of the line of progress."""
    erase_progress()
    print(message, file=sys.stderr)


def show_progress(dataset: Dataset) -> None:
    """Rewrite the line of progress on a terminal. A log gets none."""
    if sys.stderr.isatty():
        counted = dataset.rows_counted
        of_counted = f" of {counted:,}" if counted else ""
        print(f"\r{dataset.rows_read():,}{of_counted} rows", end="", file=sys.stderr)


def erase_progress() -> None:
    """Erase the line of progress on a terminal."""
    if sys.stderr.isatty():
        blanks = " " * 40  # more than the longest line of progress
        print(f"\r{blanks}\r", end="", file=sys.stderr)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the options. Exits with code 2 if they are wrong."""
    parser = argparse.ArgumentParser(
        description="Turn the scraped videos of a Supabase project into training data.",
        epilog="Exit codes: 0 written, 1 failed, 2 usage or settings, 130 interrupted.",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="PATH",
        default="training-data.json",
        help="Write this file (default: %(default)s).",
    )
    parser.add_argument(
        "--baseline",
        type=Path,
        metavar="PATH",
        default=BASELINE,
        help="Take the tiers from this baseline (default: the one beside the script).",
    )
    parser.add_argument(
        "--seed",
        type=int,
        metavar="N",
        default=42,
        help="Split and shuffle by this seed (default: %(default)s).",
    )
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> None:
    """Read, compute, split, write and report. Raises Failure."""
    started = monotonic()
    gc.set_threshold(100_000)  # saves 15 % of the time at 200,000 rows
    url, key = read_settings(os.environ)
    baseline, thresholds = read_baseline(arguments.baseline)
    target = resolve_output(arguments.output)
    for warning in setting_warnings(url, key):
        say(wrapped(f"Warning: {warning}"))

    dataset = Dataset(thresholds, arguments.seed)
    asyncio.run(read_table(url, key, dataset))
    read, used = dataset.rows_read(), len(dataset.samples)
    if not read:
        raise Failure(
            f"No rows came from the table {TABLE}",
            "Check that it has rows whose archived_at is null. Under row-level "
            "security, a publishable (anon) key may see none: use a secret key.",
        )
    if used < 2:
        raise Failure(
            f"Of {read:,} rows in {TABLE}, {used} can be used",
            "At least two are needed, one for each set. Check that the columns views "
            "and duration_seconds are filled.",
        )

    train, test = split(dataset.in_canonical_order())
    size = write_whole(target, training_json(train, test, datetime.now(UTC)))
    report = [
        *row_lines(dataset),
        "",
        *tier_lines(train, test, baseline),
        "",
        *feature_lines(dataset.samples.values()),
        "",
        f"Project   {urlsplit(url).hostname}",
        f"Baseline  {arguments.baseline} of {baseline.get('generated_at') or '?'}",
        f"Seed      {arguments.seed}",
        f"Sets      {len(train):,} to train, {len(test):,} to test",
        f"File      {target}",
        f"          {size / 1e6:,.1f} MB, in {monotonic() - started:.1f} s",
    ]
    erase_progress()
    print("\n".join(report))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = parse_arguments(argv)
    # Escape what the output's encoding lacks, rather than fail after all is written.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        run(arguments)
    except Failure as failure:
        advice = wrapped(failure.advice)
        say(f"Error: {failure.problem}.\n{advice}\nNothing was written.")
        return failure.exit_code
    except KeyboardInterrupt:
        say("Interrupted.")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
