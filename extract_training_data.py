# /// script
# requires-python = ">=3.11"
# dependencies = ["supabase>=2.34,<2.35", "python-dotenv>=1.2.1,<2"]
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
import ssl
import tempfile
import textwrap
from array import array
from base64 import urlsafe_b64decode
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from hashlib import sha256
from importlib.metadata import version
from itertools import pairwise
from math import inf
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any, NamedTuple, TextIO

OLDEST = {"supabase": (2, 34), "python-dotenv": (1, 2, 1)}  # as in requirements.txt

try:
    # supabase sends its requests with httpx. A later one may use another HTTP client
    # (supabase-py #1615): hence <2.35.
    import httpx
    from dotenv import dotenv_values
    from postgrest import (
        APIResponse,
        AsyncPostgrestClient,
        AsyncSelectRequestBuilder,
        CountMethod,
    )
    from supabase import AsyncClientOptions, acreate_client

    for package, oldest in OLDEST.items():
        installed = version(package)
        # An older one can be imported, but fails later.
        if tuple(int(part) for part in re.findall(r"\d+", installed)) < oldest:
            raise ImportError(f"{package} {installed} is too old")
except Exception as error:  # noqa: BLE001 - a broken package may raise any
    sys.exit(f"""Error: A package is missing, too old or broken: {error}
In the script's folder, install the packages, and run the script with them:
    python3 -m venv .venv && .venv/bin/pip install -r requirements.txt
    .venv/bin/python extract_training_data.py""")

Row = dict[str, Any]  # as the server sends it

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
ID_BORDERS = (  # a quarter, a half and three quarters of all uuids
    "40000000-0000-0000-0000-000000000000",
    "80000000-0000-0000-0000-000000000000",
    "c0000000-0000-0000-0000-000000000000",
)
TIMEOUT = httpx.Timeout(30, connect=10)  # seconds; Supabase cancels a query after 8
COUNT_TIMEOUT = 10  # seconds
RETRY_WAITS = (1, 2, 4, 8)  # seconds before the second to the fifth attempt
MAX_RETRY_AFTER = 60  # seconds; a server that asks for more gets 60
MAX_MESSAGE = 500  # characters of what a server says

BIGINT_END = 2**63  # the first whole number that is too large for a bigint
BIGINT_DIGITS = 19  # no bigint has more; int() refuses text of more than 4,300
FIRST_UPLOAD = datetime(2014, 1, 1, tzinfo=UTC)  # to musical.ly, later TikTok

TIERS = [1, 2, 3, 4, 5]
COUNTS_IN_WES = ("likes", "comments", "shares")
LINE_WIDTH = 80  # columns of a report
BAR_WIDTH = 11  # columns
# Shares of the videos above which the report says Check:
CHECK_UNKNOWN = 0.9  # that lack a value
CHECK_UNKNOWN_IN_WES = 0.1  # that lack a count of the WES
CHECK_TIER_SHARE = 0.05  # by which a tier is off the baseline

URL_FORM = re.compile(
    r"https?://[\w-]{1,63}(\.[\w-]{1,63})*(:[1-9]\d{0,4})?(/[\w./~-]*)?", re.ASCII
)
KEY_FORM = re.compile(r"[\w.-]*[\w-]", re.ASCII)  # sb_secret_..., or a JWT
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
    """A usable video, as the training set and the report need it.

    Two samples of one video compare by their views, then by their other values.
    """

    digest: bytes  # decides its place in the order and the split
    views: float
    features: "array[float]"  # a list of them takes almost three times the memory
    tier: int  # 1 to 5
    unknown: tuple[str, ...]  # the names of its values that are None
    uploaded_on: (
        date | None
    )  # in UTC. If one is None and one is not, `unknown` differs.


@dataclass
class Dataset:
    """Takes rows, keeps the samples of the usable videos, and counts the others."""

    thresholds: Sequence[float]  # the lowest WES of the tiers 2 to 5
    seed: int
    samples: dict[bytes, Sample] = field(default_factory=dict)  # keyed by digest
    dropped: Counter[str] = field(default_factory=Counter)  # rows, by reason
    rows_counted: int | None = None  # by the server at the start; None if it didn't

    def add(self, row: Row) -> None:
        """Turn a row into a sample, or drop it.

        A video may come in several rows: where the table allows it, or when its row is
        deleted and inserted again during the run. The row with the most views is kept,
        most likely the latest scrape. Among equals, their other values decide, never
        the order in which they come.
        """
        video = video_of(row)
        if not video.views:
            self.dropped["without views"] += 1
        elif not video.duration_seconds:
            self.dropped["without duration"] += 1
        else:
            sample = sample_of(video, digest_of(row, self.seed), self.thresholds)
            if sample.digest in self.samples:
                self.dropped["duplicated"] += 1
                sample = max(sample, self.samples[sample.digest])
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


