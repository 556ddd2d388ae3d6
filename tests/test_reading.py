"""Reading: every row once, whoever writes and whatever fails, or a plain end."""

import asyncio
import re
import socket
import threading
import time
from collections import Counter
from math import inf
from typing import Any, NamedTuple

import advice
import httpx
import pytest
from conftest import (
    OUTPUT,
    Capture,
    Extract,
    Fails,
    Patch,
    Serve,
    StartScript,
    durations,
    flat,
    make_row,
    settings,
    undated,
    vectors,
    written,
)
from local_supabase import (
    CERTIFICATE,
    Fault,
    LocalSupabase,
    Request,
    Row,
    cut_off,
    hang,
    http_reply,
    over_broken_tls,
    recorded,
    reset,
)
from sample_videos import sample_videos

import extract_training_data as script

ARCHIVED = "2026-02-14T09:00:00+00:00"
BORDERS = [f"{digit}0000000-0000-0000-0000-000000000000" for digit in "48c"]
COLUMNS = (
    "id,platform,platform_video_id,description,views,likes,shares,comments,sound_name,"
    "hashtags,duration_seconds,bookmarks:metadata->bookmarks,"
    "followers:metadata->followers,uploaded_at:metadata->uploaded_at"
)
ROWS = sample_videos(120, seed=3)
# In pages of 10, the first range of ROWS is read above each of these, in this order.
FIRST_IDS = sorted(
    row["id"] for row in ROWS if row["id"] <= BORDERS[0] and not row["archived_at"]
)
CURSORS = [None, *FIRST_IDS[9:-1:10], FIRST_IDS[-1]]


def pages(server: LocalSupabase) -> list[Request]:
    """Return the requests for pages so far, without the one for the count."""
    return [request for request in server.requests if not request.counted]


def cursors(server: LocalSupabase) -> list[str | None]:
    """Return the ids above which the first range was asked for, one a request."""
    return [page.above for page in pages(server) if page.up_to == BORDERS[0]]


def fail_pages(
    server: LocalSupabase,
    faults: dict[str | None, list[Fault]],
    up_to: str | None = BORDERS[0],
) -> None:
    """Let the pages above these ids get faults in turn, those of the first range."""
    left = {cursor: [*in_turn] for cursor, in_turn in faults.items()}

    def fault_for(request: Request) -> Fault | None:
        in_turn = left.get(request.above) if request.up_to == up_to else None
        return in_turn.pop(0) if in_turn and not request.counted else None

    server.fault_for = fault_for


def fail_count(server: LocalSupabase, fault: Fault) -> None:
    """Let the request for the count get a fault."""
    server.fault_for = lambda request: fault if request.counted else None


def fail_always(server: LocalSupabase, fault: Fault) -> None:
    """Let every request get a fault."""
    server.fault_for = lambda request: fault


def announced(said: str) -> list[int]:
    """Return the seconds of the waits that the script announced."""
    return [int(text) for text in re.findall(r"\. Trying again in (\d+) s\.\n", said)]


def failure(problem: str, what_to_do: str) -> str:
    """Return what the script says when it gives up."""
    return f"Error: {problem}.\n{what_to_do}Nothing was written.\n"


# --- What is asked for


def test_what_a_page_is_asked_for_with(serve: Serve, extract: Extract) -> None:
    server = serve(2500)
    extract(server)
    assert len(pages(server)) == 8
    for request in pages(server):
        assert request.query["limit"] == ["1000"]
        assert request.query["order"] == ["id.asc"]
        assert request.query["archived_at"] == ["is.null"]
        [columns] = request.query["select"]
        assert sorted(columns.split(",")) == sorted(COLUMNS.split(","))
        assert "gzip" in request.headers["accept-encoding"]


def test_the_table_is_counted_by_one_small_request(
    serve: Serve, extract: Extract
) -> None:
    server = serve(100)
    extract(server)
    [request] = [request for request in server.requests if request.counted]
    assert request.query == {
        "select": ["id"],
        "archived_at": ["is.null"],
        "limit": ["1"],
    }


def test_the_four_ranges_leave_no_id_outside(serve: Serve, fails: Fails) -> None:
    server = serve([])
    fails(server)
    bounds = [(page.above, page.up_to) for page in pages(server)]
    assert sorted(bounds, key=str) == [
        (BORDERS[0], BORDERS[1]),
        (BORDERS[1], BORDERS[2]),
        (BORDERS[2], None),
        (None, BORDERS[0]),
    ]


def test_each_page_begins_after_the_last_id_of_the_one_before(
    serve: Serve, extract: Extract
) -> None:
    server = serve([make_row(n) for n in range(1, 8)], max_rows=3)
    extract(server)
    assert cursors(server) == [None, *(make_row(n)["id"] for n in (3, 6, 7))]


@pytest.mark.parametrize(
    ("rows", "cap", "requests"),
    [
        (2300, 1000, 4),  # pages of 1000, 1000, 300, 0
        (2000, 1000, 3),  # 1000, 1000, 0
        (0, 1000, 1),
        (10, 4, 4),  # 4, 4, 2, 0
    ],
)
def test_a_range_ends_with_an_empty_page_and_with_nothing_else(
    rows: int, cap: int, requests: int, serve: Serve, extract: Extract
) -> None:
    others = [make_row(n, quarter=3) for n in (1, 2)]
    first_range = [make_row(n) for n in range(1, rows + 1)]
    server = serve([*others, *first_range], max_rows=cap)
    assert f"Read {rows + 2:,} rows" in extract(server).out
    assert len(cursors(server)) == requests


