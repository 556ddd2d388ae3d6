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

# Older versions can't read the "Z" of most upload times, and would not say so.
if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit("extract_training_data.py needs Python 3.11 or newer.")

import argparse
import gc
import io
import json
import os
import re
import signal
import tempfile
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from hashlib import sha256
from locale import LC_CTYPE, setlocale
from math import inf
from operator import itemgetter, lt
from pathlib import Path
from struct import Struct
from time import monotonic, sleep
from types import FrameType
from typing import Any, NoReturn
from urllib.parse import urlsplit

try:
    import httpx  # comes with supabase, and is what it sends requests with
    from dotenv import dotenv_values
    from postgrest import CountMethod, SyncPostgrestClient
    from pydantic_core import to_json  # comes with supabase; json takes 4 times as long
    from supabase import ClientOptions, create_client
except ImportError as error:
    sys.exit(
        f"This Python lacks the package {error.name}. Beside the script, make it one with\n"
        "    python3 -m venv .venv && .venv/bin/pip install -r requirements.txt\n"
        "and run the script with that: .venv/bin/python extract_training_data.py"
    )
except KeyboardInterrupt:
    print("Interrupted. Nothing was written.", file=sys.stderr)
    sys.exit(130)

Video = dict[str, Any]  # a row, as the server sends it
Sample = tuple[str, int, bytes]  # video ID, tier, the features as VECTOR packs them
Tier = dict[str, Any]  # an entry of the baseline's virality_tiers
Figures = tuple[float, float, float, float]  # minimum, mean, maximum, share of zeros

HERE = Path(__file__).resolve().parent  # where .env.local, .env and the baseline are

TABLE = "scraped_videos"
COLUMNS = (  # "->" keeps the JSON type, "->>" would make a number text
    "id,platform,platform_video_id,description,views,likes,shares,comments,"
    "sound_name,hashtags,duration_seconds,bookmarks:metadata->bookmarks,"
    "followers:metadata->followers,uploaded_at:metadata->uploaded_at"
)
COUNTS = ("views", "likes", "shares", "comments", "bookmarks", "duration_seconds")
MAX_EXACT = 2**50  # whole numbers up to it give what they would as floats
PAGE_SIZE = 1000  # rows; Supabase sends no more at a time, whatever is asked for
TIMEOUT = httpx.Timeout(30, connect=10)  # seconds; Supabase ends a query after 8
RETRY_WAITS = (1, 2, 4, 8)  # seconds before the second to the fifth attempt
MAX_RETRY_AFTER = 60  # seconds; a server that asks for more gets these
THIS_MACHINE = ("localhost", "127.0.0.1", "::1")

MAX_DURATION = 180  # seconds
MAX_HASHTAGS = 30
MAX_CAPTION_LENGTH = 2000  # UTF-16 code units
MAX_VIEWS_PER_FOLLOWER = 50
FOLLOWER_BOUNDS = (10_000, 100_000, 500_000, 1_000_000)
FOLLOWER_TIERS = (0.1, 0.3, 0.5, 0.7, 0.9)  # nano, micro, mid, macro, mega
UNKNOWN = 0.5  # a follower tier, weekday or hour that is not known

SIGNALS = [signal.SIGINT, signal.SIGTERM]  # that interrupt a run
if hasattr(signal, "SIGHUP"):  # not on Windows
    SIGNALS.append(signal.SIGHUP)

TIERS = (1, 2, 3, 4, 5)
TIER_TOLERANCE = 5  # points; a share further off the baseline's gets a remark
BAR_WIDTH = 25  # columns
CLEAR = f"\r{'':75}\r"  # wipes the progress line off a terminal, and ^C behind it
LOG_LINES = 5  # lines of progress where they can't be rewritten

# A number in text. float() alone would also take "1_000", "nan" and "infinity".
NUMERIC = re.compile(
    r"\s*[-+]?(\d+(\.\d*)?|\.\d+)(e[-+]?\d+)?\s*", re.ASCII | re.IGNORECASE
)
# How an ISO 8601 time begins. fromisoformat() alone would take any letter for the T.
ISO_8601 = re.compile(r"[\dW-]{8,10}([T ]|$)", re.ASCII)
VISIBLE = re.compile(r"[!-~]+")  # the characters of which URLs and keys are made

