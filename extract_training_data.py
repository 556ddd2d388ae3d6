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
training-data.json. The real table has 7,389 rows; 7,358 are usable: 5,886 are the
train set and 1,472 the test set.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - say so before an import fails
    sys.exit("extract_training_data.py needs Python 3.11 or newer.")

import argparse
import asyncio
import io
import json
import os
import re
import ssl
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
from itertools import pairwise
from math import inf
from pathlib import Path
from statistics import fmean, median
from time import monotonic
from typing import Any, NamedTuple

try:
    # supabase sends its requests with httpx. A later one may use another HTTP client
    # (supabase-py #1615): hence <2.35.
    import httpx
    import postgrest
    from dotenv import dotenv_values
    from supabase import AsyncClientOptions, acreate_client
except Exception as error:  # noqa: BLE001 - a broken package may raise any
    sys.exit(f"""Error: A package is missing or broken: {error}
In the script's folder, install the packages, and run the script with them:
    python3 -m venv .venv && .venv/bin/pip install -r requirements.txt
    .venv/bin/python extract_training_data.py""")

Row = dict[str, Any]  # as the server sends it
Video = dict[str, Any]  # the values of a row, checked; None is unknown
Query = postgrest.AsyncSelectRequestBuilder

HERE = Path(__file__).resolve().parent
BASELINE = HERE / "calibration-baseline.json"
ENV_FILES = (HERE / ".env.local", HERE / ".env")  # a setting in the first one wins
TABLE = "scraped_videos"
PAGE_SIZE = 1000  # rows; Supabase sends no more in one reply by default
ID_BORDERS = (  # a quarter, a half and three quarters of all uuids
    "40000000-0000-0000-0000-000000000000",
    "80000000-0000-0000-0000-000000000000",
    "c0000000-0000-0000-0000-000000000000",
)
TIMEOUT = httpx.Timeout(30, connect=10)  # seconds; Supabase cancels a query after 8
COUNT_TIMEOUT = 10  # seconds
RETRY_WAITS = (1, 2, 4, 8)  # seconds before the second to the fifth attempt
TIERS = [1, 2, 3, 4, 5]
COUNTS_IN_WES = ("likes", "comments", "shares")


class Failure(Exception):
    """The run can't go on.

    problem: what happened, in one line; a full stop at its end is dropped.
    advice: what the person can do now, in lines as they are shown.
    retry_after: the seconds that the server asks to wait, 0 to 60.
    """

    exit_code = 1

    def __init__(self, problem: str, advice: str, retry_after: float = 0) -> None:
        super().__init__(problem, advice)
        self.problem = problem.rstrip(".")
        self.advice = advice
        self.retry_after = retry_after


class UsageError(Failure):
    """The options or the settings are wrong. No request has been sent yet."""

    exit_code = 2


class TransientError(Failure):
    """A request failed, but the next attempt may succeed."""


# --- Rows in, samples out


class Sample(NamedTuple):
    """A usable video. Two of the same one compare by views, then by other values."""

    digest: bytes  # decides its place in the order and the split
    views: float
    features: "array[float]"  # a list takes three times the memory
    tier: int  # 1 to 5
    unknown: tuple[str, ...]  # the names of its values that are unknown


@dataclass
class Dataset:
    """Takes rows, keeps the samples of the usable videos, and counts the others."""

    thresholds: Sequence[float]  # the lowest WES of the tiers 2 to 5
    seed: int
    samples: dict[bytes, Sample] = field(default_factory=dict)  # keyed by digest
    days: set[date] = field(default_factory=set)  # on which they were uploaded, in UTC
    dropped: Counter[str] = field(default_factory=Counter)  # rows, by reason
    rows_counted: int | None = None  # by the server at the start; None if it didn't

    def add(self, row: Row) -> None:
        """Turn a row into a sample, or drop it.

        A video may come in several rows: where the table allows it, or when its row is
        deleted and inserted again during the run. The row with the most views, most
        likely the latest, is kept. Among equals, their other values decide.
        """
        video = {name: reader(row.get(name)) for name, reader in READERS.items()}
        if not row.get("platform_video_id"):  # they must not count as one video
            self.dropped["without video ID"] += 1
        elif not video["views"]:
            self.dropped["without views"] += 1
        elif not video["duration_seconds"]:
            self.dropped["without duration"] += 1
        else:
            sample = Sample(
                digest_of(row, self.seed),
                video["views"],
                array("d", features_of(video)),
                virality_tier(weighted_engagement_score(video), self.thresholds),
                tuple([name for name, value in video.items() if value is None]),
            )
            if sample.digest in self.samples:
                self.dropped["duplicated"] += 1
                sample = max(sample, self.samples[sample.digest])
            self.samples[sample.digest] = sample
            if video["uploaded_at"]:
                self.days.add(video["uploaded_at"].date())

    def rows_read(self) -> int:
        """Return how many rows were added, the dropped ones included."""
        return len(self.samples) + self.dropped.total()