def test_the_ranges_are_read_side_by_side(serve: Serve, extract: Extract) -> None:
    """No first page is answered until all four have been asked for."""
    server = serve(ROWS)
    all_four = threading.Barrier(4, timeout=10)

    def wait_for_the_others(sock: socket.socket) -> None:
        all_four.wait()
        http_reply(503)(sock)

    server.fault_for = lambda request: (
        wait_for_the_others if not request.counted and len(pages(server)) <= 4 else None
    )
    extract(server)
    assert not all_four.broken


@pytest.mark.parametrize("moment", ["its page is slow", "it waits after an error"])
def test_no_range_waits_for_another(
    moment: str, serve: Serve, extract: Extract, monkeypatch: Patch
) -> None:
    """The first one goes on only after the others have asked for their last pages."""
    rows = [make_row(n, quarter) for quarter in range(4) for n in range(1, 8)]
    server = serve(rows, max_rows=2)
    last_ids = {make_row(7, quarter)["id"] for quarter in (1, 2, 3)}

    def others_are_done() -> bool:
        return last_ids <= {page.above for page in pages(server)}

    def wait_for_the_others(sock: socket.socket) -> None:
        deadline = time.monotonic() + 10
        while not others_are_done() and time.monotonic() < deadline:
            time.sleep(0.01)
        done.append(others_are_done())
        http_reply(503)(sock)

    async def sleep_until_the_others_are_done(seconds: float) -> None:
        deadline = time.monotonic() + 10
        while not others_are_done() and time.monotonic() < deadline:
            await sleep(0.01)
        done.append(others_are_done())

    done: list[bool] = []
    sleep = asyncio.sleep
    if moment == "its page is slow":
        fail_pages(server, {None: [wait_for_the_others]})
    else:
        fail_pages(server, {None: [http_reply(503)]})
        monkeypatch.setattr(asyncio, "sleep", sleep_until_the_others_are_done)
    extract(server)
    assert done == [True]


def test_what_a_row_holds_reaches_the_features(serve: Serve, extract: Extract) -> None:
    metadata = {
        "bookmarks": "25",
        "followers": 40,
        "uploaded_at": "2026-01-17T05:37:35Z",  # a Saturday
        "scraped_at": "2026-02-13T08:00:00Z",
    }
    other = {"bookmarks": None, "uploaded_at": 20260117}  # a number is no time
    rows = [make_row(n, metadata=m) for n, m in enumerate([metadata, other, None])]
    extract(serve(rows))
    names = "saveRate hasFollowerData followerTier viewsPerFollower weekdayPosted"
    names += " hourPosted"
    unknown = (0, 0, 0.5, 0, 0.5, 0.5)
    assert sorted(tuple(v[name] for name in names.split()) for v in vectors()) == [
        unknown,
        unknown,
        (0.25, 1, 0.1, 0.05, 1, 5 / 23),
    ]


# --- Every row once


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """The file for ROWS as the script writes it undisturbed, without its date."""
    file = tmp_path_factory.mktemp("reference") / "reference.json"
    with LocalSupabase(ROWS) as server, pytest.MonkeyPatch.context() as patch:
        for name, value in settings(server).items():
            patch.setenv(name, value)
        assert script.main(["--output", str(file)]) == 0
    return undated(file)


@pytest.mark.parametrize("cap", [2, 7, 29])
def test_a_short_page_is_not_the_end(
    cap: int, serve: Serve, extract: Extract, reference: list[bytes]
) -> None:
    extract(serve(ROWS, max_rows=cap))
    assert undated() == reference


def test_the_same_file_for_other_ids_not_evenly_spread(
    serve: Serve, extract: Extract, reference: list[bytes]
) -> None:
    ids = [make_row(n)["id"] for n in range(len(ROWS))]
    rows = [row | {"id": new} for row, new in zip(reversed(ROWS), ids, strict=True)]
    extract(serve(rows, max_rows=50))
    assert undated() == reference


def test_the_same_file_for_another_hash_seed_in_another_process(
    serve: Serve, start_script: StartScript, reference: list[bytes]
) -> None:
    process = start_script(PYTHONHASHSEED="12345", **settings(serve(ROWS)))
    process.communicate()
    assert process.returncode == 0
    assert undated() == reference


def test_uuids_at_the_ends_and_at_the_borders(serve: Serve, extract: Extract) -> None:
    ids = ["00000000-0000-0000-0000-000000000000", *BORDERS]
    ids += [f"{digit}fffffff-ffff-ffff-ffff-ffffffffffff" for digit in "37bf"]
    rows = [make_row(n, id=id_, duration_seconds=n) for n, id_ in enumerate(ids, 1)]
    report = extract(serve(rows, max_rows=1)).out
    assert report.startswith("Read 8 rows, used 8.\nDropped: none.\nUploaded: ")
    assert durations() == [1, 2, 3, 4, 5, 6, 7, 8]


def test_ids_that_are_text(serve: Serve, extract: Extract) -> None:
    """Any text, uuids among it, in the order in which the server compares it."""
    ids = [f"vid_{n}" for n in range(1, 40)] + [make_row(40, 2)["id"]]
    ids += ["", " ", "a,b", "a+b&c=d", "100%", "(x)", 'a"b', "a\\b", "#7", "é", "😂"]
    rows = [make_row(n, id=id_, duration_seconds=n) for n, id_ in enumerate(ids, 1)]
    extract(serve(rows, max_rows=1, text_ids=True))
    assert durations() == list(range(1, len(ids) + 1))