ADVICE = {  # by the error's code, else by the HTTP status, else "down"
    "42501": "This key's role may not read the table: use the secret key.",
    "42703": "The table lacks a column that the script reads; see README.md.",
    "57014": "The query took longer than the database allows. Run again when it is less busy.",
    "PGRST205": f"Is SUPABASE_URL the project that holds the table {TABLE}?",
    "401": "Is it this project's secret key? The environment wins over .env.local, and that"
    "\nover .env. To copy it anew: Supabase dashboard > Project Settings > API Keys.",
    "403": "Use the secret key: Supabase dashboard > Project Settings > API Keys.",
    "404": "Is SUPABASE_URL the project's own, like https://abcdefgh.supabase.co?",
    "429": "The server is asked too often. Run again in some minutes.",
    "redirect": "The key was not sent there. Set SUPABASE_URL to the project's own URL.",
    "down": "Is SUPABASE_URL right, and this machine online? A paused project is restored in"
    "\nthe Supabase dashboard; https://status.supabase.com shows outages.",
}
SOURCES = {  # what to ask when a feature is unknown for every video: does ...?
    "shareRate": "the table hold shares",
    "commentRate": "the table hold comments",
    "likeRate": "the table hold likes",
    "saveRate": "metadata hold bookmarks",
    "hashtagCount": "the table hold hashtags",
    "hasTrendingSound": "the table hold sound_name",
    "captionLength": "the table hold description",
    "hasFollowerData": "metadata hold followers",
    "followerTier": "metadata hold followers",
    "viewsPerFollower": "metadata hold followers",
    "weekdayPosted": "metadata hold uploaded_at",
    "hourPosted": "metadata hold uploaded_at",
}


class Failure(Exception):
    """Why the run can't go on, in words for people, and the exit code for it."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def refuse(message: str) -> NoReturn:
    """Raise the Failure of a run that can't begin."""
    raise Failure(message, exit_code=2)


def ignore_signals() -> None:
    """Take no notice of SIGNALS any more."""
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)


def say(message: str, end: str = "\n") -> None:
    """Print a message for people, over the progress line if one stands there."""
    try:
        clear = CLEAR if sys.stderr.isatty() else ""
        print(clear + message, file=sys.stderr, end=end, flush=True)
    except OSError:  # a log that is full or gone costs no run
        sys.stderr = io.StringIO()


# --- Before the first request: settings, baseline, output