def number(value: Any) -> float | None:
    """Return a number from 0 to below 2**63, as in a bigint, or None for anything else.

    Text of up to 19 ASCII digits counts as the number that it spells.

    >>> number(12), number("12"), number(-1), number(True), number("1e3")
    (12, 12, None, None, None)
    """
    if isinstance(value, str) and re.fullmatch("[0-9]{1,19}", value):
        value = int(value)
    # Not isinstance(): for it, True is an int.
    is_number = type(value) is int or type(value) is float
    return value if is_number and 0 <= value < 2**63 else None


def upload_time(value: Any) -> datetime | None:
    """Return a time in ISO 8601 as a datetime in UTC, or None for anything else.

    A time without an offset is taken as UTC. One before 2014, when there was no TikTok,
    is a default such as 1970-01-01, or no time at all: "1705012312345", milliseconds,
    reads as a day in the year 1705.

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
    return time if time.year >= 2014 else None


# The values of a video, each the column of its name or a key of `metadata`, and what
# reads it. A new one also goes into README.md.
READERS: dict[str, Callable[[Any], Any]] = {
    "views": number,
    "likes": number,
    "shares": number,
    "comments": number,
    "duration_seconds": number,
    "hashtags": lambda v: v if isinstance(v, list) else None,
    "sound_name": lambda v: v if isinstance(v, str) and v.strip() else None,
    "description": lambda v: v if isinstance(v, str) else None,  # the caption
    "bookmarks": number,
    "followers": number,
    "uploaded_at": upload_time,
}
IN_METADATA = ("bookmarks", "followers", "uploaded_at")  # the others are columns
COLUMNS = ",".join(
    # "->" keeps the JSON type, "->>" would turn a number into text.
    f"{name}:metadata->{name}" if name in IN_METADATA else name
    for name in ("id", "platform", "platform_video_id", *READERS)
)


class Feature(NamedTuple):
    """A feature: its name, whether it is known before posting, and its formula."""

    name: str
    star: str  # "*" if it is counted after posting, as the tier is
    formula: Callable[[Video], float]  # gives 0 or more; more than 1 counts as 1


# A number that divides is the cap: that much, or more, counts as 1. A new feature also
# goes into README.md and the plain row of test_samples.py.
# fmt: off
FEATURES = [
    Feature("shareRate",          "*", lambda v: ratio(v["shares"], v["views"])),
    Feature("commentRate",        "*", lambda v: ratio(v["comments"], v["views"])),
    Feature("likeRate",           "*", lambda v: ratio(v["likes"], v["views"])),
    Feature("saveRate",           "*", lambda v: ratio(v["bookmarks"], v["views"])),
    Feature("shareToLikeRatio",   "*", lambda v: ratio(v["shares"], v["likes"])),
    Feature("commentToLikeRatio", "*", lambda v: ratio(v["comments"], v["likes"])),
    Feature("durationSeconds",    "",  lambda v: v["duration_seconds"] / 180),
    Feature("hashtagCount",       "",  lambda v: len(v["hashtags"] or []) / 30),
    Feature("hasTrendingSound",   "",  lambda v: 1 if v["sound_name"] else 0),
    Feature("captionLength",      "",  lambda v: utf16_length(v["description"]) / 2000),
    Feature("hasFollowerData",    "",  lambda v: 0 if v["followers"] is None else 1),
    Feature("followerTier",       "",  lambda v: creator_size(v["followers"])),
    Feature("viewsPerFollower",   "*", lambda v: ratio(v["views"], v["followers"]) / 50),
    Feature("weekdayPosted",      "",  lambda v: weekday_posted(v["uploaded_at"])),
    Feature("hourPosted",         "",  lambda v: hour_posted(v["uploaded_at"])),
]
# fmt: on


def features_of(video: Video) -> list[float]:
    """Return the features of a usable video, as in FEATURES, each in [0, 1]."""
    values = [feature.formula(video) for feature in FEATURES]
    return [value if value < 1 else 1.0 for value in values]


def ratio(numerator: float | None, denominator: float | None) -> float:
    """Return the quotient, or 0 if one of them is unknown or the denominator is 0."""
    return numerator / denominator if numerator and denominator else 0.0


def utf16_length(text: str | None) -> int:
    """Return the length in UTF-16 code units, as TikTok and JavaScript count it."""
    return len((text or "").encode("utf-16-le")) // 2


def creator_size(followers: float | None) -> float:
    """Return the size of a creator's following: nano, micro, mid, macro or mega."""
    if followers is None:
        return 0.5
    limits = (10_000, 100_000, 500_000, 1_000_000)  # the lowest of micro to mega
    return (0.1, 0.3, 0.5, 0.7, 0.9)[bisect_right(limits, followers)]


def weekday_posted(time: datetime | None) -> float:
    """Return the day of the week, from 0 (Sunday) to 1 (Saturday), 0.5 if unknown."""
    return time.isoweekday() % 7 / 6 if time else 0.5


def hour_posted(time: datetime | None) -> float:
    """Return the hour of the day, from 0 (midnight) to 1 (23:00), 0.5 if unknown."""
    return time.hour / 23 if time else 0.5