def test_rows_inserted_updated_and_archived_meanwhile_lose_and_double_nothing(
    serve: Serve, extract: Extract
) -> None:
    """Before each page, a row comes before the last id, one behind it, and one goes."""
    there = [make_row(10 * n, n % 4, duration_seconds=n) for n in range(1, 101)]
    leaving, left, too_late, in_time = 120, 130, 150, 160  # seconds, to tell them by
    at_the_ends = [
        make_row(10 * n, n % 4, duration_seconds=leaving) for n in range(101, 141)
    ]
    server = serve([*there, *at_the_ends], max_rows=5)
    not_read_up_to: dict[str | None, Row] = {row["id"]: row for row in there}

    def write(request: Request) -> None:
        for row in server.rows[:30]:  # Postgres moves an updated row
            server.rows.remove(row)
            server.rows.append(row | {"views": 200})
        last_read = not_read_up_to.pop(request.above, None)
        if last_read:
            number, quarter = (
                int(last_read["id"][-12:]),
                "048c".index(last_read["id"][0]),
            )
            server.rows += [
                make_row(number - 1, quarter, duration_seconds=too_late),
                make_row(number + 1, quarter, duration_seconds=in_time),
            ]
            goes = next(r for r in server.rows if r["duration_seconds"] == leaving)
            goes |= {"archived_at": ARCHIVED, "duration_seconds": left}

    server.before_reply = write
    assert "duplicated" not in extract(server).out
    found = [seconds for seconds in durations() if seconds != leaving]
    assert found == [*range(1, 101), *[in_time] * 24]


def test_rows_that_are_inserted_while_the_last_page_is_read_are_read_too(
    serve: Serve, extract: Extract
) -> None:
    server = serve([make_row(n) for n in range(1, 31)])

    def insert(request: Request) -> None:
        if request.above == make_row(30)["id"]:
            server.rows += [make_row(n) for n in range(31, 43)]

    server.before_reply = insert
    extract(server)
    assert len(durations()) == 42


@pytest.mark.parametrize(
    ("low", "high"), [(None, BORDERS[0]), (BORDERS[2], None)], ids=["first", "last"]
)
def test_of_two_rows_of_a_video_the_one_with_more_views_is_taken_whichever_is_late(
    low: str | None, high: str | None, serve: Serve, extract: Extract
) -> None:
    """The first and the last range have one each, and one of them waits."""
    earlier = make_row(1, views=100, duration_seconds=10)
    later = make_row(1, 3, views=101, duration_seconds=20)
    later["platform_video_id"] = earlier["platform_video_id"]
    server = serve([earlier, later, make_row(2, duration_seconds=30)])
    fail_pages(server, {low: [http_reply(503)]}, up_to=high)
    report = extract(server).out
    assert report.startswith("Read 3 rows, used 2.\nDropped: 1 duplicated.\n")
    assert durations() == [20, 30]


# --- The count


def test_fewer_rows_than_counted_are_no_error_but_said(
    serve: Serve, extract: Extract
) -> None:
    server = serve([make_row(n) for n in range(1, 31)], max_rows=10)
    fail_count(server, http_reply(206, b"[]", content_range="0-0/30"))

    def archive(request: Request) -> None:
        if request.above == make_row(20)["id"]:
            for row in server.rows[20:]:
                row["archived_at"] = ARCHIVED

    server.before_reply = archive
    assert flat(extract(server).out).startswith(
        "Read 20 rows, used 20. Dropped: none. 10 fewer than counted at the start: "
        "archived or deleted since, or rows that share an id, as in a view. Uploaded: "
    )


NOT_COUNTED = {
    "a statement timeout": recorded("statement timeout"),
    "an expired token": recorded("expired token"),
    "text": http_reply(200, b"<html>"),
    "no count": http_reply(200, b"[]"),
    "no body": http_reply(200),
    "a count that is no number": http_reply(200, b"[]", content_range="*/many"),
    "a count of *": http_reply(200, b"[]", content_range="*/*"),
    "broken gzip": http_reply(200, b"[]", content_encoding="gzip"),
    "a reset": reset,
}


@pytest.mark.parametrize("name", NOT_COUNTED)
def test_a_count_that_fails_ends_no_run_and_is_asked_for_once(
    name: str, serve: Serve, extract: Extract, reference: list[bytes]
) -> None:
    server = serve(ROWS, max_rows=10)
    fail_count(server, NOT_COUNTED[name])
    report, said = extract(server)
    assert undated() == reference
    assert len([request for request in server.requests if request.counted]) == 1
    assert said == ""
    assert (
        "\nThe server did not count the rows, so a missing one would not be noticed.\n"
        in report
    )
    assert "fewer than counted" not in report


def test_the_run_waits_for_a_count_but_not_for_long(
    serve: Serve, extract: Extract, monkeypatch: Patch
) -> None:
    assert script.COUNT_TIMEOUT == 10  # seconds; Supabase cancels a query after 8
    server = serve(ROWS)
    fail_count(server, hang(0.3))
    assert "\nThe server did not count the rows" in extract(server).out
    late = http_reply(206, b"[]", content_range="0-0/999")

    def count_late(sock: socket.socket) -> None:
        time.sleep(0.3)
        late(sock)

    fail_count(server, count_late)
    assert " fewer than counted at the start: " in extract(server).out
    monkeypatch.setattr(script, "COUNT_TIMEOUT", 0.1)
    started = time.monotonic()
    fail_count(server, hang(20))
    assert "\nThe server did not count the rows" in extract(server).out
    assert time.monotonic() - started < 10


# --- Progress


def test_a_log_gets_no_progress(serve: Serve, extract: Extract) -> None:
    server = serve([make_row(n) for n in range(1, 51)], max_rows=10)
    assert extract(server).err == ""


