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

and leaves as 15 features from 0 to 1 and a virality tier from 1 to 5:

    [0.005382390122461008, 0.0005196255593730368, ...], 4

The usable videos are shuffled reproducibly, split 80/20 and written to
training-data.json. The real table has 7,389 rows; 7,358 are usable, of which
5,886 are the train set and 1,472 the test set.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - a sentence, not an ImportError below
    sys.exit("extract_training_data.py needs Python 3.11 or newer.")

import argparse
import gc
import json
import os
import re
import signal
import tempfile
import textwrap
from _thread import start_new_thread
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from itertools import groupby, pairwise
from math import isfinite
from operator import itemgetter, lt
from pathlib import Path
from queue import Empty, SimpleQueue
from struct import Struct
from time import monotonic, sleep
from typing import Any
from uuid import UUID

try:
    import httpx  # comes with supabase, and is what it sends requests with
    from dotenv import dotenv_values
    from postgrest import CountMethod, SyncPostgrestClient
    from pydantic_core import to_json  # comes with supabase; spares a tenth of the run
    from supabase import ClientOptions, create_client
except ImportError as error:
    sys.exit(f"""The package {error.name} is not installed. In the script's folder:
    python3 -m venv .venv && .venv/bin/pip install -r requirements.txt
Then run .venv/bin/python extract_training_data.py""")

Video = dict[str, Any]  # a row, as the server sends it
Inputs = dict[str, Any]  # what a row says of its video, None where it is unknown
# A usable video: its digest and its packed features in one (64 bytes less than two),
# its tier, and the names of its unknown inputs with blanks between.
Sample = tuple[bytes, int, str]
Samples = list[Sample]

HERE = Path(__file__).resolve().parent
BASELINE = HERE / "calibration-baseline.json"
ENV_FILES = (HERE / ".env.local", HERE / ".env")  # the first that has a setting counts
TABLE = "scraped_videos"
COLUMNS = (  # "->" keeps the JSON type, "->>" would make a number text
    "id,platform,platform_video_id,description,views,likes,shares,comments,"
    "sound_name,hashtags,duration_seconds,bookmarks:metadata->bookmarks,"
    "followers:metadata->followers,uploaded_at:metadata->uploaded_at"
)
PAGE_SIZE = 1000  # rows; the most that Supabase sends, unless a project is set up so
READERS = 4  # ranges of ids that are read side by side
TIMEOUT = httpx.Timeout(30, connect=10)  # seconds; Supabase ends a query after 8
RETRY_WAITS = (1, 2, 4, 8)  # seconds before the second to the fifth attempt
MAX_RETRY_AFTER = 60  # seconds; a server that asks for more gets these

MAX_DURATION = 180  # seconds
MAX_HASHTAGS = 30
MAX_CAPTION_LENGTH = 2000  # UTF-16 code units
MAX_VIEWS_PER_FOLLOWER = 50
FOLLOWER_BOUNDS = (10_000, 100_000, 500_000, 1_000_000)
FOLLOWER_TIERS = (0.1, 0.3, 0.5, 0.7, 0.9)  # nano, micro, mid, macro, mega
UNKNOWN = 0.5  # a follower tier, weekday or hour that is not known

TIERS = [1, 2, 3, 4, 5]
TIER_TOLERANCE = 0.05  # a tier whose share is further off the baseline's gets a line
MOSTLY_UNKNOWN = 0.9  # an input that a larger share of the videos lacks gets a line
BAR_WIDTH = 25  # columns
LOG_LINES = 5  # lines of progress where one can't be rewritten
CLEAR = f"\r{'':30}\r"  # wipes the line of progress off a terminal

URL_FORM = re.compile(r"https?://[\w-]+(\.[\w-]+)*(:\d+)?(/[\w./~-]*)?", re.ASCII)
KEY_FORM = re.compile(r"[\w.-]+", re.ASCII)  # sb_secret_..., or a JWT
OPEN_TO_OTHERS = re.compile(r"http://(?!(localhost|127\.0\.0\.1)(:|/|$))")