def weighted_engagement_score(video: Video) -> float:
    """Return (likes + 2 comments + 3 shares) / views, where what is unknown is 0."""
    likes, comments, shares = video["likes"], video["comments"], video["shares"]
    score = (likes or 0) + 2 * (comments or 0) + 3 * (shares or 0)
    return ratio(score, video["views"])


def virality_tier(wes: float, thresholds: Sequence[float]) -> int:
    """Return the highest tier, 2 to 5, whose threshold is at most `wes`, or else 1.

    >>> [virality_tier(wes, [1, 2, 3, 4]) for wes in (0.5, 2, 99)]
    [1, 3, 5]
    """
    return 1 + bisect_right(thresholds, wes)


def digest_of(row: Row, seed: int) -> bytes:
    """Return the SHA-256 of seed, platform and video ID. (hash() differs by run.)"""
    text = f"{seed}/{row.get('platform')}/{row['platform_video_id']}"
    return sha256(text.encode()).digest()


def split(samples: Iterable[Sample]) -> tuple[list[Sample], list[Sample]]:
    """Return the train set and the test set, both shuffled.

    The canonical order is that of the digests: it depends on the videos and the seed
    alone. Its first 80 % are the train set, so few change sides when others come or go.
    """
    ordered = sorted(samples, key=lambda sample: sample.digest)
    cut = len(ordered) * 4 // 5
    return shuffle(ordered[:cut]), shuffle(ordered[cut:])


def shuffle(samples: list[Sample]) -> list[Sample]:
    """Return samples in canonical order shuffled by Fisher-Yates.

    Each position i is swapped with one from 0 to i, drawn by the digest of the sample
    that was at i in the canonical order. (That order is random already; the shuffle on
    top is the recipe of the project's owner.)
    """
    shuffled = samples.copy()
    for i, sample in enumerate(samples):
        j = int.from_bytes(sample.digest, "big") % (i + 1)
        shuffled[i], shuffled[j] = shuffled[j], shuffled[i]
    return shuffled


# --- Reading


async def read_table(url: httpx.URL, key: str, dataset: Dataset) -> None:
    """Read the project's table into the dataset. Raises Failure.

    Every row that is there during the whole run, with an id of its own, is read once,
    whatever changes meanwhile. The ranges are read side by side, but the same rows give
    the same dataset, whichever range is quicker.
    """
    reader = TableReader(await new_client(url, key), url.host, key, dataset)
    async with reader.client:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(reader.count_rows())
                # The ends have no bounds, so that no row lies outside. Random uuids
                # are spread evenly; other ids only slow the run.
                for low, high in pairwise([None, *ID_BORDERS, None]):
                    group.create_task(reader.read_range(low, high))
        except ExceptionGroup as group_error:
            raise group_error.exceptions[0] from None  # the first ended the others


@dataclass
class TableReader:
    """What the ranges share while they are read."""

    client: postgrest.AsyncPostgrestClient
    host: str
    key: str
    dataset: Dataset
    said: set[str] = field(default_factory=set)  # what failed, by any of the ranges

    async def read_range(self, low: str | None, high: str | None) -> None:
        """Read the rows with ids above `low`, up to `high`, into the dataset.

        This is keyset pagination: each page starts after the last id of the one before.
        An offset would skip or repeat rows when an earlier row is inserted or removed.
        Only an empty page is the end: a server may send fewer rows than asked for.
        """
        cursor = low
        while page := await self.fetch_page(cursor, high):
            for row in page:
                self.dataset.add(row)
            counted = self.dataset.rows_counted
            of_counted = f" of {counted:,}" if counted else ""
            show_progress(f"{self.dataset.rows_read():,}{of_counted} rows")
            cursor = page[-1]["id"]

    async def fetch_page(self, cursor: str | None, high: str | None) -> list[Any]:
        """Return up to 1,000 rows with ids above `cursor`, up to `high`, in order.

        Tries five times, with exponential backoff. Raises Failure.
        """
        query = self.client.table(TABLE).select(COLUMNS).is_("archived_at", None)
        if cursor is not None:
            query = query.gt("id", cursor)
        if high is not None:
            query = query.lte("id", high)
        query = query.order("id").limit(PAGE_SIZE)
        for seconds in RETRY_WAITS:
            try:
                return (await self.send(query)).data
            except TransientError as error:
                wait = max(seconds, error.retry_after)
                message = f"{error.problem}. Trying again in {wait:g} s."
                if message not in self.said:
                    say(message)
                self.said.add(message)
                await asyncio.sleep(wait)
        return (await self.send(query)).data  # the last attempt: a failure ends the run

    async def count_rows(self) -> None:
        """Let the server count the rows, for the progress and the report.

        It is asked for once, and a failure is ignored: on a large table, a count may
        take longer than the server allows, and the pages show whatever else is wrong.
        """
        query = self.client.table(TABLE).select("id", count=postgrest.CountMethod.exact)
        with suppress(Failure, TimeoutError):
            async with asyncio.timeout(COUNT_TIMEOUT):
                reply = await self.send(query.is_("archived_at", None).limit(1))
                self.dataset.rows_counted = reply.count

    async def send(self, query: Query) -> postgrest.APIResponse:
        """Send a request once and return the client's reply, whose `data` is an array.

        Raises Failure, a TransientError if the next attempt may succeed.
        """
        try:
            reply = await query.execute()
            if not isinstance(reply.data, list):  # the client hands on text, too
                raise ValueError("not an array")  # noqa: TRY004
        # TLS that breaks after the handshake is no error of httpx. An APIError comes
        # from a client before 2.25, for what is no array.
        except (httpx.HTTPError, ssl.SSLError, ValueError, postgrest.APIError) as error:
            raise request_failure(error, self.host, self.key) from None
        return reply