def test_a_terminal_has_one_line_of_progress_that_is_rewritten(
    serve: Serve, extract: Extract, monkeypatch: Patch
) -> None:
    """The count comes after two pages; the fifth page fails once."""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    server = serve([make_row(n) for n in range(1, 1051)], max_rows=210)
    third_page_asked_for, counted = threading.Event(), threading.Event()

    def count_after_two_pages(sock: socket.socket) -> None:
        assert third_page_asked_for.wait(10)
        http_reply(206, b"[]", content_range="0-0/1050")(sock)
        counted.set()

    def note_the_third_page(request: Request) -> None:
        if request.above == make_row(420)["id"]:
            third_page_asked_for.set()

    def fail_after_the_count(sock: socket.socket) -> None:
        assert counted.wait(10)
        time.sleep(0.2)  # the count is on its way

    faults = {None: count_after_two_pages, make_row(840)["id"]: fail_after_the_count}
    server.before_reply = note_the_third_page
    server.fault_for = lambda request: (
        faults.pop(request.above, None) if request.counted or request.above else None
    )
    said = extract(server).err
    assert said.startswith("\r0 rows\r")
    assert "\r210 rows\r420 rows\r" in said  # before they are counted
    assert "\r1,050 of 1,050 rows\r" in said
    screen = [line.split("\r")[-1] for line in said.split("\n")]
    problem = TRANSIENT["closed"].problem
    # The progress is erased before a message and before the report.
    assert screen == [f"{problem}. Trying again in 1 s.", ""]
    blanks = re.findall(r"\r( +)\r", said)
    assert min(map(len, blanks)) >= len("1,000,719 of 1,000,719 rows")


# --- Transient errors


class Transient(NamedTuple):
    """A fault that may pass, what the script says of it, and the advice in the end."""

    fault: Fault
    problem: str
    what_to_do: str


NO_ARRAY = "The reply is not a JSON array"
NO_REPLY = "No usable reply from 127.0.0.1"
TRANSIENT = {
    "request timeout": Transient(
        http_reply(408), "HTTP 408 Request Timeout", advice.TOO_MANY_REQUESTS
    ),
    "too many requests": Transient(
        http_reply(429), "HTTP 429 Too Many Requests", advice.TOO_MANY_REQUESTS
    ),
    "error in a function": Transient(
        http_reply(500, b'{"code":"P0001","message":"oops"}'),
        "HTTP 500 Internal Server Error (P0001): oops",
        advice.SERVER_DOWN,
    ),
    "gateway: upstream is down": Transient(
        recorded("gateway: upstream is down"),
        "HTTP 502 Bad Gateway",
        advice.SERVER_DOWN,
    ),
    "database is down 0": Transient(
        recorded("database is down 0"),
        "HTTP 503 Service Unavailable (57P01): terminating connection due to "
        "administrator command",
        advice.SERVER_DOWN,
    ),
    "database is down 1": Transient(
        recorded("database is down 1"),
        "HTTP 503 Service Unavailable (PGRST001): Database client error. Retrying the "
        "connection: no connection to the server",
        advice.SERVER_DOWN,
    ),
    "database is down 2": Transient(
        recorded("database is down 2"),
        "HTTP 503 Service Unavailable (PGRST000): Database connection error: "
        'connection to server at "127.0.0.1", port 54329 failed: Connection refused Is '
        "the server running on that host and accepting TCP/IP connections?",
        advice.SERVER_DOWN,
    ),
    "database crashed": Transient(
        recorded("database crashed"),
        "HTTP 400 Bad Request: no message, as when PostgreSQL crashes",
        advice.SERVER_DOWN,
    ),
    "Cloudflare's 520": Transient(
        http_reply(520, b"error code: 520"), "HTTP 520", advice.SERVER_DOWN
    ),
    "Cloudflare's 530": Transient(
        http_reply(530, b"error code: 1016"), "HTTP 530", advice.SERVER_DOWN
    ),
    "the last of the 5xx": Transient(
        http_reply(599, b"timeout"), "HTTP 599", advice.SERVER_DOWN
    ),
    "paused project": Transient(
        recorded("paused project"), "HTTP 540: Project paused", advice.SERVER_DOWN
    ),
    "statement timeout": Transient(
        recorded("statement timeout"),
        "HTTP 500 Internal Server Error (57014): canceling statement due to statement "
        "timeout",
        advice.SLOW_QUERY,
    ),
    "statement timeout as a 400": Transient(
        http_reply(400, b'{"code":"57014"}'),
        "HTTP 400 Bad Request (57014)",
        advice.SLOW_QUERY,
    ),
    "database over its limit": Transient(
        recorded("database over its limit"),
        "HTTP 544: The connection to the database timed out",
        advice.SLOW_QUERY,
    ),
    "reset": Transient(reset, f"{NO_REPLY} (ReadError)", advice.NO_REPLY),
    "closed": Transient(
        socket.socket.close,
        f"{NO_REPLY} (RemoteProtocolError: Server disconnected without sending a "
        "response)",
        advice.NO_REPLY,
    ),
    "cut off": Transient(
        cut_off(b'[{"id": "1"}]'),
        f"{NO_REPLY} (RemoteProtocolError: peer closed connection without sending "
        "complete message body (received 6 bytes, expected 13))",
        advice.NO_REPLY,
    ),
    "hang": Transient(hang(20), f"{NO_REPLY} (ReadTimeout)", advice.SLOW_REPLY),
    "broken gzip": Transient(
        http_reply(200, b"[]", content_encoding="gzip"),
        f"{NO_REPLY} (DecodingError: Error -3 while decompressing data: incorrect "
        "header check)",
        advice.NO_REPLY,
    ),
    "no body": Transient(http_reply(200), NO_ARRAY, advice.NOT_SUPABASE),
    "half of the JSON": Transient(
        http_reply(200, b'[{"id": "1"}, {"id'), NO_ARRAY, advice.NOT_SUPABASE
    ),
    "a login page": Transient(
        http_reply(200, b"<html>Log in</html>"), NO_ARRAY, advice.NOT_SUPABASE
    ),
    "a login page in UTF-16": Transient(
        http_reply(200, b"<html></html>", content_type="text/html; charset=utf-16"),
        NO_ARRAY,
        advice.NOT_SUPABASE,
    ),
    "a body that decodes to nothing": Transient(
        http_reply(200, b"\xff\xfe", content_type="text/html; charset=utf-16"),
        NO_ARRAY,
        advice.NOT_SUPABASE,
    ),
    "an object": Transient(http_reply(200, b"{}"), NO_ARRAY, advice.NOT_SUPABASE),
    "null": Transient(http_reply(200, b"null"), NO_ARRAY, advice.NOT_SUPABASE),
}