SETTINGS_ADVICE = """Are SUPABASE_URL and SUPABASE_SECRET_KEY those of the project whose
table scraped_videos has the columns in README.md? The environment wins over .env files."""
OUTAGE_ADVICE = """Is SUPABASE_URL a Supabase project, and this machine online? A paused
project is restored in the dashboard; https://status.supabase.com shows outages."""
TOO_FEW_ADVICE = """Are the columns views and duration_seconds filled? If no row came
at all: under row-level security, a publishable (anon) key may see none."""


class Failure(Exception):
    """Why the run can't go on and what to do now, in words for people."""

    exit_code = 1


class Unusable(Failure):
    """An option, a setting, a baseline or an output that the run can't begin with."""

    exit_code = 2


class PassingFault(Exception):
    """What kept a page from coming, but may pass."""

    retry_after: float = 0  # seconds that the server asks to wait


# --- Rows in, samples out


def collect(
    videos: Iterable[Video], thresholds: Sequence[float], seed: int
) -> tuple[Samples, Counter[str]]:
    """Return the usable videos in canonical order, and the rows dropped, by reason.

    That order is by digest, so that neither the order of the rows nor their ids, which
    are random, leave a trace. A video that came twice, as when its row is deleted and
    inserted anew meanwhile, is taken once, the same whichever came first.
    """
    samples: Samples = []
    dropped = Counter({"without views": 0, "without duration": 0})  # in this order
    for video in videos:
        known = inputs(video)
        if not known["views"]:
            dropped["without views"] += 1
        elif not known["duration_seconds"]:
            dropped["without duration"] += 1
        else:
            tier = virality_tier(weighted_engagement_score(known), thresholds)
            vector = VECTOR.pack(*features(known).values())
            unknown = " ".join([name for name, value in known.items() if value is None])
            samples.append((digest(video, seed) + vector, tier, unknown))
    samples.sort(key=itemgetter(0))
    distinct = [min(twins) for _, twins in groupby(samples, key=digest_of)]
    dropped["duplicated"] = len(samples) - len(distinct)
    return distinct, dropped