class Video(NamedTuple):
    """What a row tells of its video, checked.

    A value is None if it is unknown: null, absent, of another type or unreadable.
    """

    views: float  # 0 if unknown
    duration_seconds: float  # 0 if unknown
    likes: float | None
    shares: float | None
    comments: float | None
    bookmarks: float | None
    hashtags: list[Any] | None
    sound_name: str | None  # not blank
    description: str | None  # the caption
    followers: float | None
    uploaded_at: datetime | None  # in UTC


def video_of(row: Row) -> Video:
    """Return what a row tells of its video."""
    hashtags = row.get("hashtags")
    sound = row.get("sound_name")
    caption = row.get("description")
    return Video(
        views=number(row.get("views")) or 0,
        duration_seconds=number(row.get("duration_seconds")) or 0,
        likes=number(row.get("likes")),
        shares=number(row.get("shares")),
        comments=number(row.get("comments")),
        bookmarks=number(row.get("bookmarks")),
        hashtags=hashtags if isinstance(hashtags, list) else None,
        sound_name=sound if isinstance(sound, str) and sound.strip() else None,
        description=caption if isinstance(caption, str) else None,
        followers=number(row.get("followers")),
        uploaded_at=upload_time(row.get("uploaded_at")),
    )


def number(value: Any) -> float | None:
    """Return a number from 0 to below 2**63, or None for anything else.

    Text of up to 19 ASCII digits counts as the number that it spells.

    >>> number(12), number("12"), number(-1), number(True), number("1e3")
    (12, 12, None, None, None)
    """
    if type(value) in (int, float):  # not isinstance(): for it, True is an int
        return value if 0 <= value < BIGINT_END else None
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return number(int(value)) if len(value) <= BIGINT_DIGITS else None
    return None


def upload_time(value: Any) -> datetime | None:
    """Return a time in ISO 8601 as a datetime in UTC, or None for anything else.

    A time without an offset is taken as UTC. A time before 2014, when there was no
    TikTok, is unknown: it is a default such as 1970-01-01, or no time at all, such as
    "1705012312345", milliseconds that read as a day in the year 1705.

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


def sample_of(video: Video, digest: bytes, thresholds: Sequence[float]) -> Sample:
    """Return the sample of a usable video."""
    return Sample(
        digest,
        views=video.views,
        features=array("d", features_of(video)),
        tier=virality_tier(weighted_engagement_score(video), thresholds),
        unknown=tuple(
            name for name, value in zip(Video._fields, video) if value is None
        ),
        uploaded_on=video.uploaded_at.date() if video.uploaded_at else None,
    )


def features_of(video: Video) -> list[float]:
    """Return the features of a usable video, as in FEATURES, each in [0, 1]."""
    return [min(feature.formula(video), 1.0) for feature in FEATURES]


class Feature(NamedTuple):
    """A feature: its name, when it is known, and its formula."""

    name: str
    after_posting: bool  # counted after posting, as the tier is
    formula: Callable[[Video], float]  # gives 0 or more; more than 1 counts as 1


BEFORE = False
AFTER = True
# A number as the divisor is the cap: it counts as 1. A new feature also goes into
# README.md and the plain row of test_samples.py; a new column into COLUMNS, Video and
# video_of(), too.
# fmt: off
FEATURES = [
    Feature("shareRate",          AFTER,  lambda v: ratio(v.shares, v.views)),
    Feature("commentRate",        AFTER,  lambda v: ratio(v.comments, v.views)),
    Feature("likeRate",           AFTER,  lambda v: ratio(v.likes, v.views)),
    Feature("saveRate",           AFTER,  lambda v: ratio(v.bookmarks, v.views)),
    Feature("shareToLikeRatio",   AFTER,  lambda v: ratio(v.shares, v.likes)),
    Feature("commentToLikeRatio", AFTER,  lambda v: ratio(v.comments, v.likes)),
    Feature("durationSeconds",    BEFORE, lambda v: v.duration_seconds / 180),
    Feature("hashtagCount",       BEFORE, lambda v: len(v.hashtags or []) / 30),
    Feature("hasTrendingSound",   BEFORE, lambda v: 1 if v.sound_name else 0),
    Feature("captionLength",      BEFORE, lambda v: utf16_length(v.description) / 2000),
    Feature("hasFollowerData",    BEFORE, lambda v: 0 if v.followers is None else 1),
    Feature("followerTier",       BEFORE, lambda v: creator_size(v.followers)),
    Feature("viewsPerFollower",   AFTER,  lambda v: ratio(v.views, v.followers) / 50),
    Feature("weekdayPosted",      BEFORE, lambda v: weekday_posted(v.uploaded_at)),
    Feature("hourPosted",         BEFORE, lambda v: hour_posted(v.uploaded_at)),
]
# fmt: on


def ratio(numerator: float | None, denominator: float | None) -> float:
    """Return the quotient, or 0 if one of them is unknown or the denominator is 0."""
    return numerator / denominator if numerator and denominator else 0.0


def utf16_length(text: str | None) -> int:
    """Return the length in UTF-16 code units, 0 if unknown; most emoji count as 2.

    TikTok's own limit and JavaScript, which the model is used in, count like this.
    """
    return len((text or "").encode("utf-16-le")) // 2


def creator_size(followers: float | None) -> float:
    """Return the size of a creator's following, 0.5 if unknown."""
    if followers is None:
        return 0.5
    if followers < 10_000:
        return 0.1  # nano
    if followers < 100_000:
        return 0.3  # micro
    if followers < 500_000:
        return 0.5  # mid
    if followers < 1_000_000:
        return 0.7  # macro
    return 0.9  # mega