def read_settings(folder: Path, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the project's URL and key: from `environ`, else .env.local, else .env.

    Warns of plain http to another machine. Raises Failure for a setting that is missing
    or malformed; no message shows a value, which may be the key in the wrong place.
    """
    sources: list[Mapping[str, str | None]] = [environ]
    for path in (folder / ".env.local", folder / ".env"):
        try:
            sources.append(dotenv_values(path, encoding="utf-8-sig"))
        except (OSError, UnicodeError):
            refuse(f"{path} can't be read, or is not text in UTF-8.")

    def find(*names: str) -> str:
        values = (source.get(name) or "" for source in sources for name in names)
        return next(filter(None, map(str.strip, values)), "")

    url = find("SUPABASE_URL", "NEXT_PUBLIC_SUPABASE_URL")
    key = find("SUPABASE_SECRET_KEY", "SUPABASE_SERVICE_ROLE_KEY")
    settings = {"SUPABASE_URL": url, "SUPABASE_SECRET_KEY": key}
    if missing := " and ".join(name for name, value in settings.items() if not value):
        refuse(
            f"Not set, neither in the environment nor in .env.local or .env:\n{missing}.\n"
            "Fill in a copy of .env.example, which says where to find it, as\n"
            f"{folder / '.env'}"
        )
    try:
        parts = urlsplit(url)
        httpx.URL(url).host.encode("idna")
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except (ValueError, httpx.InvalidURL):
        valid = None
    if not valid or {*url} & {*"@?#\\"} or not VISIBLE.fullmatch(url):
        refuse("SUPABASE_URL is no URL that looks like https://abcdefgh.supabase.co")
    if not VISIBLE.fullmatch(key) or "://" in key:
        refuse(
            "SUPABASE_SECRET_KEY is no key: it has spaces, odd letters or a URL in it."
        )
    if parts.scheme == "http" and parts.hostname not in THIS_MACHINE:
        say("Warning: SUPABASE_URL is plain http: others may read the key on its way.")
    # The dashboard also shows the URL with the path that the client will add.
    return parts.geturl().rstrip("/").removesuffix("/rest/v1"), key


def read_baseline(path: Path) -> list[Tier]:
    """Return the baseline's `virality_tiers`: five, from tier 1 to 5.

    Each has `tier` and the lowest weighted engagement score (WES) that belongs to it,
    `weighted_score_threshold.min`; some have `label` and `percentage`, too. Raises
    Failure.
    """

    def fail(problem: str) -> NoReturn:
        refuse(
            f"The baseline {path}\ncan't be used: {problem}.\nRestore the file that came "
            "with the script, or name another with --baseline."
        )

    try:
        baseline = json.loads(path.read_text(encoding="utf-8-sig"))
        tiers: list[Tier] = sorted(baseline["virality_tiers"], key=itemgetter("tier"))
        lowest = [tier["weighted_score_threshold"]["min"] for tier in tiers]
    except OSError as error:
        fail(f"{error.strerror}")
    except (ValueError, RecursionError):
        fail("it is not JSON")
    except (KeyError, TypeError):
        fail(
            'it has no list "virality_tiers" in which each entry has\n'
            '"tier" and "weighted_score_threshold" with "min"'
        )
    if (found := [tier["tier"] for tier in tiers]) != [*TIERS]:
        fail(f"its tiers are {found} instead of 1 to 5, once each")
    finite = all(type(low) in (int, float) and -inf < low < inf for low in lowest)
    if not finite or lowest != sorted({*lowest}):
        fail(f"its thresholds {lowest} are not finite numbers that ascend")
    return tiers


def resolve_output(path: Path) -> Path:
    """Return the file to write, links followed. Raises Failure if it can't be one."""
    target = Path(os.path.realpath(path))
    try:
        if target.is_symlink() or (target.exists() and not target.is_file()):
            refuse(f"--output {path} is a folder, a device or a circle of links.")
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        refuse(
            f"Can't write to the folder {target.parent}: {error.strerror}.\n"
            "Name a file elsewhere with --output."
        )
    return target


def timestamp(environ: Mapping[str, str]) -> str:
    """Return SOURCE_DATE_EPOCH, if it is set, else the time now, as ISO 8601 in UTC.

    https://reproducible-builds.org/specs/source-date-epoch/. Raises Failure.
    """
    epoch = environ.get("SOURCE_DATE_EPOCH")
    try:
        time = datetime.fromtimestamp(int(epoch), UTC) if epoch else datetime.now(UTC)
    except (ValueError, OverflowError, OSError):
        refuse("SOURCE_DATE_EPOCH must be whole seconds since 1970.")
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


# --- Read


def connect(url: str, key: str) -> SyncPostgrestClient:
    """Return a client for tables that neither follows redirects nor retries by itself.

    Raises Failure if the environment's proxy or certificates can't be used.
    """
    try:
        http = httpx.Client(
            timeout=TIMEOUT,
            follow_redirects=False,  # the key must not go to another host,
            trust_env=urlsplit(url).hostname not in THIS_MACHINE,  # nor to a proxy here
            event_hooks={"response": [check_reply]},
        )
        options = ClientOptions(httpx_client=http, postgrest_client_retry=False)
        return create_client(url, key, options).postgrest
    except (ValueError, ImportError, OSError, httpx.InvalidURL) as error:
        problem = f"{error}".replace(key, "[key]")
        refuse(
            f"The proxy or certificates set in the environment can't be used: {problem}"
        )


def check_reply(response: httpx.Response) -> None:
    """Raise httpx.HTTPError for a reply that is an error, a redirect or empty."""
    response.read()
    response.encoding = "utf-8"  # whatever it says: some names would crash the client
    response.raise_for_status()
    if not response.content:
        raise httpx.RemoteProtocolError("the reply is empty", request=response.request)


def check_page(page: Any, count: int | None, after: str) -> list[Video]:
    """Return a reply's rows. Raises ValueError if they can't be those after `after`."""
    if not isinstance(page, list) or not {*map(type, page)} <= {dict}:
        raise ValueError("The reply is not a JSON array of rows")
    ids = [after, *[row.get("id") for row in page]]
    if {*map(type, ids)} != {str}:
        raise ValueError("The reply has a row without an id")
    if not all(map(lt, ids, ids[1:])):
        raise ValueError("The reply's rows are not in the order of their ids")
    if not after and (count is None or count < len(page)):
        raise ValueError("The reply's count of all rows is missing or too small")
    return page


def diagnose(error: Exception) -> tuple[str, str, bool, float]:
    """Return what went wrong, what to do, whether it may pass, and the Retry-After."""
    if isinstance(error, httpx.RequestError):
        reason = re.sub(r"^\[Errno -?\d+\] ", "", str(error))
        problem = f"No reply from {error.request.url.host}: {reason}"
        return problem, ADVICE["down"], True, 0
    if not isinstance(error, httpx.HTTPStatusError):
        return f"{error}", ADVICE["404"], True, 0
    response, status = error.response, error.response.status_code
    try:
        body = response.json()
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):  # from a gateway: a page of HTML, or a line of text
        body = {"message": "" if "<" in response.text else response.text}
    code = str(body.get("code"))
    parts = [f"HTTP {status} {response.reason_phrase}".strip()]
    parts += [
        f"{body[k]}" for k in ("message", "code", "details", "hint") if body.get(k)
    ]
    if response.has_redirect_location:
        code = "redirect"
        parts.append(f"redirected to {response.headers['location']}")
    passing = status in (408, 429) or status >= 500 or code == "57014"
    default = ADVICE["down"] if passing else ""
    advice = ADVICE.get(code) or ADVICE.get(str(status), default)
    return ": ".join(parts), advice, passing, retry_after(response)