async def new_client(url: httpx.URL, key: str) -> postgrest.AsyncPostgrestClient:
    """Return a client for the tables. Raises UsageError if none can be set up."""
    try:
        # Left to itself, supabase would use HTTP/2 (users report dropped connections,
        # supabase-py #1064), follow redirects (which could take the key elsewhere), and
        # wait for up to 120 s.
        hooks = {"response": [check_reply]}
        http = httpx.AsyncClient(timeout=TIMEOUT, event_hooks=hooks)
        options = AsyncClientOptions(httpx_client=http)
        client = (await acreate_client(str(url), key, options)).postgrest
    except (ValueError, ImportError, OSError, httpx.InvalidURL) as error:
        raise UsageError(f"No connection can be set up: {error}", CHECK_PROXY) from None
    client.retry_enabled = False  # the client's own retries would multiply ours
    return client


CHECK_PROXY = """\
Correct or unset a variable in the environment: HTTPS_PROXY or another *_PROXY
(a proxy's URL), or SSL_CERT_FILE (a file). Or correct the port in SUPABASE_URL."""


# --- Requests that fail


async def check_reply(response: httpx.Response) -> None:
    """Raise httpx.HTTPError or, for an empty body, ValueError. A hook of httpx.

    The client's own APIError has neither the status nor the headers, and the client
    takes a reply without a body for an empty page, which would end a range.
    """
    await response.aread()
    response.encoding = "utf-8"  # another may decode the body to nothing
    response.raise_for_status()  # for a redirect, too
    if not response.content:
        raise ValueError("no body")


def request_failure(error: Exception, host: str, key: str) -> Failure:
    """Return the failure of a request that ended in this error, by FAULTS."""
    retry_after: float = 0
    if isinstance(error, httpx.HTTPStatusError):
        names, problem = http_fault(error.response)
        retry_after = number(error.response.headers.get("retry-after")) or 0
    elif isinstance(error, httpx.HTTPError | ssl.SSLError):
        name, text = type(error).__name__, str(error)
        kind = f"{name}: {text}" if text else name  # a timeout of httpx has no text
        problem = f"No usable reply from {host} ({kind})"
        names = [name, *re.findall("^407|CERTIFICATE_VERIFY_FAILED", text), "no reply"]
    else:
        names, problem = ["no array"], "The reply is not a JSON array"
    problem = line_without_key(problem, key)
    for known, failure_type, advice in FAULTS:
        if known.intersection(names):
            return failure_type(problem, advice, min(retry_after, 60))
    return Failure(problem, CHECK_TABLE)  # 404, 406 and all others


def http_fault(response: httpx.Response) -> tuple[list[str], str]:
    """Return the names of an HTTP error or a redirect, and what happened."""
    try:
        fields = dict(response.json())
    except (ValueError, TypeError):  # a gateway's HTML or plain text
        fields = {}
    http, code = f"HTTP {response.status_code}", fields.get("code")
    status_line = f"{http} {response.reason_phrase}".strip()
    message = fields.get("message") or fields.get("error") or fields.get("msg")
    texts = [message, fields.get("details"), fields.get("hint")]
    if response.has_redirect_location:
        texts.append(f"not followed, a redirect to {response.headers['location']}")
    parts = [f"{status_line} ({code})" if code else status_line]
    parts += [str(text).strip(". \n") for text in texts if text]
    return [str(code), http, f"{http} {code}", f"{http[:-2]}xx"], ": ".join(parts)


def line_without_key(text: str, key: str) -> str:
    """Return text as one line of at most 500 characters, in which the key is masked.

    Unprintable characters become blanks, so that no line break or escape sequence of
    a server reaches the terminal.
    """
    masked = text.replace(key, "[key]")
    printable = "".join(char if char.isprintable() else " " for char in masked)
    line = " ".join(printable.split())
    return line if len(line) <= 500 else f"{line[:494]} [...]"


RESTRICTED = """\
Supabase restricts this organization's projects: a quota is exceeded, or a bill
is due. See Usage and Billing in the dashboard (https://supabase.com/dashboard)."""
NO_GRANT = f"""\
The role of this key has no grant on the table. A publishable (anon) key is the
wrong one here. A secret key needs grants, too: since 2026, Supabase grants
nothing on new tables. Run this in the project's SQL editor:
    grant usage on schema public to service_role;
    grant select on public.{TABLE} to service_role;
If the message names another table, as under a view, grant select on it, too."""
WRONG_KEY = """\
This key doesn't belong to the project at SUPABASE_URL, or it has expired or
been revoked. (Legacy keys stop working at the end of 2026.) Copy a secret key
from that project's dashboard: Project Settings > API Keys. A setting in the
environment wins over .env.local and .env."""
LOCAL_KEY = "A local stack may want its legacy key, as SUPABASE_SERVICE_ROLE_KEY."
CHECK_TABLE = f"""\
Check that SUPABASE_URL is the URL of a Supabase project, that the table
{TABLE} is in its schema public, with the columns in README.md (the id
is a uuid or text), and that the Data API exposes this schema (Project Settings
> Data API). On a stack of your own, a new table shows only after this SQL:
    notify pgrst, 'reload schema';"""