def inputs(video: Video) -> Inputs:
    """Return what a row says of its video: numbers of at least 0, a time in UTC, ...

    None stands for what is unknown: null, absent, of another type or unreadable.
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
        "hashtags": hashtags if type(hashtags) is list else None,
        "sound_name": sound if type(sound) is str and sound.strip() else None,
        "description": caption if type(caption) is str else None,
        "followers": number(video.get("followers")),
        "uploaded_at": upload_time(video.get("uploaded_at")),
    }


def number(value: Any) -> float | None:
    """Return a finite number of at least 0, or one in text that is all digits.

    Anything else is None.

    >>> number(12), number("12"), number(-1), number(True), number("1e3")
    (12, 12.0, None, None, None)
    """
    if type(value) is str and value.isascii() and value.isdigit():
        return number(float(value))
    # Not isinstance(): true is an int to it. Above 1e300, quotients may be too large.
    return value if type(value) in (int, float) and 0 <= value < 1e300 else None


def upload_time(value: Any) -> datetime | None:
    """Return ISO 8601 text as a time in UTC, which it is without an offset, too.

    Anything else is None.

    >>> str(upload_time("2026-01-01T00:30:00+02:00"))
    '2025-12-31 22:30:00+00:00'
    >>> str(upload_time("2026-01-01T00:30:00"))
    '2026-01-01 00:30:00+00:00'
    """
    try:
        time = datetime.fromisoformat(value)
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (TypeError, ValueError, OverflowError):  # no text, no time; before year 1
        return None


def features(known: Inputs) -> dict[str, float]:
    """Return the 15 features of a usable video, each in [0, 1].

    A 16th is one more line here: name, formula, cap, and what it is if its input is
    unknown. A new column also has to stand in COLUMNS and inputs().
    """
    views, likes = known["views"], known["likes"] or 0
    shares, comments = known["shares"] or 0, known["comments"] or 0
    followers, posted = known["followers"], known["uploaded_at"]
    # fmt: off
    return {
        "shareRate":          clamp(shares / views),
        "commentRate":        clamp(comments / views),
        "likeRate":           clamp(likes / views),
        "saveRate":           clamp((known["bookmarks"] or 0) / views),
        "shareToLikeRatio":   clamp(shares / likes) if likes else 0.0,
        "commentToLikeRatio": clamp(comments / likes) if likes else 0.0,
        "durationSeconds":    clamp(known["duration_seconds"] / MAX_DURATION),
        "hashtagCount":       clamp(len(known["hashtags"] or []) / MAX_HASHTAGS),
        "hasTrendingSound":   1.0 if known["sound_name"] else 0.0,
        "captionLength":      clamp(utf16_length(known["description"] or "") / MAX_CAPTION_LENGTH),
        "hasFollowerData":    0.0 if followers is None else 1.0,
        "followerTier":       UNKNOWN if followers is None else follower_tier(followers),
        "viewsPerFollower":   clamp(views / followers / MAX_VIEWS_PER_FOLLOWER) if followers else 0.0,
        "weekdayPosted":      posted.isoweekday() % 7 / 6 if posted else UNKNOWN,
        "hourPosted":         posted.hour / 23 if posted else UNKNOWN,
    }
    # fmt: on


def clamp(x: float) -> float:
    """Limit x, which is never negative here, to [0, 1]."""
    return x if x < 1 else 1.0


def utf16_length(text: str) -> int:
    """Return the length in UTF-16 code units; most emoji count 2.

    TikTok's own limit and the JavaScript app that uses the model count like that.
    """
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2


def follower_tier(followers: float) -> float:
    """Return the size of a creator's following: 0.1 (nano) to 0.9 (mega).

    >>> follower_tier(9_999), follower_tier(10_000)
    (0.1, 0.3)
    """
    return FOLLOWER_TIERS[bisect_right(FOLLOWER_BOUNDS, followers)]


# The names are the same for any video.
FEATURE_NAMES = tuple(features(inputs({"views": 1, "duration_seconds": 1})))
VECTOR = Struct(f"{len(FEATURE_NAMES)}d")  # 120 bytes a video; a list would take 500
DIGEST_SIZE = sha256().digest_size  # bytes


def weighted_engagement_score(known: Inputs) -> float:
    """Return the WES of a video that has views. It has no upper limit.

    >>> weighted_engagement_score({"views": 100, "likes": 5, "comments": 2, "shares": 1})
    0.12
    """
    likes, comments, shares = known["likes"], known["comments"], known["shares"]
    engagement = (likes or 0) + 2 * (comments or 0) + 3 * (shares or 0)
    return float(engagement / known["views"])


def virality_tier(wes: float, thresholds: Sequence[float]) -> int:
    """Return the highest tier, 2 to 5, whose threshold is at most `wes`, or else 1.

    >>> [virality_tier(wes, [1, 2, 3, 4]) for wes in (-1, 0.5, 2, 99)]
    [1, 1, 3, 5]
    """
    return 1 + bisect_right(thresholds, wes)


def digest(video: Video, seed: int) -> bytes:
    """Return the SHA-256 of a video that gives it its place, its set and its draw.

    hash() and random may differ between two runs or versions of Python; this doesn't.
    """
    text = f"{seed}/{video.get('platform')}/{video.get('platform_video_id')}"
    return sha256(text.encode()).digest()


def digest_of(sample: Sample) -> bytes:
    """Return the digest that a sample begins with."""
    return sample[0][:DIGEST_SIZE]


def split(samples: Samples) -> tuple[Samples, Samples]:
    """Return the train set, the first 80 % in canonical order, and the test set.

    Both are shuffled. When videos come or go, only those at the border change sides.
    """
    cut = len(samples) * 4 // 5
    return shuffle(samples[:cut]), shuffle(samples[cut:])


def shuffle(samples: Samples) -> Samples:
    """Shuffle samples in canonical order, in place, by Fisher-Yates; return them.

    Each position i in turn is swapped with one of 0 to i: the remainder of the digest
    at i, which no swap has moved yet. Its leading bits would not do, as they rise with i.
    """
    for i, sample in enumerate(samples):
        j = int.from_bytes(digest_of(sample)) % (i + 1)
        samples[i], samples[j] = samples[j], samples[i]
    return samples


# --- Reading


@dataclass
class IdRange:
    """A part of the ids, and how far it is read."""

    after: str  # the last id seen, or the one before the range; "" if there is none
    last: str  # the highest id of the range
    left: int = 0  # rows still expected; if none are, the next page is counted anew
    failures: int = 0  # attempts at the next page that failed
    ended: bool = False

    def go_on(self, page: Any) -> None:
        """Take note of a page: `data`, its rows, and `count`, None if not asked for."""
        self.failures = 0
        if page.data:
            counted = self.left if page.count is None else page.count
            self.left = counted - len(page.data)
            self.after = page.data[-1]["id"]
        else:  # the end only if it was counted; if not, it is asked for anew, counted
            self.left = 0
            self.ended = page.count == 0


@dataclass
class Progress:
    """How many rows are read, and how many there were at the start of each range."""

    read: int = 0
    counts: dict[str, int] = field(default_factory=dict)  # by the range's last id
    next_line: float = 0  # rows at which a log gets its next line

    def note(self, part: IdRange, page: Any) -> None:
        """Show how far it is: in one line that is rewritten, in a log now and then."""
        self.read += len(page.data)
        # The first page is counted always, and setdefault() keeps to its count.
        self.counts.setdefault(part.last, page.count)
        total, terminal = sum(self.counts.values()), sys.stderr.isatty()
        if len(self.counts) == READERS and (terminal or self.read >= self.next_line):
            say(f"{self.read:,} of {total:,} rows", end="" if terminal else "\n")
            self.next_line = self.read + total / LOG_LINES


def fetch_videos(client: SyncPostgrestClient, progress: Progress) -> Iterator[Video]:
    """Yield each unarchived row once; one that comes or goes meanwhile, once or never.

    READERS ranges of ids are read side by side. After a fault, no page is asked for
    until the others have come or failed; then all wait, so that an outage is one wait.
    Raises Failure if a page can't be had.
    """
    lasts = [UUID(int=2**128 * n // READERS - 1) for n in range(1, READERS + 1)]
    ranges = [IdRange(*ends) for ends in pairwise(["", *map(str, lasts)])]
    answers: SimpleQueue[Any] = SimpleQueue()
    while ranges:  # once, and once more after each outage
        faults: list[PassingFault] = []
        for part in ranges:
            start_new_thread(ask, (client, part, answers))
        asked = len(ranges)
        while asked:
            try:
                part, answer = answers.get(timeout=0.5)  # for Ctrl-C on Windows
            except Empty:
                continue
            asked -= 1
            if isinstance(answer, PassingFault):
                part.failures += 1
                faults.append(answer)
                continue
            if isinstance(answer, Exception):
                raise answer
            part.go_on(answer)
            if not part.ended and not faults:
                start_new_thread(ask, (client, part, answers))
                asked += 1
            progress.note(part, answer)
            yield from answer.data
        ranges = [part for part in ranges if not part.ended]
        if faults:
            wait_out(faults, max(part.failures for part in ranges), progress.read)


def ask(client: SyncPostgrestClient, part: IdRange, answers: SimpleQueue[Any]) -> None:
    """Put the next page of a range, or why there is none, into `answers`.

    It runs in a bare thread, beside a queue written in C: nothing waits for it when the
    program ends, as it would for a ThreadPoolExecutor's; and Ctrl-C may come at any time,
    which in the locks of threading and concurrent.futures may end in a RuntimeError.
    """
    try:
        answers.put((part, fetch_page(client, part)))
    except Exception as error:  # noqa: BLE001 - raised again where it is taken out
        answers.put((part, error))


def wait_out(faults: list[PassingFault], failures: int, read: int) -> None:
    """Say what happened and wait for the next attempt. Raises Failure after the last."""
    problem = f"{faults[0]}, after {read:,} rows"
    if failures > len(RETRY_WAITS):
        raise Failure(f"{problem} and {failures} attempts.\n{OUTAGE_ADVICE}")
    seconds = max(RETRY_WAITS[failures - 1], *[fault.retry_after for fault in faults])
    say(f"{problem}. Trying again in {seconds:g} s.")
    sleep(seconds)


def fetch_page(client: SyncPostgrestClient, part: IdRange) -> Any:
    """Return the next page of a range: its rows, `data`, and their `count`.

    The count is asked for at first, and when no more rows are expected. A page begins
    after the last id seen: an offset would shift whenever a row before it comes or
    goes. Raises PassingFault or Failure; for an HTTP error, take_in() does.
    """
    count = None if part.left > 0 else CountMethod.exact
    query = client.table(TABLE).select(COLUMNS, count=count).is_("archived_at", None)
    query = query.lte("id", part.last).order("id").limit(PAGE_SIZE)
    if part.after:
        query = query.gt("id", part.after)
    try:
        page: Any = query.execute()
        ids = [part.after, *[row["id"] for row in page.data]]
        orderly = all(map(lt, ids, ids[1:])) and ids[-1] <= part.last
    except httpx.RequestError as error:
        problem = f"No reply from {error.request.url.host}: {error}"
        raise PassingFault(printable(problem, error.request)) from None
    except (TypeError, KeyError, ValueError, RecursionError):
        raise PassingFault("The reply is not a JSON array of rows") from None
    if not orderly:
        raise PassingFault("The reply's rows are not in order or not in their range")
    if (count and page.count is None) or (page.count and not page.data):
        raise PassingFault("The reply is empty, or lacks the count of the rows")
    return page


def take_in(response: httpx.Response) -> None:
    """Read a reply whole, as soon as httpx has its headers.

    Raises PassingFault or Failure for an error, as the client's own lack the status and
    Retry-After, and for a redirect, as the key must not go to another host.
    """
    response.read()
    if not response.is_success:
        raise refusal(response)
    del response.stream  # it refers back, and in run() the garbage collector is off


def refusal(response: httpx.Response) -> Failure | PassingFault:
    """Return what to raise for a reply that is an error or a redirect."""
    status = response.status_code
    try:
        body = dict(response.json())
    except (ValueError, TypeError, RecursionError):  # a gateway's HTML, or line of text
        body = {}
    parts: list[Any] = [f"HTTP {status} {response.reason_phrase}"]
    parts += [body.get(name) for name in ("message", "code", "details", "hint")]
    if response.has_redirect_location:
        parts.append(f"redirected to {response.headers['location']}, but not followed")
    problem = printable(": ".join(map(str, filter(None, parts))), response.request)
    code = body.get("code")  # 57014: the query took longer than the database allows
    crashed = status == 400 and code == ""  # PostgreSQL, while PostgREST asked it
    if status in (408, 429) or status >= 500 or code == "57014" or crashed:
        fault, wanted = PassingFault(problem), response.headers.get("retry-after")
        fault.retry_after = min(number(wanted) or 0, MAX_RETRY_AFTER)
        return fault
    return Failure(f"{problem}.\n{SETTINGS_ADVICE}")


def printable(text: str, request: httpx.Request) -> str:
    """Return a line that can't show the key or steer a terminal, whatever was sent."""
    line = text.replace(request.headers["apikey"], "[key]")[:500]
    return "".join(c if c.isprintable() else " " for c in line).rstrip(". ")