def retry_after(response: httpx.Response) -> float:
    """Return the seconds, at most 60, that a server asks to wait, or until when."""
    text = response.headers.get("retry-after", "")
    seconds = number(text)
    if seconds is None:
        try:
            wait = parsedate_to_datetime(text) - datetime.now(UTC)
            seconds = wait.total_seconds()
        except (ValueError, TypeError):  # no date, or one without a time zone
            seconds = 0.0
    return min(seconds, MAX_RETRY_AFTER)


def fetch_page(
    client: SyncPostgrestClient, after: str, read: int
) -> tuple[list[Video], int | None]:
    """Return the first 1,000 rows whose id is above `after`, and the count of all.

    The count comes with the first page only, for which `after` is "". What may pass is
    tried again, with a line that says so; `read`, the rows so far, is for that line.
    Raises Failure.
    """
    query = (
        client.table(TABLE)
        .select(COLUMNS, count=None if after else CountMethod.exact)
        .is_("archived_at", None)
        .order("id")
        .limit(PAGE_SIZE)
    )
    if after:  # an offset instead would shift whenever a row before it comes or goes
        query = query.gt("id", after)
    for attempt, wait in enumerate((*RETRY_WAITS, inf), start=1):
        try:
            reply = query.execute()
            return check_page(reply.data, reply.count, after), reply.count
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError) as error:
            problem, advice, passing, least = diagnose(error)
        # One line that can't show the key or steer a terminal, whatever a server sent.
        problem = problem.replace(client.headers["apikey"], "[key]")[:500].rstrip(". ")
        problem = "".join(c if c.isprintable() else " " for c in problem)
        problem += f", after {read:,} rows"
        if not passing:
            break
        if wait == inf:
            problem += f" and {attempt} attempts"
            break
        wait = max(wait, least)  # a restarting PostgREST says 0: too soon
        say(f"{problem}. Trying again in {wait:g} s.")
        sleep(wait)
    raise Failure(f"{problem}.\n{advice}".rstrip())


def fetch_videos(client: SyncPostgrestClient) -> Iterator[Video]:
    """Yield each row that is not archived once, whatever is written meanwhile.

    Shows the progress. Raises Failure if a page can't be had or rows are missing.
    """
    started, after, read, total = monotonic(), "", 0, 0
    while True:
        page, count = fetch_page(client, after, read)
        total = count or total  # the count comes with the first page only
        if not page:  # a short page is not the end: a server may cap pages lower
            break
        yield from page
        after = page[-1]["id"]
        read += len(page)
        show_progress(read, len(page), total, monotonic() - started)
    if read < total:
        raise Failure(
            f"Read {read:,} rows, fewer than the {total:,} counted at the start.\nIf rows "
            "were archived or deleted meanwhile, run again when that is over.\nIf not, the "
            "server does not send them all."
        )