UNTRUSTED_CERTIFICATE = """\
The server's certificate is not trusted. If a proxy or a self-hosted Supabase
has one of its own, set SSL_CERT_FILE in the environment to a PEM file with the
certificate of the authority that signed it. If the certificate is "expired" or
"not yet valid", check the clock of this machine, too."""
NOT_SUPABASE = """\
What answers at SUPABASE_URL is not a Supabase project. Is it the login page of
a network or a proxy? The project's own address looks like
https://abcdefgh.supabase.co; copy it from its dashboard (Connect, at the top)."""
NO_REPLY = """\
Is SUPABASE_URL right, and is this machine online? If it needs a proxy, check
HTTPS_PROXY and the other *_PROXY variables in the environment. A paused project
can be restored in the dashboard (https://supabase.com/dashboard)."""
SERVER_DOWN = """\
Something answered, so the URL and the connection work. The project may be
paused (restore it in the dashboard, https://supabase.com/dashboard), restarting
or overloaded, or Supabase may have an outage (see https://status.supabase.com).
Run this script again in a few minutes."""
TOO_SLOW = f"""\
The database, or the way to it, is too slow for a page. What may help:
- an index on the column id (a primary key has one);
- to end what holds a lock on {TABLE};
- fewer rows a page: Max rows, in Project Settings > Data API;
- a longer time limit, if it is below 25 s (the script waits for 30 s). In SQL:
    alter role service_role set statement_timeout = '25s';
    notify pgrst, 'reload config';"""
# The names of a fault (a code, a status or its class, the kind of an error), whether it
# is final, and what to do. The first that shares a name decides, so codes come first.
FAULTS: list[tuple[set[str], type[Failure], str]] = [
    ({"42501"}, Failure, NO_GRANT),
    ({"PGRST301"}, Failure, f"{WRONG_KEY}\n{LOCAL_KEY}"),
    ({"57014", "55P03", "HTTP 544", "ReadTimeout"}, TransientError, TOO_SLOW),
    ({"HTTP 401", "HTTP 403"}, Failure, WRONG_KEY),
    ({"HTTP 402"}, Failure, RESTRICTED),
    ({"HTTP 3xx"}, Failure, NOT_SUPABASE),
    ({"no array"}, TransientError, NOT_SUPABASE),
    ({"CERTIFICATE_VERIFY_FAILED"}, Failure, UNTRUSTED_CERTIFICATE),
    ({"407", "HTTP 407"}, Failure, NO_REPLY),  # a proxy wants a login
    ({"no reply"}, TransientError, NO_REPLY),
    # PostgREST sends status 400 with an empty code when PostgreSQL crashes.
    ({"HTTP 408", "HTTP 429", "HTTP 5xx", "HTTP 400 "}, TransientError, SERVER_DOWN),
]


# --- Writing


def training_json(
    train: list[Sample],
    test: list[Sample],
    generated_at: datetime,
    seed: int,
    thresholds: Sequence[float],
) -> Iterator[str]:
    """Yield the text of training-data.json in pieces, numbers with all their digits."""
    time = generated_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    names = [feature.name for feature in FEATURES]
    labels = json.dumps(tier_counts(train + test))
    yield f'{{\n  "generatedAt": "{time}",\n  "featureNames": {json.dumps(names)},\n'
    yield from set_json("trainSet", train)
    yield from set_json("testSet", test)
    yield f'  "labelDistribution": {labels},\n  "seed": {seed},\n'
    yield f'  "tierThresholds": {json.dumps(thresholds)}\n}}\n'


def set_json(name: str, samples: list[Sample]) -> Iterator[str]:
    """Yield the text of one set, a feature vector to a line."""
    yield f'  "{name}": {{\n    "features": ['
    separator = "\n"
    for sample in samples:
        yield f"{separator}[{','.join(map(repr, sample.features))}]"
        separator = ",\n"
    yield f'\n    ],\n    "labels": {[sample.tier for sample in samples]},\n'
    yield f'    "count": {len(samples)}\n  }},\n'


def tier_counts(samples: list[Sample]) -> dict[int, int]:
    """Return how many samples each tier has, the empty ones included."""
    counts = Counter(sample.tier for sample in samples)
    return {tier: counts[tier] for tier in TIERS}


def write_whole(target: Path, text: Iterable[str]) -> int:
    """Write a file that appears whole or not at all, and return its size in bytes.

    Raises Failure if it can't be written, or if another run is writing it (hence "x").
    Then an earlier file is unchanged.
    """
    part = part_of(target)
    try:
        with part.open("x", encoding="utf-8", newline="\n") as file:
            file.writelines(text)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)  # an atomic replace
    except OSError as error:
        raise Failure(f"Can't write {target}: {error.strerror}", ELSEWHERE) from None
    finally:
        with suppress(OSError):
            part.unlink()
    return target.stat().st_size