def weekday_posted(time: datetime | None) -> float:
    """Return the day of the week, from 0 (Sunday) to 1 (Saturday), 0.5 if unknown."""
    return time.isoweekday() % 7 / 6 if time else 0.5


def hour_posted(time: datetime | None) -> float:
    """Return the hour of the day, from 0 (midnight) to 1 (23:00), 0.5 if unknown."""
    return time.hour / 23 if time else 0.5


def weighted_engagement_score(video: Video) -> float:
    """Return the WES of a video that has views. It has no upper limit.

    It is (likes + 2 comments + 3 shares) / views, where an unknown count is 0.
    """
    likes, comments, shares = video.likes or 0, video.comments or 0, video.shares or 0
    return (likes + 2 * comments + 3 * shares) / video.views


def virality_tier(wes: float, thresholds: Sequence[float]) -> int:
    """Return the highest tier, 2 to 5, whose threshold is at most `wes`, or else 1.

    >>> [virality_tier(wes, [1, 2, 3, 4]) for wes in (0.5, 2, 99)]
    [1, 3, 5]
    """
    return 1 + bisect_right(thresholds, wes)


def digest_of(row: Row, seed: int) -> bytes:
    """Return the SHA-256 of the seed, the platform and the video ID, 32 bytes.

    It decides the order, the split and the shuffle. Unlike hash() and the module
    random, it is the same in every run and every version of Python.
    """
    text = f"{seed}/{row.get('platform')}/{row.get('platform_video_id')}"
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
    """Read the project's table into the dataset. Raises Failure.

    Every row that is there during the whole run, with an id of its own, is read once,
    whatever that id is and whatever changes meanwhile. (One that is inserted, archived
    or deleted meanwhile is read once or not at all.) The ranges are read side by side,
    but the same rows give the same dataset, whichever range is quicker.
    """
    show_progress(dataset)
    waiting: Counter[str] = Counter()
    # Bounds of the id: above the first, up to the second. The ends have none, so that
    # no row lies outside. Random uuids spread evenly; other ids only slow the run.
    ranges = pairwise([None, *ID_BORDERS, None])
    client = await new_client(url, key)
    async with client:
        try:
            async with asyncio.TaskGroup() as group:  # one that fails ends the others
                group.create_task(count_rows(client, dataset))
                for low, high in ranges:
                    group.create_task(read_range(client, low, high, dataset, waiting))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None  # the one that ended the others


async def read_range(
    client: AsyncPostgrestClient,
    low: str | None,
    high: str | None,
    dataset: Dataset,
    waiting: Counter[str],
) -> None:
    """Read the rows with ids above `low`, up to `high`, into the dataset.

    This is keyset pagination: each page starts after the last id of the one before. An
    offset would skip or repeat rows when an earlier row is inserted or removed. Only an
    empty page is the end: a server may send fewer rows than it is asked for.
    """
    cursor = low
    while page := await fetch_page(client, cursor, high, waiting):
        for row in page:
            dataset.add(row)
        show_progress(dataset)
        cursor = page[-1]["id"]