def show_progress(read: int, new: int, total: int, seconds: float) -> None:
    """Rewrite the line of progress on a terminal; in a log, add one now and then."""
    speed = read / max(seconds, 0.001)  # a coarse clock may say 0
    line = f"{read:,} of {total:,} rows, {speed:,.0f} rows/s"
    if sys.stderr.isatty():
        say(line, end="")
    elif (read - new) * LOG_LINES // total < min(read, total) * LOG_LINES // total:
        say(line)


# --- Features


def number(value: Any) -> float | None:
    """Return a JSON number, or a number in text, as a finite float of at least 0.

    Anything else is None: a number below 0, null, true, "many", "nan", 1e999.

    >>> number(12), number("12"), number(-1), number(True)
    (12.0, 12.0, None, None)
    """
    kind = type(value)
    if kind is str:
        if not NUMERIC.fullmatch(value):
            return None
    elif kind is not int and kind is not float:  # true is of type bool
        return None
    try:
        result = float(value)
    except OverflowError:
        return None
    return result if 0 <= result < inf else None


def upload_time(value: Any) -> datetime | None:
    """Return ISO 8601 text as a time in UTC, which it is without an offset, too.

    Anything else is None.

    >>> str(upload_time("2026-01-01T00:30:00+02:00"))
    '2025-12-31 22:30:00+00:00'
    """
    if type(value) is not str or not ISO_8601.match(value):
        return None
    try:
        time = datetime.fromisoformat(value)
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):  # no such day; in UTC before year 1, after 9999
        return None


def utf16_length(text: str) -> int:
    """Return the length in UTF-16 code units; most emoji count 2.

    TikTok's own limit and the JavaScript app that uses the model count like that.
    """
    if text.isascii():
        return len(text)
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def follower_tier(followers: float) -> float:
    """Return the size of a creator's following: 0.1 (nano) to 0.9 (mega).

    >>> follower_tier(9_999), follower_tier(10_000)
    (0.1, 0.3)
    """
    return FOLLOWER_TIERS[bisect_right(FOLLOWER_BOUNDS, followers)]


def clamp(x: float) -> float:
    """Limit x, which is never negative here, to [0, 1]."""
    return x if x < 1 else 1.0


def clean(video: Video) -> None:
    """Make the counts of a row numbers, in place: 0 if missing or not a number."""
    for column in COUNTS:
        count = video.get(column)
        if type(count) is not int or not 0 <= count <= MAX_EXACT:  # few are not
            video[column] = number(count) or 0.0


def features(video: Video) -> dict[str, float]:
    """Return the 15 features of a clean video that has views, each in [0, 1]."""
    views, likes = video["views"], video["likes"]
    shares, comments = video["shares"], video["comments"]
    followers = number(video.get("followers"))
    posted = upload_time(video.get("uploaded_at"))
    sound, caption = video.get("sound_name"), video.get("description")
    hashtags = video.get("hashtags")
    # fmt: off
    return {
        "shareRate":          clamp(shares / views),
        "commentRate":        clamp(comments / views),
        "likeRate":           clamp(likes / views),
        "saveRate":           clamp(video["bookmarks"] / views),
        "shareToLikeRatio":   clamp(shares / likes) if likes else 0.0,
        "commentToLikeRatio": clamp(comments / likes) if likes else 0.0,
        "durationSeconds":    clamp(video["duration_seconds"] / MAX_DURATION),
        "hashtagCount":       clamp(len(hashtags) / MAX_HASHTAGS) if type(hashtags) is list else 0.0,
        "hasTrendingSound":   1.0 if type(sound) is str and sound.strip() else 0.0,
        "captionLength":      clamp(utf16_length(caption) / MAX_CAPTION_LENGTH) if type(caption) is str else 0.0,
        "hasFollowerData":    0.0 if followers is None else 1.0,
        "followerTier":       UNKNOWN if followers is None else follower_tier(followers),
        "viewsPerFollower":   clamp(views / followers / MAX_VIEWS_PER_FOLLOWER) if followers else 0.0,
        "weekdayPosted":      posted.isoweekday() % 7 / 6 if posted else UNKNOWN,
        "hourPosted":         posted.hour / 23 if posted else UNKNOWN,
    }
    # fmt: on