def part_of(target: Path) -> Path:
    """Return where a file is while unfinished: fixed, so the next run replaces it."""
    return target.with_name(f".{target.name}.part")


ELSEWHERE = "Name another file with --output, make its folder, or free disk space."


# --- Report


def row_lines(dataset: Dataset) -> list[str]:
    """Return lines on the rows that were read, and on what is unknown of the videos."""
    read, used, days = dataset.rows_read(), len(dataset.samples), dataset.days
    not_counted = dataset.rows_counted is None
    counted = dataset.rows_counted or 0
    missing = max(0, counted - read)
    prefix = "Check: " if missing > counted / 100 else ""
    dropped = ", ".join(dropped_rows(dataset)) or "none"
    duplicated = dataset.dropped["duplicated"]
    uploaded = f"{min(days)} to {max(days)}" if days else "unknown"
    samples = dataset.samples.values()
    unknown = Counter(name for sample in samples for name in sample.unknown)
    shares = {name: n / used for name, n in ranked(unknown)}
    shown = ", ".join(f"{name} {percent(share)}" for name, share in shares.items())
    nearly_all = ", ".join(name for name in shares if shares[name] > 0.9)
    in_wes = ", ".join(n for n in COUNTS_IN_WES if shares.get(n, 0) > 0.1)
    reasons = {
        f"Read {read:,} rows, used {used:,}.": True,
        f"Dropped: {dropped}.": True,
        "The rows were not counted, so a missing one would go unnoticed.": not_counted,
        f"{prefix}{missing:,} fewer than counted at the start: archived or deleted "
        "since, no longer shown to this key, or rows that share an id, as in a "
        "view.": missing,
        f"Check: {duplicated:,} duplicated. If the table holds each video once, rows "
        "were replaced under new ids while it was read, and others may be missing: run "
        "this again. If a video may have several rows, nothing is lost.": duplicated,
        f"Uploaded: {uploaded}.": True,
        f"Unknown: {shown or 'nothing'}.": True,
        f"Check: more than 90% of the videos lack {nearly_all}. Has the scraper "
        "stopped filling them in?": nearly_all,
        f"Check: more than 10% of the videos lack {in_wes}. They count as 0 in the "
        "tier, too, which makes it too low.": in_wes,
    }
    return sentences(reasons)


def dropped_rows(dataset: Dataset) -> list[str]:
    """Return how many rows were dropped for each reason, the most frequent first."""
    return [f"{n:,} {reason}" for reason, n in ranked(dataset.dropped)]