async def fetch_page(
    client: AsyncPostgrestClient,
    cursor: str | None,
    high: str | None,
    waiting: Counter[str],
) -> list[Any]:
    """Return up to 1,000 rows with ids above `cursor`, up to `high`, lowest ids first.

    Tries again after transient errors. Raises Failure.
    """
    query = client.table(TABLE).select(COLUMNS).is_("archived_at", None)
    if cursor is not None:
        query = query.gt("id", cursor)
    if high is not None:
        query = query.lte("id", high)
    query = query.order("id").limit(PAGE_SIZE)
    for seconds in RETRY_WAITS:
        try:
            return (await send(query)).data
        except TransientError as error:
            await back_off(error, seconds, waiting)
    return (await send(query)).data  # the last attempt: its failure ends the run


async def back_off(
    error: TransientError, seconds: float, waiting: Counter[str]
) -> None:
    """Say what happened, and wait before the next attempt.

    waiting: how many readers wait after each message. While one does, the message is
        not printed again.
    """
    seconds = max(seconds, error.retry_after)
    message = f"{error.problem}. Trying again in {seconds:g} s."
    if not waiting[message]:
        say(message)
    waiting[message] += 1
    await asyncio.sleep(seconds)
    waiting[message] -= 1


async def count_rows(client: AsyncPostgrestClient, dataset: Dataset) -> None:
    """Let the server count the rows, for the progress and the report.

    It is asked for once, and a failure is ignored: on a large table, a count may take
    longer than the server allows, and what else is wrong shows when the pages are read.
    The run may have to wait for the count, but no longer than 10 s.
    """
    query = client.table(TABLE).select("id", count=CountMethod.exact)
    # The client raises ValueError if the count in the reply is not a number.
    with suppress(Failure, TimeoutError, ValueError):
        async with asyncio.timeout(COUNT_TIMEOUT):
            reply = await send(query.is_("archived_at", None).limit(1))
            dataset.rows_counted = reply.count


async def send(query: AsyncSelectRequestBuilder) -> APIResponse:
    """Send a request once and return the client's reply, whose `data` is an array.

    Raises Failure, a TransientError if the next attempt may succeed.
    """
    try:
        reply = await query.execute()  # check_reply() raises for an HTTP error
    except (httpx.RequestError, ssl.SSLError) as error:
        # A broken TLS connection is no RequestError once the handshake is done.
        host = str(query.request.path.raw_host)
        key = query.request.headers["apikey"]
        raise no_reply_error(error, host, key) from None
    if not isinstance(reply.data, list):  # the client hands on text that is not JSON
        raise no_array_error()
    return reply