def connect(url: str, key: str) -> SyncPostgrestClient:
    """Return a client for tables, whose own retries are off.

    Raises Unusable if the environment's proxy or certificates or the port fail.
    """
    try:
        http = httpx.Client(timeout=TIMEOUT, event_hooks={"response": [take_in]})
        options = ClientOptions(httpx_client=http, postgrest_client_retry=False)
        return create_client(url, key, options).postgrest
    except (ValueError, ImportError, OSError, httpx.InvalidURL) as error:
        raise Unusable(f"Wrong *_PROXY, SSL_CERT_FILE or URL's port: {error}") from None


# --- Writing


def vectors(samples: Samples) -> Iterator[list[tuple[float, ...]]]:
    """Yield the samples' vectors, a page at a time: all at once would take memory."""
    for start in range(0, len(samples), PAGE_SIZE):
        page = samples[start : start + PAGE_SIZE]
        yield list(VECTOR.iter_unpack(b"".join([s[0][DIGEST_SIZE:] for s in page])))


def training_json(train: Samples, test: Samples, generated_at: str) -> Iterator[str]:
    """Yield the text of training-data.json, piece by piece.

    Each number has as few digits as bring back the same number to the last bit.
    """
    yield f'{{\n  "generatedAt": "{generated_at}",\n'
    yield f'  "featureNames": {json.dumps(FEATURE_NAMES)},\n'
    for name, samples in (("trainSet", train), ("testSet", test)):
        yield f'  "{name}": {{\n    "features": ['
        separator = "\n"
        for page in vectors(samples):
            # Without the outer brackets, a vector to a line.
            yield separator + to_json(page).decode()[1:-1].replace("],[", "],\n[")
            separator = ",\n"
        yield f'\n    ],\n    "labels": {[tier for _, tier, _ in samples]},\n'
        yield f'    "count": {len(samples)}\n  }},\n'
    labels = Counter(map(itemgetter(1), train + test))
    yield f'  "labelDistribution": {json.dumps({t: labels[t] for t in TIERS})}\n}}\n'