MISSING = features(dict.fromkeys(COUNTS, 0.0) | {"views": 1.0})  # no more is known
FEATURE_NAMES = tuple(MISSING)
VECTOR = Struct(f"{len(FEATURE_NAMES)}d")  # 120 bytes a video; a list would take 500


# --- Tier, order and split


def weighted_engagement_score(video: Video) -> float:
    """Return the WES of a clean video that has views. It has no upper limit.

    >>> weighted_engagement_score({"views": 100, "likes": 5, "comments": 2, "shares": 1})
    0.12
    """
    engagement = video["likes"] + 2 * video["comments"] + 3 * video["shares"]
    return float(engagement / video["views"])


def virality_tier(wes: float, thresholds: Sequence[float]) -> int:
    """Return the highest tier, 1 to 5, whose threshold is at most `wes`, or else 1.

    >>> [virality_tier(wes, [0, 1, 2, 3, 4]) for wes in (-1, 0.5, 2, 99)]
    [1, 1, 3, 5]
    """
    return max(1, bisect_right(thresholds, wes))


def collect(
    videos: Iterable[Video], thresholds: Sequence[float]
) -> tuple[list[Sample], Counter[str]]:
    """Return the usable videos in canonical order, and the rows dropped, by reason.

    That order is by video ID, so that neither the order of the rows nor their ids, which
    are random, leave a trace. A video that came twice, as happens when its row is deleted
    and inserted anew between two pages, is taken once.
    """
    samples: list[Sample] = []
    dropped: Counter[str] = Counter()
    for video in videos:
        clean(video)
        if not video["views"]:
            dropped["without views"] += 1
        elif not video["duration_seconds"]:
            dropped["without duration"] += 1
        else:
            video_id = f"{video.get('platform')}/{video.get('platform_video_id')}"
            tier = virality_tier(weighted_engagement_score(video), thresholds)
            samples.append((video_id, tier, VECTOR.pack(*features(video).values())))
    samples.sort()
    for i in range(len(samples) - 1, 0, -1):
        if samples[i][0] == samples[i - 1][0]:
            del samples[i]
            dropped["duplicated"] += 1
    return samples, dropped


def shuffle(samples: list[Sample], seed: int) -> None:
    """Shuffle samples that are in canonical order, in place, by Fisher-Yates.

    Position i is swapped with one of 0 to i, drawn by SHA-256 from the seed and the video
    ID at i, where no swap has been yet. hash() and random may differ between two runs or
    versions of Python; this doesn't.
    """
    for i, (video_id, _, _) in enumerate(samples):
        digest = sha256(f"{seed}/{video_id}".encode(errors="surrogatepass")).digest()
        j = int.from_bytes(digest) % (i + 1)
        samples[i], samples[j] = samples[j], samples[i]


# --- Write


def training_json(
    train: list[Sample], test: list[Sample], generated_at: str
) -> Iterator[str]:
    """Yield the text of training-data.json, piece by piece.

    Each number has as few digits as bring back the same number to the last bit.
    """
    yield f'{{\n  "generatedAt": "{generated_at}",\n'
    yield f'  "featureNames": {json.dumps(FEATURE_NAMES)},\n'
    for name, samples in (("trainSet", train), ("testSet", test)):
        yield f'  "{name}": {{\n    "features": ['
        for start in range(0, len(samples), PAGE_SIZE):
            page = samples[start : start + PAGE_SIZE]
            vectors = [VECTOR.unpack(vector) for _, _, vector in page]
            yield ",\n" if start else "\n"
            yield to_json(vectors).decode()[1:-1].replace("],[", "],\n[")
        yield f'\n    ],\n    "labels": {[tier for _, tier, _ in samples]},\n'
        yield f'    "count": {len(samples)}\n  }},\n'
    labels = Counter(tier for _, tier, _ in (*train, *test))
    yield f'  "labelDistribution": {json.dumps({t: labels[t] for t in TIERS})}\n}}\n'