async def new_client(url: str, key: str) -> AsyncPostgrestClient:
    """Return a client for the tables of a project. It sends no request yet.

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
            f"The HTTP client can't be set up: {error}".rstrip("."),
            "Correct or unset a variable in the environment: HTTPS_PROXY or another "
            "*_PROXY (the URL of a proxy), or SSL_CERT_FILE (a file that exists).",
        ) from None
    # The client's own retries would multiply ours.
    options = AsyncClientOptions(httpx_client=http, postgrest_client_retry=False)
    return (await acreate_client(url, key, options)).postgrest


# --- Requests that fail


async def check_reply(response: httpx.Response) -> None:
    """Raise Failure for an HTTP error or an empty body. A response hook of httpx.

    The client's own APIError has neither the status nor the headers, and the client
    takes a reply without a body for an empty page, which would end a range.
    """
    await response.aread()
    response.encoding = "utf-8"  # another may decode the body to nothing
    if not response.is_success:
        raise http_error(response)
    if not response.content:
        raise no_array_error()


def http_error(response: httpx.Response) -> Failure:
    """Return the error for an HTTP error or a redirect."""
    status = response.status_code
    try:
        body = response.json()
    except ValueError:  # a gateway's HTML or plain text
        body = None
    fields = body if isinstance(body, dict) else {}
    code = fields.get("code")

    status_line = f"HTTP {status} {response.reason_phrase}".strip()
    message = fields.get("message") or fields.get("error") or fields.get("msg")
    texts = [message, fields.get("details"), fields.get("hint")]
    if code == "" and status == 400:
        texts.append("no message, as when PostgreSQL crashes")
    if response.has_redirect_location:
        texts.append(f"not followed, a redirect to {response.headers['location']}")
    parts = [f"{status_line} ({code})" if code else status_line]
    parts += [str(text).strip().rstrip(".") for text in texts if text]
    problem = line_without_key(": ".join(parts), response.request.headers["apikey"])

    kind, advice = classify(status, code)
    if kind is Failure:
        return Failure(problem, advice)
    retry_after = number(response.headers.get("retry-after")) or 0
    return TransientError(problem, advice, min(retry_after, MAX_RETRY_AFTER))


def classify(status: int, code: str | None) -> tuple[type[Failure], str]:
    """Return what an HTTP error is, final or transient, and what a person can do.

    code: that of PostgreSQL or PostgREST, from the body. The first line that fits
    decides, so codes come first: they say more than the status beside them.
    """
    if code == "42501":  # permission denied, with 401 or 403
        return Failure, NO_GRANT
    if code == "57014" or status == 544:  # the time limit of PostgreSQL, of the gateway
        return TransientError, SLOW_QUERY
    if code == "" and status == 400:  # what PostgREST says if PostgreSQL crashes
        return TransientError, SERVER_DOWN
    if code == "PGRST301":  # a key that can't be decoded
        return Failure, f"{WRONG_KEY} {LOCAL_KEY}"
    if status < 400:
        return Failure, REDIRECTED
    if status in (401, 403):
        return Failure, WRONG_KEY
    if status == 402:
        return Failure, RESTRICTED
    if status == 407:
        return Failure, PROXY_LOGIN
    if status in (408, 429):
        return TransientError, TOO_MANY_REQUESTS
    if status >= 500:
        return TransientError, SERVER_DOWN
    return Failure, CHECK_TABLE  # 404, 406 and all others


def no_reply_error(error: Exception, host: str, key: str) -> Failure:
    """Return the error for a request without a usable reply."""
    # A timeout of httpx has no text, and none of its errors names the host.
    kind = f"{type(error).__name__}: {error}".rstrip(".").removesuffix(": ")
    problem = line_without_key(f"No usable reply from {host} ({kind})", key)
    if "CERTIFICATE_VERIFY_FAILED" in kind:
        return Failure(problem, UNTRUSTED_CERTIFICATE)
    if kind.startswith("ProxyError: 407"):
        return Failure(problem, PROXY_LOGIN)
    if isinstance(error, httpx.ReadTimeout):
        return TransientError(problem, SLOW_REPLY)
    return TransientError(problem, NO_REPLY)


# What a person can do now, in the order of the two functions above.
NO_GRANT = (
    "The role of this key has no grant on the table. If it is a publishable (anon) "
    "key, use a secret key instead. A secret key needs grants, too: since 2026, "
    "Supabase grants nothing on new tables. Run this in the project's SQL editor:\n"
    "    grant usage on schema public to service_role;\n"
    f"    grant select on public.{TABLE} to service_role;\n"
    f"If the message names another table ({TABLE} may be a view of it), grant select "
    "on that one, too."
)
MORE_TIME = (
    "Check that the column id has an index (a primary key has one), or give the key's "
    "role more time, in the project's SQL editor:\n"
    "    alter role service_role set statement_timeout = '25s';\n"
    "    notify pgrst, 'reload config';\n"
    "Keep the limit below 30 s, after which this script gives up."
)
SLOW_QUERY = f"The database needs longer for a page than its time limit. {MORE_TIME}"
SERVER_DOWN = (
    "Something answered, so the URL and the connection work. The project may be "
    "paused (restore it in the dashboard, https://supabase.com/dashboard), restarting "
    "or overloaded, or Supabase may have an outage (see https://status.supabase.com)."
)
WRONG_KEY = (
    "This key doesn't belong to the project at SUPABASE_URL, or it has expired or "
    "been revoked. (Legacy keys stop working at the end of 2026.) Copy a secret key "
    "from that project's dashboard: Project Settings > API Keys. A setting in the "
    "environment wins over .env.local and .env."
)
LOCAL_KEY = (
    "A local stack may want its legacy service_role key, as "
    "SUPABASE_SERVICE_ROLE_KEY, in place of SUPABASE_SECRET_KEY."
)
REDIRECTED = (
    "SUPABASE_URL is not the project's own address, which looks like "
    "https://abcdefgh.supabase.co. Copy it from the project's dashboard (Connect, at "
    "the top)."
)
RESTRICTED = (
    "Supabase restricts this organization's projects: a quota is exceeded, or a bill "
    "is due. See Usage and Billing of the organization in the dashboard "
    "(https://supabase.com/dashboard)."
)
PROXY_LOGIN = (
    "A proxy wants a login. Put it into HTTP_PROXY or HTTPS_PROXY in the environment "
    "(http://user:password@host:port), or name the host of SUPABASE_URL in NO_PROXY, "
    "to reach it without the proxy."
)
TOO_MANY_REQUESTS = (
    "The project gets too many requests at once. Run this script again in a few "
    "minutes."
)
CHECK_TABLE = (
    "Check that SUPABASE_URL is the URL of a Supabase project, that the table "
    f"{TABLE} is in its schema public, with the columns in README.md (the id is a uuid "
    "or text), and that the Data API exposes this schema (Project Settings > Data "
    "API). If you host Supabase yourself, a new table shows only after this, in SQL:\n"
    "    notify pgrst, 'reload schema';"
)
UNTRUSTED_CERTIFICATE = (
    "The server's certificate is not trusted. If a proxy or a self-hosted Supabase has "
    "one of its own, set SSL_CERT_FILE in the environment to a PEM file with the "
    "certificate of the authority that signed it. If that is set already, the "
    'certificate may lack what Python 3.13 and later ask for ("Missing Authority Key '
    'Identifier"): make a new one, or use Python 3.12. If the certificate is '
    '"expired" or "not yet valid", check the clock of this machine, too; if it is '
    "for another host, check SUPABASE_URL."
)
SLOW_REPLY = (
    "The connection works, but the database or the way to it is too slow; "
    f"https://status.supabase.com shows outages. {MORE_TIME}"
)
NO_REPLY = (
    "Is SUPABASE_URL right, and is this machine online? If it needs a proxy, check "
    "HTTPS_PROXY and the other *_PROXY variables in the environment. A paused project "
    "can be restored in the dashboard (https://supabase.com/dashboard)."
)
NOT_SUPABASE = (
    "What answers at SUPABASE_URL is not a Supabase project. Is it the login page of a "
    "network or a proxy? Check SUPABASE_URL and this machine's connection."
)


def no_array_error() -> TransientError:
    """Return the error for a reply that is not a JSON array."""
    return TransientError("The reply is not a JSON array", NOT_SUPABASE)


def line_without_key(text: str, key: str) -> str:
    """Return text as one line of at most 500 characters, in which the key is masked.

    Unprintable characters become blanks, so that no line break or escape sequence of
    a server reaches the terminal.
    """
    masked = text.replace(key, "[key]")
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
    yield f'  "featureNames": {json.dumps([feature.name for feature in FEATURES])},\n'
    yield '  "trainSet": '
    yield from set_json(train)
    yield ',\n  "testSet": '
    yield from set_json(test)
    yield ",\n"
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
    yield f'    "count": {len(samples)}\n  }}'


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


def row_lines(dataset: Dataset) -> list[str]:
    """Return lines on the rows that were read, and on what is unknown of the videos."""
    read, used = dataset.rows_read(), len(dataset.samples)
    counted = dataset.rows_counted
    samples = dataset.samples.values()
    days = [sample.uploaded_on for sample in samples if sample.uploaded_on]
    unknown = Counter(name for sample in samples for name in sample.unknown)
    shares = {name: n / used for name, n in ranked(unknown)}
    nearly_all = [name for name in shares if shares[name] > CHECK_UNKNOWN]
    in_wes = [
        name
        for name in shares
        if name in COUNTS_IN_WES and shares[name] > CHECK_UNKNOWN_IN_WES
    ]

    uploaded = f"{min(days)} to {max(days)}" if days else "unknown"
    listed = ", ".join(f"{name} {percent(share)}" for name, share in shares.items())
    dropped = listed_reasons(dataset.dropped) or "none"
    lines = [f"Read {read:,} rows, used {used:,}.", f"Dropped: {dropped}."]
    if counted is None:
        lines.append(
            "The server did not count the rows, so a missing one would not be noticed."
        )
    elif counted > read:
        lines.append(
            f"{counted - read:,} fewer than counted at the start: archived or deleted "
            "since, or rows that share an id, as in a view."
        )
    lines += [f"Uploaded: {uploaded}.", f"Unknown: {listed or 'nothing'}."]
    if nearly_all:
        lines.append(
            f"Check: more than {CHECK_UNKNOWN:.0%} of the videos lack "
            f"{', '.join(nearly_all)}. Has the scraper stopped filling them in?"
        )
    if in_wes:
        lines.append(
            f"Check: more than {CHECK_UNKNOWN_IN_WES:.0%} of the videos lack "
            f"{', '.join(in_wes)}. They count as 0 in the tier, too, which makes it "
            "too low."
        )
    return [wrapped(line) for line in lines]


def listed_reasons(dropped: Counter[str]) -> str:
    """Return how many rows were dropped for each reason, the most frequent first."""
    return ", ".join(f"{n:,} {reason}" for reason, n in ranked(dropped))


def ranked(counts: Counter[str]) -> list[tuple[str, int]]:
    """Return names and counts, the largest first, ties in the order of the names."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def percent(share: float) -> str:
    """Return a share as text; one that is not 0 never reads 0.0%.

    >>> percent(0), percent(0.00001), percent(0.25)
    ('0.0%', '<0.1%', '25.0%')
    """
    text = f"{share:.1%}"
    return "<0.1%" if share and text == "0.0%" else text