def write_whole(target: Path, text: Iterable[str]) -> int:
    """Write a file that appears whole or not at all, and return its size in bytes.

    From just before it appears, Ctrl-C and SIGTERM come too late. Raises Failure if it
    can't be written; then an earlier file is as it was.
    """
    try:
        # In a temporary folder: a temporary file could be read by its owner alone.
        with tempfile.TemporaryDirectory(prefix=".", dir=target.parent) as folder:
            part = Path(folder) / target.name
            with part.open("w", encoding="utf-8", newline="\n") as file:
                file.writelines(text)
                file.flush()
                os.fsync(file.fileno())
            for too_late in (signal.SIGINT, signal.SIGTERM):
                signal.signal(too_late, signal.SIG_IGN)
            part.replace(target)
    except OSError as error:
        problem = f"Can't write {target}: {error.strerror}."
        advice = "Make room, or name a file elsewhere with --output."
        raise Failure(f"{problem}\n{advice}") from None
    return target.stat().st_size


# --- Report


def percent(share: float) -> str:
    """Return a share as text in percent, in which 0.0% is none at all."""
    return "<0.1%" if 0 < share < 0.001 else f"{share:.1%}"


def row_lines(samples: Samples, dropped: Counter[str], counted: int) -> Iterator[str]:
    """Yield lines on the rows that were read, and on the inputs that are unknown."""
    read = len(samples) + dropped.total()
    reasons = ", ".join(f"{n:,} {reason}" for reason, n in dropped.items() if n)
    yield f"Read {read:,} rows, used {len(samples):,}."
    yield f"Dropped: {reasons or 'none'}."
    if read < counted:
        yield f"{counted - read:,} fewer than at the start: archived or deleted since."
    unknown = Counter(name for _, _, names in samples for name in names.split())
    shares = [(name, n / len(samples)) for name, n in unknown.most_common()]
    listed = ", ".join(f"{name} {percent(share)}" for name, share in shares)
    yield textwrap.fill(f"Unknown: {listed or 'nothing'}.", width=80)
    question = "did something before this script stop filling it?"
    for name, share in shares:
        if share > MOSTLY_UNKNOWN:
            yield f"{percent(share)} lack {name}: {question}"