@pytest.mark.parametrize("name", TRANSIENT)
def test_a_transient_error_costs_one_request_and_nothing_else(
    name: str,
    serve: Serve,
    extract: Extract,
    reference: list[bytes],
    waits: list[float],
    monkeypatch: Patch,
) -> None:
    """Once with each page: the first, those between, and the last, which is empty."""
    failing = CURSORS
    if name == "hang":
        monkeypatch.setattr(script, "TIMEOUT", httpx.Timeout(10, read=1))
        failing = CURSORS[1:2]  # each takes a second
    server = serve(ROWS, max_rows=10)
    fail_pages(server, {cursor: [TRANSIENT[name].fault] for cursor in failing})
    report, said = extract(server)
    times = len(failing)
    assert said == f"{TRANSIENT[name].problem}. Trying again in 1 s.\n" * times
    assert waits == [1] * times
    assert undated() == reference
    assert cursors(server) == sorted([*CURSORS, *failing], key=CURSORS.index)
    assert "fewer than counted" not in report


@pytest.mark.parametrize("name", [name for name in TRANSIENT if name != "hang"])
def test_a_fault_that_stays_is_met_five_times_and_then_explained(
    name: str, serve: Serve, fails: Fails
) -> None:
    """But for the one whose attempts take a second each."""
    fault, problem, what_to_do = TRANSIENT[name]
    server = serve(ROWS)
    fail_pages(server, {None: [fault] * 6})
    assert fails(server) == "".join(
        [f"{problem}. Trying again in {seconds} s.\n" for seconds in (1, 2, 4, 8)]
    ) + failure(problem, what_to_do)
    assert cursors(server) == [None] * 5


TLS_RECORDS = {
    "plain text": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "a damaged record": b"\x17\x03\x03\x00\x20" + bytes(32),
    "an alert": b"\x15\x03\x03\x00\x02\x02\x28",
}


@pytest.mark.parametrize("name", TLS_RECORDS)
def test_a_tls_connection_that_breaks_is_a_transient_error(
    name: str,
    serve: Serve,
    extract: Extract,
    reference: list[bytes],
) -> None:
    """Once with each page, and once with the count."""
    fault = over_broken_tls(TLS_RECORDS[name])
    server = serve(ROWS, max_rows=10, secure=True)
    fail_pages(server, {cursor: [fault] for cursor in CURSORS})
    said = extract(server).err
    for line in said.splitlines():
        assert line.startswith(f"{NO_REPLY} (SSLError: [SSL")
    assert announced(said) == [1] * len(CURSORS)
    assert undated() == reference
    fail_count(server, fault)
    assert extract(server).err == ""
    assert undated() == reference


def test_a_tls_connection_that_stays_broken(serve: Serve, fails: Fails) -> None:
    server = serve(ROWS, secure=True)
    fail_pages(server, {None: [over_broken_tls(b"x" * 99)] * 6})
    said = fails(server)
    assert announced(said) == [1, 2, 4, 8]
    assert said.endswith(f".\n{advice.NO_REPLY}Nothing was written.\n")


def test_https_to_a_server_without_it_is_a_request_without_a_reply(
    serve: Serve, fails: Fails
) -> None:
    server = serve(10)
    server.url = server.url.replace("http:", "https:")
    said = fails(server)
    assert sorted(set(announced(said))) == [1, 2, 4, 8]
    assert said.endswith(f".\n{advice.NO_REPLY}Nothing was written.\n")


def test_what_all_readers_meet_at_once_is_said_once(
    serve: Serve, extract: Extract, reference: list[bytes], monkeypatch: Patch
) -> None:
    server = serve(ROWS)
    server.fault_for = lambda request: (
        http_reply(503) if not request.counted and len(pages(server)) <= 4 else None
    )
    sleep = asyncio.sleep
    waits: list[float] = []

    async def sleep_until_all_four_do(seconds: float) -> None:
        waits.append(seconds)
        while len(waits) < 4:
            await sleep(0.01)

    monkeypatch.setattr(asyncio, "sleep", sleep_until_all_four_do)
    assert extract(server).err == "HTTP 503 Service Unavailable. Trying again in 1 s.\n"
    assert waits == [1] * 4
    assert undated() == reference


def test_a_message_is_printed_unless_a_reader_still_waits_after_it(
    capsys: Capture, monkeypatch: Patch
) -> None:
    """Four readers meet the same fault, each before the one ahead of it is done."""
    sleep = asyncio.sleep
    waits: list[asyncio.Event] = []

    async def wait_until_told(seconds: float) -> None:
        waits.append(asyncio.Event())
        await waits[-1].wait()

    async def readers() -> None:
        waiting: Counter[str] = Counter()

        async def fail(problem: str) -> str:
            error = script.TransientError(problem, "")
            group.create_task(script.back_off(error, 1, waiting))
            await sleep(0.01)
            return capsys.readouterr().err

        async def end(wait: int) -> None:
            waits[wait].set()
            await sleep(0.01)

        async with asyncio.TaskGroup() as group:
            assert await fail("Down") == "Down. Trying again in 1 s.\n"
            assert await fail("Down") == ""
            await end(0)
            assert await fail("Down") == ""
            await end(1)
            assert await fail("Down") == ""
            assert await fail("Lost") == "Lost. Trying again in 1 s.\n"
            await end(2)
            await end(3)
            assert await fail("Down") == "Down. Trying again in 1 s.\n"
            await end(4)
            await end(5)

    monkeypatch.setattr(asyncio, "sleep", wait_until_told)
    asyncio.run(readers())