def ranked(counts: Counter[str]) -> list[tuple[str, int]]:
    """Return names and counts, the largest first, ties in the order of the names."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def sentences(reasons: Mapping[str, object]) -> list[str]:
    """Return the lines of each text that there is a reason for, wrapped.

    >>> sentences({"Dropped: none.": True, "Check: 0 duplicated.": False})
    ['Dropped: none.']
    """
    texts = [text for text, reason in reasons.items() if reason]
    return [line for text in texts for line in textwrap.wrap(text, 80)]


def percent(share: float) -> str:
    """Return a share as text; one that is not 0 never reads 0.0%.

    >>> percent(0), percent(0.00001), percent(0.25)
    ('0.0%', '<0.1%', '25.0%')
    """
    return "<0.1%" if 0 < share < 0.0005 else f"{share:.1%}"


def table(columns: Mapping[str, Sequence[str]]) -> list[str]:
    """Lay out cells under their headers, the first column flush left, others right."""
    laid_out: list[list[str]] = []
    for header, cells in columns.items():
        width = max(map(len, [header, *cells]))
        flush = str.rjust if laid_out else str.ljust
        laid_out.append([flush(cell, width) for cell in (header, *cells)])
    return [" ".join(line).rstrip() for line in zip(*laid_out)]


def tier_lines(
    train: list[Sample], test: list[Sample], baseline: dict[str, Any]
) -> list[str]:
    """Return a table of the tiers, and a sentence if some are far off the baseline."""
    entries = baseline["virality_tiers"]
    samples = train + test
    views = [[s.views for s in samples if s.tier == tier] for tier in TIERS]
    shares = [len(in_tier) / len(samples) for in_tier in views]
    usual = [(number(entry.get("percentage")) or 0) / 100 for entry in entries]
    columns = {
        "Tier": [f"{e['tier']} {e.get('label') or ''}"[:21] for e in entries],
        "train": [f"{n:,}" for n in tier_counts(train).values()],
        "test": [f"{n:,}" for n in tier_counts(test).values()],
        "share": [percent(s) for s in shares],
        "baseline": [percent(u) if u else "" for u in usual],
        "median views": [f"{median(v):,.0f}" if v else "" for v in views],
        "# | baseline": bars(shares, usual),
    }
    # Rounded, for 0.2 - 0.15 is a little more than 0.05.
    off = [round(abs(s - u), 9) if u else 0 for s, u in zip(shares, usual)]
    far = ", ".join(
        f"tier {tier}"
        for tier, share, points in zip(TIERS, shares, off)
        if share == 0 or points > 0.05
    )
    check = (
        f"Check: empty, or more than 5 points off the baseline: {far}. Either the "
        "table's columns are filled differently from before, or the baseline was made "
        'from other data. See "The label" in README.md.'
    )
    return table(columns) + sentences({check: far})


def bars(shares: list[float], marks: list[float]) -> list[str]:
    """Return bars of `#` as wide as the shares, with `|` at each mark that is not 0.

    >>> bars([0.5, 0.1, 0.4], [0.4, 0.5, 0])
    ['#########|# ', '##         |', '#########   ']
    """
    scale = 11 / max(shares + marks)  # columns
    drawn = []
    for share, mark in zip(shares, marks):
        cells = list(("#" * round(share * scale)).ljust(12))
        if mark:
            cells[round(mark * scale)] = "|"
        drawn.append("".join(cells))
    return drawn


def feature_lines(samples: Collection[Sample]) -> list[str]:
    """Return a table of the features, and what to know before training on them."""
    vectors = [sample.features for sample in samples]
    in_tier_1 = [sample.features for sample in samples if sample.tier == 1]
    in_tier_5 = [sample.features for sample in samples if sample.tier == 5]

    def cells(i: int) -> dict[str, str]:
        values = [vector[i] for vector in vectors]
        return {
            "Feature": f"{FEATURES[i].name} {FEATURES[i].star}",
            "mean": mean(values),
            "in tier 1": mean([vector[i] for vector in in_tier_1]),
            "in tier 5": mean([vector[i] for vector in in_tier_5]),
            "at 0": percent(values.count(0.0) / len(values)),
            "at 1": percent(values.count(1.0) / len(values)),
        }

    rows = [cells(i) for i in range(len(FEATURES))]
    columns = {header: [row[header] for row in rows] for header in rows[0]}
    same = ", ".join(
        feature.name
        for i, feature in enumerate(FEATURES)
        if all(vector[i] == vectors[0][i] for vector in vectors)
    )
    reasons = {
        "Check: the same in every video, so a model can learn nothing from it: "
        f"{same}.": same,
        "* counted after posting: leave these out to predict before posting. "
        "shareRate, commentRate and likeRate give the tier away: it is computed from "
        'the same counts. See "Before you train" in README.md.': True,
    }
    return table(columns) + sentences(reasons)


def mean(values: list[float]) -> str:
    """Return the mean as text, blank of no values."""
    return f"{fmean(values):.5f}" if values else ""


# --- Settings, baseline, output


def read_settings(environ: Mapping[str, str]) -> tuple[httpx.URL, str]:
    """Return the project's URL and key: from `environ`, else .env.local, else .env.

    Raises UsageError for a setting that is missing or malformed. No message shows a
    value, which may be the key in the wrong place.
    """
    sources: list[Mapping[str, str | None]] = [environ]
    for path in ENV_FILES:
        try:
            sources.append(dotenv_values(path, encoding="utf-8-sig"))
        except (OSError, UnicodeError) as error:
            raise UsageError(f"{path} can't be read: {error}", SAVE_AS_UTF_8) from None

    def find(*names: str) -> str:
        values = ((source.get(n) or "").strip() for source in sources for n in names)
        return next((value for value in values if value), "")

    text = find("SUPABASE_URL", "NEXT_PUBLIC_SUPABASE_URL")
    key = find("SUPABASE_SECRET_KEY", "SUPABASE_SERVICE_ROLE_KEY")
    wrong = []
    # The dashboard also shows the URL with /rest/v1, which the client adds itself.
    url = project_url(text.rstrip("/").removesuffix("/rest/v1"))
    if not url:
        wrong.append(f"SUPABASE_URL is {'malformed' if text else 'not set'}")
    if not re.fullmatch(r"[\w.-]+", key, re.ASCII):  # sb_secret_..., or a JWT
        wrong.append(f"SUPABASE_SECRET_KEY is {'malformed' if key else 'not set'}")
    if url and not wrong:
        return url, key
    raise UsageError(", and ".join(wrong), SETTINGS)


def project_url(text: str) -> httpx.URL | None:
    """Return text as the URL of a project, or None if it is no http or https URL."""
    try:
        url = httpx.URL(text)
        return url if url.scheme in ("http", "https") and url.host else None
    except (httpx.InvalidURL, UnicodeError):  # the host may be no IDNA
        return None


SETTINGS = f"""\
Two settings are needed, which look like
    SUPABASE_URL=https://abcdefgh.supabase.co
    SUPABASE_SECRET_KEY=sb_secret_...