def tier_lines(samples: Samples, baseline: dict[str, Any]) -> Iterator[str]:
    """Yield a table of the tiers, and a line on each that is far off the baseline."""
    labels = Counter(map(itemgetter(1), samples))
    entries = baseline["virality_tiers"]
    shares = [labels[tier] / len(samples) for tier in TIERS]
    usuals = [(number(entry.get("percentage")) or 0) / 100 for entry in entries]
    scale, remarks = BAR_WIDTH / max(shares + usuals), []
    yield f"{'Tier':24}{'videos':>10}{'share':>8}{'baseline':>10}  | baseline"
    for tier, entry, share, usual in zip(TIERS, entries, shares, usuals):
        bar, expected = "#" * round(share * scale), ""
        if usual:
            mark, expected = round(usual * scale), percent(usual)
            bar = f"{bar[:mark]:{mark}}|{bar[mark + 1 :]}"
        name = f"{tier} {entry.get('label') or ''}"
        yield f"{name:24.24}{labels[tier]:10,}{percent(share):>8}{expected:>10}  {bar}"
        if not share:
            remarks.append(f"Tier {tier} is empty: is the baseline of other data?")
        elif usual and abs(share - usual) > TIER_TOLERANCE:
            compared = f"{percent(share)} here, {expected} in the baseline"
            remarks.append(f"Tier {tier}: {compared}. Was that made from other data?")
    yield from remarks