def test_connection_refused_while_the_server_restarts(
    serve: Serve, extract: Extract, reference: list[bytes], monkeypatch: Patch
) -> None:
    server = serve(ROWS, max_rows=10)
    fail_pages(server, {CURSORS[1]: [lambda sock: server.stop()]})
    sleep = asyncio.sleep
    back: list[bool] = []

    async def wait(seconds: float) -> None:
        if seconds > 3 and not back:
            back.append(True)
            server.start()
        await sleep(seconds / 100)

    monkeypatch.setattr(asyncio, "sleep", wait)
    said = extract(server).err
    assert sorted(set(announced(said))) == [1, 2, 4]
    refused = f"{NO_REPLY} (ConnectError: All connection attempts failed)"
    assert f"{refused}. Trying again in 2 s.\n" in said
    assert undated() == reference


@pytest.mark.parametrize(
    ("header", "seconds"),  # a real PostgREST says 0 while its database restarts
    [("0", 1), ("7", 7), ("60", 60), ("3600", 60), ("soon", 1)],
)
def test_retry_after_is_obeyed_up_to_a_minute(
    header: str, seconds: float, serve: Serve, extract: Extract, waits: list[float]
) -> None:
    server = serve(ROWS)
    fail_pages(server, {None: [http_reply(429, retry_after=header)]})
    problem = "HTTP 429 Too Many Requests"
    assert extract(server).err == f"{problem}. Trying again in {seconds} s.\n"
    assert waits == [seconds]


def test_the_waits_grow_and_begin_again_with_each_page(
    serve: Serve, extract: Extract
) -> None:
    server = serve(ROWS, max_rows=10)
    fault = http_reply(503, retry_after="1")  # no server makes a wait shorter
    fail_pages(server, {cursor: [fault] * 4 for cursor in CURSORS[:2]})
    assert announced(extract(server).err) == [1, 2, 4, 8, 1, 2, 4, 8]


# --- Final faults


class Refusal(NamedTuple):
    """A fault that is final, what the script says of it, and the advice."""

    fault: Fault
    problem: str
    what_to_do: str