def tier_lines(
    train: list[Sample], test: list[Sample], baseline: dict[str, Any]
) -> list[str]:
    """Return a table of the tiers, and a sentence if some are far off the baseline."""
    entries = baseline["virality_tiers"]
    in_train = Counter(sample.tier for sample in train)
    in_test = Counter(sample.tier for sample in test)
    views: dict[int, list[float]] = {tier: [] for tier in TIERS}
    for sample in train + test:
        views[sample.tier].append(sample.views)
    used = len(train) + len(test)
    shares = [len(views[tier]) / used for tier in TIERS]
    usual_shares = [(number(entry.get("percentage")) or 0) / 100 for entry in entries]
    far_off = [
        f"tier {tier}"
        for tier, share, usual in zip(TIERS, shares, usual_shares)
        if not share or (usual and abs(share - usual) > CHECK_TIER_SHARE)
    ]

    scale = BAR_WIDTH / max(shares + usual_shares)
    header = f"{'train':>8}{'test':>8}{'share':>7}{'baseline':>9}{'median views':>13}"
    lines = [f"{'Tier':21}{header}  # | baseline"]
    for tier, entry, share, usual in zip(TIERS, entries, shares, usual_shares):
        name = f"{tier} {entry.get('label') or ''}"
        sets = f"{in_train[tier]:8,}{in_test[tier]:8,}"
        shown = percent(usual) if usual else ""
        middle = f"{median(views[tier]):,.0f}" if views[tier] else ""
        cells = f"{sets}{percent(share):>7}{shown:>9}{middle:>13}"
        drawn = bar(round(share * scale), round(usual * scale))
        lines.append(f"{name:21.21}{cells}  {drawn}".rstrip())
    if far_off:
        check = (
            f"Check: empty, or more than {CHECK_TIER_SHARE * 100:g} points off the "
            f"baseline: {', '.join(far_off)}. Either the table's columns are filled "
            "differently from before, or the baseline was made from other data. See "
            '"The label" in README.md.'
        )
        lines.append(wrapped(check))
    return lines