def feature_lines(samples: Samples) -> Iterator[str]:
    """Yield a table of the features: minimum, mean, maximum, shares of 0 and of 1."""
    yield f"{'Feature':24}{'minimum':>9}{'mean':>9}{'maximum':>9}{'at 0':>9}{'at 1':>9}"
    pages = [  # for each page, five figures of each feature
        [(min(c), sum(c), max(c), c.count(0.0), c.count(1.0)) for c in zip(*page)]
        for page in vectors(samples)
    ]
    for name, figures in zip(FEATURE_NAMES, zip(*pages)):  # by feature, not by page
        lows, sums, highs, zeros, ones = zip(*figures)
        mean, zero, one = [sum(column) / len(samples) for column in (sums, zeros, ones)]
        extent = f"{min(lows):9.5f}{mean:9.5f}{max(highs):9.5f}"
        yield f"{name:24}{extent}{percent(zero):>9}{percent(one):>9}"


# --- Settings, baseline, output


def read_settings(environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the project's URL and key: from `environ`, else .env.local, else .env.

    Warns of plain http to another machine. Raises Unusable for one that is missing or
    malformed; no message shows a value, which may be the key in the wrong place.
    """
    try:
        files = [dotenv_values(path, encoding="utf-8-sig") for path in ENV_FILES]
    except (OSError, UnicodeError) as error:
        raise Unusable(f".env.local or .env can't be read as UTF-8: {error}") from None

    def find(*names: str) -> str:  # the environment first, then the files
        values = [some.get(name) or "" for some in (environ, *files) for name in names]
        return next(filter(None, map(str.strip, values)), "")

    url = find("SUPABASE_URL", "NEXT_PUBLIC_SUPABASE_URL")
    key = find("SUPABASE_SECRET_KEY", "SUPABASE_SERVICE_ROLE_KEY")
    settings = {"SUPABASE_URL": (url, URL_FORM), "SUPABASE_SECRET_KEY": (key, KEY_FORM)}
    wrong = [n for n, (text, form) in settings.items() if not form.fullmatch(text)]
    if wrong:
        raise Unusable(
            f"Missing or malformed: {' and '.join(wrong)}. Settings look like\n"
            "    SUPABASE_URL=https://abcdefgh.supabase.co\n"
            "    SUPABASE_SECRET_KEY=sb_secret_...\n"
            f"in the environment, .env.local or .env, a copy of .env.example, in\n{HERE}"
        )
    if OPEN_TO_OTHERS.match(url):
        say("Warning: SUPABASE_URL is plain http: others may read the key on its way.")
    # The dashboard also shows the URL with the path that the client will add.
    return url.rstrip("/").removesuffix("/rest/v1"), key


def read_baseline(path: Path) -> tuple[dict[str, Any], list[float]]:
    """Return the baseline with its tiers put in order, and the lowest WES of 2 to 5.

    Raises Unusable for a file that can't be read, or whose tiers make no sense.
    """
    try:
        baseline = json.loads(path.read_text(encoding="utf-8-sig"))
        entries = baseline["virality_tiers"]
        entries.sort(key=itemgetter("tier"))
        lowest = [entry["weighted_score_threshold"]["min"] for entry in entries]
        if [entry["tier"] for entry in entries] != TIERS:
            raise ValueError("its tiers are not 1 to 5, once each")
        if not all(map(isfinite, lowest)) or not all(map(lt, lowest, lowest[1:])):
            raise ValueError("its thresholds are not finite numbers that ascend")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unusable(
            f"The baseline {path}\ncan't be used: {error}.\n"
            "Restore the one that came with the script, or name one by --baseline."
        ) from None
    return baseline, lowest[1:]


def resolve_output(path: Path) -> Path:
    """Return the file to write, links followed. Raises Unusable if it can't be one."""
    target = Path(os.path.realpath(path))
    try:
        if target.exists() and not target.is_file():
            raise Unusable(f"--output {path} is a folder or a device. Name a file.")
        with tempfile.TemporaryFile(dir=target.parent):  # to see whether it can be
            return target
    except OSError as error:
        problem = f"Can't write to the folder {target.parent}: {error.strerror}."
        raise Unusable(f"{problem}\nName a file elsewhere with --output.") from None


def timestamp(environ: Mapping[str, str]) -> str:
    """Return SOURCE_DATE_EPOCH, if it is set, else the time now, as ISO 8601 in UTC.

    https://reproducible-builds.org/specs/source-date-epoch/. Raises Unusable.
    """
    epoch = environ.get("SOURCE_DATE_EPOCH")
    try:
        time = datetime.fromtimestamp(int(epoch), UTC) if epoch else datetime.now(UTC)
    except (ValueError, OverflowError, OSError):
        raise Unusable("SOURCE_DATE_EPOCH must be whole seconds since 1970.") from None
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


# --- The command


def say(message: str, end: str = "\n") -> None:
    """Print a message for people, over the line of progress if one stands there."""
    try:
        clear = CLEAR if sys.stderr.isatty() else ""
        print(clear + message, file=sys.stderr, end=end)
    except OSError:  # a log that is full or cut off costs no run
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - to the end of the run


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the options. Exits with 2 at one that it doesn't know."""
    parser = argparse.ArgumentParser(
        description="Turn the scraped videos of a Supabase project into training data.",
        epilog="Exit codes: 0 written, 1 failed, 2 usage or settings, 130 interrupted.",
    )
    for name, kind, shape, default, text in (
        ("--output", Path, "PATH", "training-data.json", "the file (%(default)s)"),
        ("--baseline", Path, "PATH", BASELINE, "the tiers (the script's own file)"),
        ("--seed", int, "N", 42, "for the split and its order (%(default)s)"),
    ):
        parser.add_argument(name, type=kind, metavar=shape, default=default, help=text)
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> None:
    """Read, compute, split, write and report. Raises Failure."""
    started = monotonic()
    gc.disable()  # no row, sample or reply is part of a cycle: see take_in()
    url, key = read_settings(os.environ)
    baseline, thresholds = read_baseline(arguments.baseline)
    target = resolve_output(arguments.output)
    generated_at = timestamp(os.environ)

    progress = Progress()
    with connect(url, key) as client:
        videos = fetch_videos(client, progress)
        samples, dropped = collect(videos, thresholds, arguments.seed)
    if len(samples) < 2:
        found = f"{progress.read:,} rows in {TABLE}, {len(samples)} of them usable"
        raise Failure(f"{found}: two are needed.\n{TOO_FEW_ADVICE}")
    train, test = split(samples)
    size = write_whole(target, training_json(train, test, generated_at))
    report = [
        row_lines(samples, dropped, sum(progress.counts.values())),
        tier_lines(samples, baseline),
        feature_lines(samples),
        [
            f"Project   {httpx.URL(url).host}",
            f"Baseline  {arguments.baseline} of {baseline.get('generated_at') or '?'}",
            f"Seed      {arguments.seed}: {len(train):,} to train, {len(test):,} to test",
            f"File      {target}",
            f"          {size / 1e6:,.1f} MB, in {monotonic() - started:.1f} s",
        ],
    ]
    say("\n\n".join("\n".join(lines) for lines in report))


def terminate(signum: int, frame: object) -> None:
    """Raise SystemExit at SIGTERM, as Ctrl-C raises KeyboardInterrupt."""
    raise SystemExit


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = parse_arguments(argv)
    signal.signal(signal.SIGTERM, terminate)
    try:
        run(arguments)
        return 0
    except Failure as failure:
        say(f"Error: {failure}\nNothing was written.")
        return failure.exit_code
    except (KeyboardInterrupt, SystemExit) as stop:
        say("Interrupted. Nothing was written.")
        return 143 if isinstance(stop, SystemExit) else 130


if __name__ == "__main__":
    sys.exit(main())