REFUSALS = {
    "restricted project": Refusal(
        recorded("restricted project"),
        "HTTP 402 Payment Required (exceed_egress_quota): Service for this project is "
        "restricted due to the following violations: exceed_egress_quota",
        advice.RESTRICTED,
    ),
    "role may not read the table": Refusal(
        recorded("role may not read the table"),
        "HTTP 401 Unauthorized (42501): permission denied for table scraped_videos",
        advice.NO_GRANT,
    ),
    "secret key without a grant on the table": Refusal(
        recorded("secret key without a grant on the table"),
        "HTTP 403 Forbidden (42501): permission denied for table scraped_videos",
        advice.NO_GRANT,
    ),
    "role without a grant, with a hint": Refusal(
        recorded("role without a grant, with a hint"),
        "HTTP 403 Forbidden (42501): permission denied for table scraped_videos: Grant "
        "the required privileges to the current role with: GRANT SELECT ON "
        "public.scraped_videos TO service_role;",
        advice.NO_GRANT,
    ),
    "gateway: wrong API key": Refusal(
        recorded("gateway: wrong API key"),
        "HTTP 401 Unauthorized: Invalid API key: Double check your Supabase `anon` or "
        "`service_role` API key",
        advice.WRONG_KEY,
    ),
    "expired token": Refusal(
        recorded("expired token"),
        "HTTP 401 Unauthorized (PGRST303): JWT expired",
        advice.WRONG_KEY,
    ),
    "forbidden by a gateway": Refusal(
        http_reply(403, b'{"msg":"Forbidden"}'),
        "HTTP 403 Forbidden: Forbidden",
        advice.WRONG_KEY,
    ),
    "text that is no object": Refusal(
        http_reply(401, b'"Unauthorized"'), "HTTP 401 Unauthorized", advice.WRONG_KEY
    ),
    "token with a bad signature": Refusal(
        recorded("token with a bad signature"),
        "HTTP 401 Unauthorized (PGRST301): No suitable key or wrong key type: None of "
        "the keys was able to decode the JWT",
        advice.WRONG_KEY_OR_LOCAL,
    ),
    "secret key passed on as a token": Refusal(
        recorded("secret key passed on as a token"),
        "HTTP 401 Unauthorized (PGRST301): Expected 3 parts in JWT; got 1",
        advice.WRONG_KEY_OR_LOCAL,
    ),
    "a proxy's login": Refusal(
        http_reply(407, b"<html>"),
        "HTTP 407 Proxy Authentication Required",
        advice.PROXY_LOGIN,
    ),
    "unknown path": Refusal(
        recorded("unknown path"),
        "HTTP 404 Not Found: requested path is invalid",
        advice.CHECK_TABLE,
    ),
    "unknown table": Refusal(
        recorded("unknown table"),
        "HTTP 404 Not Found (PGRST205): Could not find the table "
        "'public.scraped_video' in the schema cache: Perhaps you meant the table "
        "'public.scraped_videos'",
        advice.CHECK_TABLE,
    ),
    "unknown column": Refusal(
        recorded("unknown column"),
        "HTTP 400 Bad Request (42703): column scraped_videos.wiews does not exist: "
        'Perhaps you meant to reference the column "scraped_videos.views"',
        advice.CHECK_TABLE,
    ),
    "schema that is not exposed": Refusal(
        recorded("schema that is not exposed"),
        "HTTP 406 Not Acceptable (PGRST106): Invalid schema: private: Only the "
        "following schemas are exposed: public",
        advice.CHECK_TABLE,
    ),
    "ids that are numbers": Refusal(
        recorded("ids that are numbers"),
        "HTTP 400 Bad Request (22P02): invalid input syntax for type bigint: "
        '"00000000-0000-0000-0000-000000000000"',
        advice.CHECK_TABLE,
    ),
    "a page not to be found": Refusal(
        http_reply(404, b"<html>not here</html>"),
        "HTTP 404 Not Found",
        advice.CHECK_TABLE,
    ),
    "an empty object": Refusal(
        http_reply(400, b"{}"), "HTTP 400 Bad Request", advice.CHECK_TABLE
    ),
    "an empty code, but not with 400": Refusal(
        http_reply(404, b'{"code":""}'), "HTTP 404 Not Found", advice.CHECK_TABLE
    ),
    "another code with 400": Refusal(
        http_reply(400, b'{"code":"57P01"}'),
        "HTTP 400 Bad Request (57P01)",
        advice.CHECK_TABLE,
    ),
    "details, a hint and blanks": Refusal(
        http_reply(400, b'{"message":"oops. ","details":"why","hint":"how"}'),
        "HTTP 400 Bad Request: oops: why: how",
        advice.CHECK_TABLE,
    ),
    "a message beside an error and a msg": Refusal(
        http_reply(400, b'{"msg":"3","error":"2","message":"1"}'),
        "HTTP 400 Bad Request: 1",
        advice.CHECK_TABLE,
    ),
    "a choice between pages": Refusal(
        http_reply(300), "HTTP 300 Multiple Choices", advice.REDIRECTED
    ),
    "the last of the 4xx": Refusal(
        http_reply(499, b'{"error":{"id":1}}'),
        "HTTP 499: {'id': 1}",
        advice.CHECK_TABLE,
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_is_final_at_once(
    name: str, serve: Serve, fails: Fails, waits: list[float]
) -> None:
    fault, problem, what_to_do = REFUSALS[name]
    server = serve(10)
    fail_always(server, fault)
    assert fails(server) == failure(problem, what_to_do)
    assert waits == []
    assert len(server.requests) <= 5  # the first of each range, and the count


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_error_and_takes_the_key_nowhere(
    status: int, serve: Serve, fails: Fails, waits: list[float]
) -> None:
    server, other = serve(10), serve(10)
    location = f"{other.url}/rest/v1/scraped_videos"
    fail_always(server, http_reply(status, location=location, reason="Elsewhere"))
    assert fails(server) == failure(
        f"HTTP {status} Elsewhere: not followed, a redirect to {location}",
        advice.REDIRECTED,
    )
    assert other.requests == []
    assert waits == []


def test_a_certificate_that_is_not_trusted_is_final_until_it_is(
    serve: Serve,
    fails: Fails,
    extract: Extract,
    waits: list[float],
    monkeypatch: Patch,
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    server = serve(10, secure=True)
    said = fails(server)
    assert said.startswith(
        f"Error: {NO_REPLY} (ConnectError: [SSL: CERTIFICATE_VERIFY_FAILED] "
        "certificate verify failed: self-signed certificate ("
    )
    assert said.endswith(f").\n{advice.UNTRUSTED_CERTIFICATE}Nothing was written.\n")
    assert waits == []
    OUTPUT.unlink()
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    extract(server)
    assert written()["trainSet"]["count"] == 8


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_wants_a_login(
    scheme: str, serve: Serve, fails: Fails, waits: list[float], monkeypatch: Patch
) -> None:
    """It answers a request over http itself, and refuses a tunnel for https."""
    proxy, server = serve(10), serve(10)
    fail_always(proxy, http_reply(407))
    server.url = server.url.replace("http:", f"{scheme}:")
    monkeypatch.setenv(f"{scheme.upper()}_PROXY", proxy.url)
    problems = {
        "http": "HTTP 407 Proxy Authentication Required",
        "https": f"{NO_REPLY} (ProxyError: 407 Proxy Authentication Required)",
    }
    assert fails(server) == failure(problems[scheme], advice.PROXY_LOGIN)
    assert waits == []
    assert server.requests == []


def test_a_proxy_that_refuses_for_another_reason_may_do_so_for_a_while(
    serve: Serve, fails: Fails, monkeypatch: Patch
) -> None:
    proxy, server = serve(10), serve(10)
    fail_always(proxy, http_reply(502))
    server.url = server.url.replace("http:", "https:")
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    said = fails(server)
    assert sorted(set(announced(said))) == [1, 2, 4, 8]
    problem = f"{NO_REPLY} (ProxyError: 502 Bad Gateway)"
    assert said.endswith(failure(problem, advice.NO_REPLY))


def test_only_a_reply_that_is_late_shows_that_the_connection_works() -> None:
    for error, what_to_do in (
        (httpx.ReadTimeout(""), script.SLOW_REPLY),
        (httpx.ConnectTimeout(""), script.NO_REPLY),
    ):
        assert script.no_reply_error(error, "a.co", "key").advice == what_to_do


def test_a_host_that_can_not_be_decoded(
    serve: Serve, fails: Fails, monkeypatch: Patch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")  # nobody listens there
    server = serve([])
    server.url = "http://a.xn--a"
    problem = (
        "No usable reply from a.xn--a (ConnectError: All connection attempts failed)"
    )
    assert fails(server).endswith(failure(problem, advice.NO_REPLY))


def test_a_final_fault_in_one_range_ends_the_others(serve: Serve, fails: Fails) -> None:
    server = serve(ROWS, max_rows=10)
    server.fault_for = lambda request: (
        recorded("expired token") if request.above == BORDERS[1] else hang(60)
    )
    started = time.monotonic()
    assert "JWT expired" in fails(server)
    assert time.monotonic() - started < 20


def test_of_several_failures_the_first_is_told(monkeypatch: Patch) -> None:
    async def fail_at_once(client: Any, low: str | None, *others: Any) -> None:
        raise script.Failure(f"the range above {low}", "")

    monkeypatch.setattr(script, "read_range", fail_at_once)
    dataset = script.Dataset([], 42)
    with pytest.raises(script.Failure) as error:
        asyncio.run(script.read_table("http://127.0.0.1:9", "key", dataset))
    assert error.value.problem == "the range above None"


def test_what_the_server_says_is_cut_and_can_not_show_the_key(
    serve: Serve, fails: Fails
) -> None:
    secret = "sb_secret_do-not-show-me"
    server = serve(10, key=secret)
    for length in range(416, 500, 2):  # until the last key no longer fits
        text = f"key {secret} " + "x " * (length // 2) + secret
        fail_always(server, http_reply(400, b'{"message":"%s"}' % text.encode()))
        said = fails(server)
        assert said.startswith("Error: HTTP 400 Bad Request: key [key] x x x ")
        assert secret[:9] not in said
        assert len(said.splitlines()[0]) <= len("Error: .") + 500
    reply = f"{secret}\r\n\r\n".encode()  # in place of the status line
    fail_always(server, lambda sock: sock.sendall(reply))
    said = fails(server)
    assert "[key]" in said
    assert secret not in said


def test_a_long_word_is_cut_not_dropped(serve: Serve, fails: Fails) -> None:
    server = serve(10)
    body = b'{"message":"%s","hint":"never shown"}' % (b"x" * 520)
    fail_always(server, http_reply(400, body))
    start, end = "HTTP 400 Bad Request: ", " [...]"
    shown = "x" * (500 - len(start) - len(end))
    assert fails(server) == failure(f"{start}{shown}{end}", advice.CHECK_TABLE)
    fits = "x" * (500 - len(start))
    fail_always(server, http_reply(400, b'{"message":"%s"}' % fits.encode()))
    assert fails(server) == failure(f"{start}{fits}", advice.CHECK_TABLE)


def test_unprintable_characters_become_blanks(serve: Serve, fails: Fails) -> None:
    server = serve(10)
    text = (
        r"no\r\n\tline\u001b[2J\u009bHAll well.\u001b[8m \u202e\u2066back\u0007\u0000"
    )
    fail_always(server, http_reply(400, b'{"message":"%s"}' % text.encode()))
    assert fails(server) == failure(
        "HTTP 400 Bad Request: no line [2J HAll well. [8m back", advice.CHECK_TABLE
    )


def test_a_full_stop_before_an_unprintable_character(
    serve: Serve, fails: Fails
) -> None:
    server = serve(10)
    fail_always(server, http_reply(400, rb'{"message":"All is lost.\u0007"}'))
    problem = "HTTP 400 Bad Request: All is lost"
    assert fails(server) == failure(problem, advice.CHECK_TABLE)


def test_a_key_that_sees_no_rows(serve: Serve, fails: Fails) -> None:
    server = serve(10)
    fail_always(server, recorded("row-level security hides every row"))
    assert flat(fails(server)) == (
        "Error: No rows came from the table scraped_videos. Check that it has rows "
        "whose archived_at is null. Under row-level security, a publishable (anon) key "
        "may see none: use a secret key. Nothing was written."
    )


@pytest.mark.parametrize("usable", [0, 1])
def test_too_few_usable_videos(usable: int, serve: Serve, fails: Fails) -> None:
    rows = [make_row(n, views=int(n <= usable)) for n in range(1, 11)]
    assert flat(fails(serve(rows))) == (
        f"Error: Too few rows in scraped_videos can be used: {usable} of 10 "
        f"({10 - usable} without views). At least two are needed, one for each set. "
        "Check that the columns views and duration_seconds "
        'are filled, and with numbers (not money, an interval or "541.2K"). Nothing '
        "was written."
    )


def test_too_few_of_thousands(serve: Serve, fails: Fails) -> None:
    said = fails(serve([make_row(n, views=0) for n in range(1001)]))
    assert "can be used: 0 of 1,001 (1,001 without views).\n" in said


def test_two_videos_are_enough(serve: Serve, extract: Extract) -> None:
    extract(serve([make_row(1), make_row(2)]))
    assert (written()["trainSet"]["count"], written()["testSet"]["count"]) == (1, 1)


# --- The HTTP client


def test_it_waits_longer_than_a_query_may_take_speaks_http_1_1_and_follows_nothing(
    monkeypatch: Patch,
) -> None:
    options: dict[str, Any] = {}

    class Recorder(httpx.AsyncClient):
        def __init__(self, **more: Any) -> None:
            options.update(more)
            super().__init__(**more)

    monkeypatch.setattr(httpx, "AsyncClient", Recorder)
    session = asyncio.run(script.new_client("http://127.0.0.1:9", "key")).session
    assert isinstance(session, Recorder)
    assert all(8 < (time or inf) <= 60 for time in session.timeout.as_dict().values())
    assert session.timeout.read == 30  # as the advice says
    assert session.timeout.connect == 10
    assert not options.get("http2")
    assert not session.follow_redirects


@pytest.mark.parametrize(
    "setting",
    [
        "ALL_PROXY=socks5://localhost:1",
        "HTTPS_PROXY=foo://x",
        "NO_PROXY=fd00::/8",
        "SSL_CERT_FILE=/nowhere",
    ],
)
def test_a_proxy_or_certificates_that_can_not_be_used(
    setting: str, serve: Serve, extract: Extract, monkeypatch: Patch
) -> None:
    monkeypatch.setenv(*setting.split("="))
    server = serve(10)
    said = extract(server, code=2).err
    assert said.startswith("Error: The HTTP client can't be set up: ")
    assert "..\n" not in said
    assert flat(said).endswith(
        " Correct or unset a variable in the environment: HTTPS_PROXY or another "
        "*_PROXY (the URL of a proxy), or SSL_CERT_FILE (a file that exists). Nothing "
        "was written."
    )
    assert server.requests == []