Copy .env.example to .env and fill it in, or set them in the environment.
.env.local and .env are looked for in {HERE}"""
SAVE_AS_UTF_8 = "Make it readable, in UTF-8. (PowerShell may have written UTF-16.)"


def setting_warnings(url: httpx.URL, key: str) -> Iterator[str]:
    """Yield a warning for each setting that works, but with a risk."""
    if url.scheme == "http" and url.host not in ("localhost", "127.0.0.1", "::1"):
        yield "Warning: SUPABASE_URL should be https: over http, others see the key."
    if key.startswith("sb_publishable_") or jwt_role(key) == "anon":
        yield PUBLISHABLE_KEY


PUBLISHABLE_KEY = """\
Warning: The key is a publishable (anon) one. Row-level security may show it
only a part of the table to train on. Use a secret key (sb_secret_...)."""


def jwt_role(key: str) -> Any:
    """Return the role in a key that is a JSON Web Token, or None for any other key."""
    try:
        _, payload, _ = key.split(".")
        return json.loads(urlsafe_b64decode(payload + "=="))["role"]  # padded
    except (ValueError, TypeError, KeyError):
        return None


def read_baseline(path: Path) -> tuple[dict[str, Any], list[float]]:
    """Return the baseline, its tiers in order, and the lowest WES of the tiers 2 to 5.

    Raises UsageError for a file that can't be read, or whose tiers make no sense.
    """
    try:
        baseline = json.loads(path.read_text(encoding="utf-8-sig"))
        entries = sorted(baseline["virality_tiers"], key=lambda entry: entry["tier"])
        minima = [entry["weighted_score_threshold"]["min"] for entry in entries]
        if [entry["tier"] for entry in entries] != TIERS:
            raise ValueError("its tiers are not 1 to 5, once each")
        if not all(low < high for low, high in pairwise([-inf, *minima, inf])):
            raise ValueError("its thresholds are not finite and ascending")
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = f"The baseline {path} can't be used ({type(error).__name__}: {error})"
        raise UsageError(problem, BASELINE_FORM) from None
    return baseline | {"virality_tiers": entries}, minima[1:]


BASELINE_FORM = """\
It must be JSON: virality_tiers, tier 1 to 5, with weighted_score_threshold.min.
Restore the one that came with the script, or name another with --baseline."""


def resolve_output(path: Path) -> Path:
    """Return the path to write, links followed. Raises UsageError if no file can be."""
    try:
        target = Path(os.path.realpath(path))
        if target.exists() and not target.is_file():
            raise OSError(0, "a folder or a device is there")
        part_of(target).touch()  # a file can be made there
        part_of(target).unlink()
    except OSError as error:
        raise UsageError(f"Can't write {path}: {error.strerror}", ELSEWHERE) from None
    return target


# --- The command


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    # Escape what the output's encoding lacks, rather than fail after all is written.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    arguments = parse_arguments(argv)
    try:
        run(arguments)
    except Failure as failure:
        say(f"Error: {failure.problem}.\n{failure.advice}\nNothing was written.")
        return failure.exit_code
    except KeyboardInterrupt:
        say("Interrupted.")
        return 130
    return 0


def run(arguments: argparse.Namespace) -> None:
    """Read, compute, split, write and report. Raises Failure."""
    started = monotonic()
    url, key = read_settings(os.environ)
    baseline, thresholds = read_baseline(arguments.baseline)
    target = resolve_output(arguments.output)
    for warning in setting_warnings(url, key):
        say(warning)

    dataset = Dataset(thresholds, arguments.seed)
    show_progress("0 rows")
    asyncio.run(read_table(url, key, dataset))
    if len(dataset.samples) < 2:
        used = f"{len(dataset.samples)} of {dataset.rows_read():,}"
        listed = ", ".join([used, *dropped_rows(dataset)])
        raise Failure(f"Too few rows in {TABLE} can be used: {listed}", TOO_FEW)

    train, test = split(dataset.samples.values())
    text = training_json(train, test, datetime.now(UTC), arguments.seed, thresholds)
    size = write_whole(target, text)
    report = [
        *row_lines(dataset),
        "",
        *tier_lines(train, test, baseline),
        "",
        *feature_lines(dataset.samples.values()),
        "",
        f"Project   {url.host}",
        f"Baseline  {arguments.baseline} of {baseline.get('generated_at') or '?'}",
        f"Seed      {arguments.seed}",
        f"Sets      {len(train):,} to train, {len(test):,} to test",
        f"File      {target}",
        f"          {size / 1e6:,.1f} MB, in {monotonic() - started:.1f} s",
    ]
    checks = sum(line.startswith("Check:") for line in report)
    print_report([*report, f"Checks    {checks or 'none'}"])


TOO_FEW = """\
At least two are needed. Check that there are rows whose archived_at is null,
and that views, duration_seconds and platform_video_id are filled, the first two
with numbers (not money, an interval or "541.2K"). Under row-level security, a
publishable (anon) key may see no rows: use a secret key."""


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
    """Print the report to standard output. A reader that leaves early is no failure."""
    show_progress()
    try:
        print("\n".join(lines), flush=True)
    except BrokenPipeError:  # as from `head`, which has read what it wanted
        # Otherwise Python would write the rest when it ends, and fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(message: str) -> None:
    """Print a message to standard error, in place of the line of progress."""
    show_progress()
    print(message, file=sys.stderr)


def show_progress(text: str = "") -> None:
    """Show a line of progress on a terminal, or erase it. A log gets none."""
    if sys.stderr.isatty():
        print(f"\r{text:40}\r", end="", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