def write_whole(target: Path, text: Iterable[str]) -> int:
    """Write a file that appears whole or not at all, and return its size in bytes.

    Raises Failure if it can't be written; then an earlier file is as it was. From just
    before the file appears, SIGNALS are ignored.
    """
    try:
        # In a temporary folder, as a temporary file would be for its owner's eyes only.
        with tempfile.TemporaryDirectory(prefix=".", dir=target.parent) as folder:
            part = Path(folder) / target.name
            with part.open("w", encoding="utf-8", newline="\n") as file:
                file.writelines(text)
                file.flush()
                os.fsync(file.fileno())
            size = part.stat().st_size
            ignore_signals()  # else a late one would say that nothing was written
            part.replace(target)
            return size
    except OSError as error:
        problem = f"Can't write {target}: {error.strerror}."
        raise Failure(f"{problem}\nMake room, or name a file elsewhere.") from None


# --- Report


def describe_features(samples: list[Sample]) -> list[Figures]:
    """Return the minimum, mean, maximum and share of zeros of each feature."""
    count, width = len(samples), len(FEATURE_NAMES)
    lows, means, highs, zeros = ([start] * width for start in (1.0, 0.0, 0.0, 0.0))
    for start in range(0, count, PAGE_SIZE):
        page = samples[start : start + PAGE_SIZE]
        numbers = array("d", b"".join([vector for _, _, vector in page]))
        for i in range(width):
            column = numbers[i::width].tolist()
            lows[i] = min(lows[i], min(column))
            means[i] += sum(column) / count
            highs[i] = max(highs[i], max(column))
            zeros[i] += column.count(0.0) / count
    return list(zip(lows, means, highs, zeros))


def bar_characters(encoding: str) -> tuple[str, str]:
    """Return a bar's character and the baseline's mark: ASCII where it has to be.

    Under LC_ALL=C Python itself would write UTF-8, but the terminal may not read it.
    """
    try:
        "█│".encode(encoding)
    except UnicodeEncodeError:
        return "#", "|"
    return ("#", "|") if setlocale(LC_CTYPE) in ("C", "POSIX") else ("█", "│")


def enumerate_dropped(dropped: Mapping[str, int]) -> str:
    """Return how many rows were dropped, by reason, or "none"."""
    return (
        ", ".join(f"{n:,} {reason}" for reason, n in sorted(dropped.items())) or "none"
    )


def report(
    labels: Mapping[int, int],
    dropped: Mapping[str, int],
    tiers: list[Tier],
    figures: Sequence[Figures],
    written: str,
    characters: tuple[str, str],
) -> str:
    """Return what tells a good extraction from a broken one, 80 columns wide.

    `labels` counts the videos by tier, `dropped` the other rows by reason; `figures`
    come from describe_features(), `characters` from bar_characters(); `written` is a
    text on the file, the last lines.
    """
    used = sum(labels.values())
    lines = [f"Read {used + sum(dropped.values()):,} rows, used {used:,}."]
    lines += [f"Dropped: {enumerate_dropped(dropped)}.", ""]

    full, mark = characters
    shares = [labels[tier] / used for tier in TIERS]
    usual = [number(tier.get("percentage")) for tier in tiers]
    usual = [None if u is None or u > 100 else u for u in usual]
    scale = BAR_WIDTH / max(*shares, *((percentage or 0) / 100 for percentage in usual))
    lines.append(
        f"{'Tier':24}{'videos':>10}{'share':>8}{'baseline':>10}  {mark} baseline"
    )
    remarks = []
    for tier, entry, share, percentage in zip(TIERS, tiers, shares, usual):
        label = entry.get("label")
        named = isinstance(label, str) and label.isprintable()
        name = f"{tier} {label if named else ''}"
        bar, baseline, off = full * round(share * scale), "", False
        remark = (
            f"tier {tier} holds {share:.0%} here" if share else f"tier {tier} is empty"
        )
        if percentage is not None:
            end = round(percentage / 100 * scale)
            bar = f"{bar[:end]:{end}}{mark}{bar[end + 1 :]}"
            baseline = f"{percentage:.1f}%"
            off = round(abs(100 * share - percentage), 9) > TIER_TOLERANCE
            remark += f", {percentage:.0f}% in the baseline"
        lines.append(f"{name:24.24}{labels[tier]:10,}{share:8.1%}{baseline:>10}  {bar}")
        if off or not share:
            remarks.append(f"{remark}:\n  was the baseline made from other data?")
    lines += [*remarks, ""]

    lines.append(f"{'Feature':24}{'minimum':>10}{'mean':>10}{'maximum':>10}{'zero':>9}")
    remarks = []
    for name, (low, mean, high, zero) in zip(FEATURE_NAMES, figures):
        lines.append(f"{name:24}{low:10.5f}{mean:10.5f}{high:10.5f}{zero:9.1%}")
        if low == high:
            unknown = low == MISSING[name] and name in SOURCES
            hint = f"does {SOURCES[name]}?" if unknown else "it tells a model nothing."
            remarks.append(f"{name} is {low:g} for every video: {hint}")
    return "\n".join([*lines, *remarks, "", written])