def bar(share: int, mark: int) -> str:
    """Return a bar of `#` as wide as the share, with `|` at the mark if it is not 0.

    >>> bar(4, 2), bar(2, 4), bar(3, 0)
    ('##|#', '##  |', '###')
    """
    drawn = "#" * share
    if not mark:
        return drawn
    return drawn[:mark].ljust(mark) + "|" + drawn[mark + 1 :]


def feature_lines(samples: Collection[Sample]) -> list[str]:
    """Return a table of the features, and what to know before training on them."""
    table = [figures_of(i, samples) for i in range(len(FEATURES))]
    same = [
        feature.name
        for feature, figures in zip(FEATURES, table)
        if figures.minimum == figures.maximum
    ]

    header = ("median", "in tier 1", "in tier 5", "maximum", "at 0", "at 1")
    lines = [f"{'Feature':20}" + "".join(f"{name:>10}" for name in header)]
    for feature, figures in zip(FEATURES, table):
        name = f"{feature.name} *" if feature.after_posting else feature.name
        cells = [
            f"{figures.median:.5f}",
            "" if figures.in_tier_1 is None else f"{figures.in_tier_1:.5f}",
            "" if figures.in_tier_5 is None else f"{figures.in_tier_5:.5f}",
            f"{figures.maximum:.5f}",
            percent(figures.at_0),
            percent(figures.at_1),
        ]
        lines.append(f"{name:20}" + "".join(f"{cell:>10}" for cell in cells))
    if same:
        check = (
            "Check: the same in every video, so a model can learn nothing from them: "
            f"{', '.join(same)}."
        )
        lines.append(wrapped(check))
    star = (
        "* counted after posting: leave these out to predict before posting. "
        "shareRate, commentRate and likeRate give the tier away: it is computed from "
        'the same counts. See "Before you train" in README.md.'
    )
    return [*lines, wrapped(star)]