# --- The command


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the options. Exits with 2 at one that it doesn't know."""
    parser = argparse.ArgumentParser(
        prog="extract_training_data.py",
        description="Turn the scraped TikTok videos of a Supabase project into a "
        "training set: 15 features and a virality tier for each, split 80/20.",
        epilog="Exit codes: 0 written, 1 the run failed, 2 options, settings, baseline "
        "or output can't be used, 130 interrupted (143 by SIGTERM).",
    )
    default = Path("training-data.json")
    text = f"the file to write (default: {default})"
    parser.add_argument(
        "--output", metavar="PATH", type=Path, default=default, help=text
    )
    default = HERE / "calibration-baseline.json"
    text = f"the thresholds of the tiers (default: {default.name} beside the script)"
    parser.add_argument(
        "--baseline", metavar="PATH", type=Path, default=default, help=text
    )
    text = "another seed draws another split (default: %(default)s)"
    parser.add_argument("--seed", metavar="N", type=int, default=42, help=text)
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> None:
    """Read, compute, split, write and report. Raises Failure."""
    started = monotonic()
    gc.freeze()  # so that garbage is not looked for in the modules time and again
    generated_at = timestamp(os.environ)
    url, key = read_settings(HERE, os.environ)
    tiers = read_baseline(arguments.baseline)
    target = resolve_output(arguments.output)

    thresholds = [tier["weighted_score_threshold"]["min"] for tier in tiers]
    sys.set_int_max_str_digits(0)  # a jsonb number may be longer than Python would read
    with connect(url, key) as client:
        samples, dropped = collect(fetch_videos(client), thresholds)
    used = len(samples)
    if not used and not dropped:
        raise Failure(
            f"The key sees no rows in {TABLE} that are not archived.\nA publishable (anon) "
            "key may see none under row-level security: use the secret key."
        )
    if used < 2:
        reasons = enumerate_dropped(dropped)
        raise Failure(
            f"Too few usable videos: {used}. Dropped: {reasons}.\n"
            "Two are needed, with views and a duration: are these columns filled?"
        )
    labels = Counter(tier for _, tier, _ in samples)
    figures = describe_features(samples)
    shuffle(samples, arguments.seed)
    cut = used * 4 // 5
    size = write_whole(
        target, training_json(samples[:cut], samples[cut:], generated_at)
    )
    written = (
        f"Train set {cut:,} videos, test set {used - cut:,}, written to\n{target}\n"
        f"{size / 1e6:,.1f} MB, in {monotonic() - started:.1f} s"
    )
    characters = bar_characters(sys.stderr.encoding or "ascii")
    say(report(labels, dropped, tiers, figures, written, characters))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        ignore_signals()  # else a second one would end the cleaning up
        raise KeyboardInterrupt(number)

    sys.stderr = sys.stderr or io.StringIO()  # it is None after 2>&-
    for each in SIGNALS:
        if signal.getsignal(each) != signal.SIG_IGN:  # as nohup has it for SIGHUP
            signal.signal(each, interrupt)
    try:
        run(parse_arguments(argv))
    except SystemExit as stop:  # by argparse
        return int(stop.code or 0)
    except Failure as failure:
        say(f"Error: {failure}\nNothing was written.")
        return failure.exit_code
    except KeyboardInterrupt as stop:
        say("Interrupted. Nothing was written.")
        return 128 + int(stop.args[0])
    return 0


if __name__ == "__main__":
    sys.exit(main())