class Figures(NamedTuple):
    """What the report tells of a feature."""

    median: float
    in_tier_1: float | None  # the median there; None without such a video
    in_tier_5: float | None
    minimum: float
    maximum: float
    at_0: float  # the share of the videos, 0 to 1
    at_1: float


def figures_of(i: int, samples: Collection[Sample]) -> Figures:
    """Return the figures of the feature at place i in the vectors."""
    values = sorted(sample.features[i] for sample in samples)
    in_tier_1 = [sample.features[i] for sample in samples if sample.tier == 1]
    in_tier_5 = [sample.features[i] for sample in samples if sample.tier == 5]
    return Figures(
        median=median(values),
        in_tier_1=median(in_tier_1) if in_tier_1 else None,
        in_tier_5=median(in_tier_5) if in_tier_5 else None,
        minimum=values[0],
        maximum=values[-1],
        at_0=values.count(0) / len(values),
        at_1=values.count(1) / len(values),
    )


def source_lines(
    url: str, arguments: argparse.Namespace, baseline: dict[str, Any]
) -> list[str]:
    """Return lines on what the training set was made from."""
    return [
        f"Project   {httpx.URL(url).host}",
        f"Baseline  {arguments.baseline} of {baseline.get('generated_at') or '?'}",
        f"Seed      {arguments.seed}",
    ]


def file_lines(
    train: list[Sample], test: list[Sample], file: Path, size: int, seconds: float
) -> list[str]:
    """Return lines on the training set and the file, whose size is in bytes."""
    return [
        f"Sets      {len(train):,} to train, {len(test):,} to test",
        f"File      {file}",
        f"          {size / 1e6:,.1f} MB, in {seconds:.1f} s",
    ]


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
        url = httpx.URL(text)
        return bool(url.host) and (url.port or 443) < 2**16
    except (httpx.InvalidURL, UnicodeError):  # 192.168.0.256, or xn--a
        return False


def setting_warnings(url: str, key: str) -> Iterator[str]:
    """Yield a warning for each setting that works, but with a risk."""
    address = httpx.URL(url)
    if address.scheme == "http" and address.host not in THIS_MACHINE:
        yield (
            "SUPABASE_URL is plain http: others can read the key on the way. Use https."
        )
    if key.startswith("sb_publishable_") or jwt_role(key) == "anon":
        yield (
            "The key is a publishable (anon) one. Row-level security may show it only "
            "a part of the table, and the training set would be made from that part. "
            "Use a secret key (sb_secret_... or service_role)."
        )


def jwt_role(key: str) -> Any:
    """Return the role in a key that is a JSON Web Token, or None for any other key."""
    try:
        _, payload, _ = key.split(".")
        return json.loads(urlsafe_b64decode(payload + "=="))["role"]
    except (ValueError, TypeError, KeyError):
        return None


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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    if sys.stderr is None:  # closed, as by `2>&-`
        sys.stderr = open(os.devnull, "w", errors="replace")  # noqa: SIM115
    # Escape what the output's encoding lacks, rather than fail after all is written.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    arguments = parse_arguments(argv)
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
            f"Too few rows in {TABLE} can be used: {used} of {read:,} "
            f"({listed_reasons(dataset.dropped)})",
            "At least two are needed, one for each set. Check that the columns views "
            "and duration_seconds are filled, and with numbers (not money, an interval "
            'or "541.2K").',
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
        *source_lines(url, arguments, baseline),
        *file_lines(train, test, target, size, monotonic() - started),
    ]
    print_report(report)


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


def print_report(lines: list[str]) -> None:
    """Print the report to standard output. The file is written even if that fails."""
    erase_progress()
    try:
        print("\n".join(lines), flush=True)
    except OSError as error:
        discard(sys.stdout)
        # A reader that has left, as `head` does, has read what it wanted.
        if not isinstance(error, BrokenPipeError):
            say(f"Warning: The report can't be printed: {error.strerror}.")


def say(message: str) -> None:
    """Print a message to standard error, in place of the line of progress.

    A message that can't be printed, as when its reader has left, ends no run.
    """
    erase_progress()
    try:
        print(message, file=sys.stderr)
    except OSError:
        discard(sys.stderr)


def discard(stream: TextIO) -> None:
    """Point a stream that can't be written to at the null device.

    Otherwise Python writes to it again when it ends, and fails.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


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


if __name__ == "__main__":
    sys.exit(main())
