"""Reading: every row once, whoever writes and whatever fails, or a plain end."""

import asyncio
import re
import socket
import threading
import time
from collections.abc import Callable
from math import inf
from typing import Any

import httpx
import pytest
from conftest import (
    OUTPUT,
    SPEED,
    Capture,
    Extract,
    Fails,
    Patch,
    Serve,
    Start,
    durations,
    flat,
    row,
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
    cut_off,
    hang,
    http_reply,
    recorded,
    reset,
)
from sample_videos import sample_videos

import extract_training_data as script

ARCHIVED = "2026-02-14T09:00:00+00:00"
NIL = "00000000-0000-0000-0000-000000000000"
LASTS = [f"{digit}fffffff-ffff-ffff-ffff-ffffffffffff" for digit in "37bf"]
COLUMNS = (
    "id,platform,platform_video_id,description,views,likes,shares,comments,sound_name,"
    "hashtags,duration_seconds,bookmarks:metadata->bookmarks,"
    "followers:metadata->followers,uploaded_at:metadata->uploaded_at"
)
ROWS = sample_videos(120, seed=3)  # about 30 in each range
COUNT = "count"

Reader = int | str  # 0 to 3 for a range of ids, COUNT for the one that counts


def reader_of(request: Request) -> Reader:
    """Return which reader sent a request."""
    if request.counted:
        return COUNT
    return LASTS.index(request.query["id"][1].removeprefix("lte."))


def sent_by(server: LocalSupabase, reader: Reader) -> list[Request]:
    """Return the requests of a reader so far."""
    return [request for request in server.requests if reader_of(request) == reader]


def on_request(
    server: LocalSupabase, reader: Reader, number: int, action: Callable[[], object]
) -> None:
    """Do something when a request of a reader has come, counted from 1."""

    def act(request: Request) -> None:
        if reader_of(request) == reader and len(sent_by(server, reader)) == number:
            action()

    server.before_reply = act


def fail(server: LocalSupabase, faults: dict[tuple[Reader, int], Fault]) -> None:
    """Let these requests get faults: by the reader, and which of its requests, from 1."""

    def fault_for(request: Request) -> Fault | None:
        reader = reader_of(request)
        return faults.get((reader, len(sent_by(server, reader))))

    server.fault_for = fault_for


def fail_always(server: LocalSupabase, fault: Fault) -> None:
    """Let every request get a fault."""
    server.fault_for = lambda request: fault


def announced(said: str) -> list[int]:
    """Return the seconds of the waits that the script announced."""
    return [int(text) for text in re.findall(r"\. Trying again in (\d+) s\.\n", said)]


# --- What is asked for


def test_a_page_is_1000_rows_of_a_range_in_the_order_of_id(
    serve: Serve, extract: Extract
) -> None:
    server = serve(2500)
    extract(server)
    for quarter in range(4):
        assert sent_by(server, quarter)
        for request in sent_by(server, quarter):
            assert request.query["limit"] == ["1000"]
            assert request.query["order"] == ["id.asc"]
            assert request.query["archived_at"] == ["is.null"]
            [columns] = request.query["select"]
            assert sorted(columns.split(",")) == sorted(COLUMNS.split(","))
            assert "gzip" in request.headers["accept-encoding"]


def test_the_table_is_counted_by_one_small_request_without_a_range(
    serve: Serve, extract: Extract
) -> None:
    server = serve(100)
    extract(server)
    [request] = sent_by(server, COUNT)
    assert request.query == {
        "select": ["id"],
        "archived_at": ["is.null"],
        "limit": ["1"],
    }


def test_four_equal_ranges_are_read_each_after_the_last_id_seen(
    serve: Serve, extract: Extract
) -> None:
    rows = [row(n, quarter) for quarter in range(4) for n in range(1, 8)]
    server = serve(rows, max_rows=3)
    extract(server)
    for quarter, start in enumerate([NIL, *LASTS[:3]]):
        asked = [request.query["id"] for request in sent_by(server, quarter)]
        seen = [row(n, quarter)["id"] for n in (3, 6, 7)]
        assert asked == [
            [f"gt.{after}", f"lte.{LASTS[quarter]}"] for after in (start, *seen)
        ]


def test_the_ranges_are_read_side_by_side(serve: Serve, extract: Extract) -> None:
    """The second is not answered until the others have asked for their third pages."""
    server = serve([row(n, q) for q in range(4) for n in range(1, 7)], max_rows=2)
    came: list[bool] = []

    def wait_for_the_others(sock: socket.socket) -> None:
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and not came:
            if all(len(sent_by(server, quarter)) > 2 for quarter in (0, 2, 3)):
                came.append(True)
            time.sleep(0.01)

    fail(server, {(1, 1): wait_for_the_others})  # it closes, and is asked again
    extract(server)
    assert came


def test_a_range_that_waits_stops_no_other(serve: Serve, extract: Extract) -> None:
    server = serve(ROWS, max_rows=10)
    fail(server, {(1, 1): http_reply(503, retry_after="30")})
    extract(server)
    after_the_wait = sent_by(server, 1)[1:]
    assert server.requests[-len(after_the_wait) :] == after_the_wait


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
    others = [row(n, 3) for n in (1, 2)]
    server = serve([*others, *[row(n) for n in range(1, rows + 1)]], max_rows=cap)
    assert f"Read {rows + 2:,} rows" in extract(server).out
    assert len(sent_by(server, 0)) == requests


def test_what_a_row_holds_reaches_the_features(serve: Serve, extract: Extract) -> None:
    metadata = {
        "bookmarks": "25",
        "followers": 40,
        "uploaded_at": "2026-01-17T05:37:35Z",  # a Saturday
        "scraped_at": "2026-02-13T08:00:00Z",
    }
    other = {"bookmarks": None, "uploaded_at": 20260117}  # a number is no time
    rows = [row(1, metadata=metadata), row(2, metadata=other), row(3, metadata=None)]
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
    rows = [video | {"id": row(n)["id"]} for n, video in enumerate(reversed(ROWS), 1)]
    extract(serve(rows, max_rows=50))
    assert undated() == reference


def test_the_same_file_for_another_hash_seed_in_another_process(
    serve: Serve, start: Start, reference: list[bytes]
) -> None:
    process = start(PYTHONHASHSEED="12345", **settings(serve(ROWS)))
    process.communicate()
    assert process.returncode == 0
    assert undated() == reference


def test_ids_at_the_borders_of_the_ranges(serve: Serve, extract: Extract) -> None:
    firsts = [f"{digit}0000000-0000-0000-0000-000000000000" for digit in "48c"]
    lowest = f"{NIL[:-1]}1"
    ids = [lowest, LASTS[0], firsts[0], LASTS[1], firsts[1], LASTS[2], firsts[2]]
    ids.append(LASTS[3])
    extract(serve([row(n, id=id_, duration_seconds=n) for n, id_ in enumerate(ids, 1)]))
    assert durations() == [1, 2, 3, 4, 5, 6, 7, 8]


def test_rows_inserted_updated_and_archived_meanwhile_lose_and_double_nothing(
    serve: Serve, extract: Extract
) -> None:
    """Before each page, one row comes before the last id and one behind it; one goes."""
    there = [row(10 * n, n % 4, duration_seconds=n) for n in range(1, 101)]
    gone = [row(10 * n, n % 4, duration_seconds=120) for n in range(101, 141)]
    server = serve([*there, *gone], max_rows=5)

    def write(request: Request) -> None:
        for video in server.rows[:30]:  # Postgres moves an updated row
            server.rows.remove(video)
            server.rows.append(video | {"views": 200})
        reader = reader_of(request)
        if isinstance(reader, int) and len(sent_by(server, reader)) in range(2, 6):
            number = int(request.query["id"][0][-12:])  # of the last row that was read
            too_late = row(number - 1, reader, duration_seconds=150)
            in_time = row(number + 1, reader, duration_seconds=160)
            server.rows += [too_late, in_time]
            leaving = next(r for r in server.rows if r["duration_seconds"] == 120)
            leaving["archived_at"] = ARCHIVED
            leaving["duration_seconds"] = 130

    server.before_reply = write
    assert "duplicated" not in extract(server).out
    found = [n for n in durations() if n != 120]
    assert found == [*range(1, 101), *[160] * 16]


def test_a_video_whose_row_is_deleted_and_inserted_again_is_taken_once(
    serve: Serve, extract: Extract
) -> None:
    again = row(1, 3) | {"platform_video_id": row(1)["platform_video_id"]}
    report = extract(serve([row(1), row(2), again])).out
    assert report.startswith("Read 3 rows, used 2.\nDropped: 1 duplicated.\n")


def test_rows_that_are_inserted_while_the_last_page_is_read_are_read_too(
    serve: Serve, extract: Extract
) -> None:
    server = serve([row(n) for n in range(1, 31)])

    def insert() -> None:
        server.rows += [row(n) for n in range(31, 43)]

    on_request(server, 0, 2, insert)
    extract(server)
    assert len(durations()) == 42


# --- The count


def test_fewer_rows_than_counted_are_no_error_but_said(
    serve: Serve, extract: Extract
) -> None:
    server = serve([row(n) for n in range(1, 31)], max_rows=10)

    def archive() -> None:
        for video in server.rows[-11:]:
            video["archived_at"] = ARCHIVED

    def wait_for_the_count(sock: socket.socket) -> None:
        while not sent_by(server, COUNT):
            time.sleep(0.01)

    fail(server, {(0, 1): wait_for_the_count})  # so that all the rows are counted
    on_request(server, 0, 3, archive)
    report = extract(server).out
    assert "Read 19 rows, used 19.\nDropped: none.\n11 fewer than counted" in report


def test_rows_that_no_range_can_hold_are_fewer_than_counted(
    serve: Serve, extract: Extract
) -> None:
    lost = [row(n, id=f"video-{n}") for n in (1, 2, 3)]
    report = extract(serve([row(4), row(5), *lost])).out
    assert "\n3 fewer than counted at the start: " in report


@pytest.mark.parametrize(
    "fault",
    [
        recorded("statement timeout"),
        recorded("expired token"),
        http_reply(200, b"<html>"),
        http_reply(200, b"[]"),
        http_reply(200),
        http_reply(200, b"[]", content_range="*/many"),
        http_reply(200, b"[]", content_range="*/*"),
        http_reply(200, b"[]", content_encoding="gzip"),
        reset,
        hang(20),
    ],
)
def test_a_count_that_fails_ends_no_run_and_is_asked_for_once(
    fault: Fault,
    serve: Serve,
    extract: Extract,
    reference: list[bytes],
    monkeypatch: Patch,
) -> None:
    monkeypatch.setattr(script, "TIMEOUT", httpx.Timeout(1))
    server = serve(ROWS, max_rows=10)
    fail(server, {(COUNT, 1): fault})
    report, said = extract(server)
    assert undated() == reference
    assert len(sent_by(server, COUNT)) == 1
    assert said == ""
    assert "\nThe rows were not counted at the start, " in report
    assert "fewer than counted" not in report


# --- Progress


def test_a_log_gets_no_progress(serve: Serve, extract: Extract) -> None:
    assert extract(serve([row(n) for n in range(1, 51)], max_rows=10)).err == ""


def test_a_terminal_has_one_line_of_progress_that_is_rewritten(
    serve: Serve, extract: Extract, monkeypatch: Patch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    server = serve([row(n) for n in range(1, 1051)], max_rows=210)

    def count_after_two_pages(sock: socket.socket) -> None:
        while len(sent_by(server, 0)) < 3:
            time.sleep(0.01)
        http_reply(206, b"[]", content_range="0-0/1050")(sock)

    def fail_after_the_count(sock: socket.socket) -> None:
        time.sleep(0.2)

    fail(server, {(COUNT, 1): count_after_two_pages, (0, 5): fail_after_the_count})
    said = extract(server).err
    assert said.startswith("\r0 rows\r")
    assert "\r210 rows\r420 rows\r" in said  # before they are counted
    assert "\r1,050 of 1,050 rows\r" in said
    screen = [line.split("\r")[-1] for line in said.split("\n")]
    assert screen[0].startswith("No usable reply from 127.0.0.1 (RemoteProtocolE")
    assert screen[1] == ""  # the progress is erased before the report
    blanks = re.findall(r"\r( +)\r", said)
    assert min(map(len, blanks)) >= len("1,000,719 of 1,000,719 rows")


# --- Transient errors

NO_ARRAY = "The reply is not a JSON array. Trying"
NO_REPLY = "No usable reply from 127.0.0.1 ("
FAULTS: dict[str, tuple[Fault, str]] = {  # what happens, and what the script says
    "408": (http_reply(408), "HTTP 408 Request Timeout. Trying"),
    "429": (http_reply(429, retry_after="7"), "HTTP 429 Too Many Requests. Trying"),
    "500": (
        http_reply(500, b'{"message":"oops"}'),
        "HTTP 500 Internal Server Error: o",
    ),
    "502": (recorded("gateway: upstream is down"), "HTTP 502 Bad Gateway. Trying"),
    "503": (recorded("database is down 0"), "HTTP 503 Service Unavailable (57P01): te"),
    "503 later": (
        recorded("database is down 1"),
        "the connection: no connection to the",
    ),
    "503 still": (recorded("database is down 2"), "refused Is the server running on t"),
    "599": (http_reply(599, b"timeout"), "HTTP 599. Trying"),
    "520": (http_reply(520, b"error code: 520"), "HTTP 520. Trying"),
    "530": (http_reply(530, b"error code: 1016"), "HTTP 530. Trying"),
    "540": (recorded("paused project"), "HTTP 540: Project paused. Trying"),
    "544": (recorded("database over its limit"), "HTTP 544: The connection to the dat"),
    "crashed": (
        recorded("database crashed"),
        "HTTP 400 Bad Request: no message, as when Post",
    ),
    "57014": (
        recorded("statement timeout"),
        "Error (57014): canceling statement due to s",
    ),
    "57014 as 400": (
        http_reply(400, b'{"code":"57014"}'),
        "Bad Request (57014). Trying",
    ),
    "reset": (reset, f"{NO_REPLY}ReadError). Trying"),
    "closed": (socket.socket.close, f"{NO_REPLY}RemoteProtocolError: Server disconnec"),
    "cut off": (cut_off(b'[{"id": "1"}]'), f"{NO_REPLY}RemoteProtocolError: peer clos"),
    "hang": (hang(20), f"{NO_REPLY}ReadTimeout). Trying"),
    "broken gzip": (
        http_reply(200, b"[]", content_encoding="gzip"),
        f"{NO_REPLY}DecodingError: Error -3 while decompressing",
    ),
    "no body": (http_reply(200), NO_ARRAY),
    "half the JSON": (http_reply(200, b'[{"id": "1"}, {"id'), NO_ARRAY),
    "HTML": (http_reply(200, b"<html>Hello</html>"), NO_ARRAY),
    "an object": (http_reply(200, b"{}"), NO_ARRAY),
    "null": (http_reply(200, b"null"), NO_ARRAY),
}


@pytest.mark.parametrize("number", [1, 2, "last"])
@pytest.mark.parametrize("name", FAULTS)
def test_a_transient_error_costs_one_request_and_nothing_else(
    name: str,
    number: int | str,
    serve: Serve,
    extract: Extract,
    reference: list[bytes],
    waits: list[float],
    monkeypatch: Patch,
) -> None:
    if name == "hang":
        monkeypatch.setattr(script, "TIMEOUT", httpx.Timeout(0.4))
    kept = [video for video in ROWS if not video["archived_at"]]
    rows = sum(LASTS[0] < video["id"] <= LASTS[1] for video in kept)
    pages = -(-rows // 10) + 1
    failing = pages if isinstance(number, str) else number
    fault, words = FAULTS[name]
    server = serve(ROWS, max_rows=10)
    fail(server, {(1, failing): fault})
    report, said = extract(server)
    assert undated() == reference
    paths = [request.path for request in sent_by(server, 1)]
    assert len(paths) == pages + 1
    assert paths[failing - 1] == paths[failing]
    seconds = 7 if name == "429" else 1
    assert waits == [seconds]
    [line] = said.splitlines()
    assert words in line
    assert line.startswith(("HTTP ", NO_REPLY, NO_ARRAY))
    assert line.endswith(f". Trying again in {seconds} s.")
    assert "fewer than counted" not in report


def test_what_all_readers_meet_at_once_is_said_once_a_wait(
    serve: Serve, extract: Extract, reference: list[bytes], monkeypatch: Patch
) -> None:
    """All four fail at once, twice."""
    monkeypatch.setattr("conftest.SPEED", 4)  # so that none is late on a busy machine
    server = serve(ROWS, max_rows=10)
    all_are_there = threading.Barrier(4, timeout=10)

    def fail_together(sock: socket.socket) -> None:
        all_are_there.wait()
        http_reply(503)(sock)

    fail(server, {(who, nth): fail_together for who in range(4) for nth in (1, 2)})
    assert announced(extract(server).err) == [1, 2]
    assert undated() == reference


def test_what_was_said_is_said_again_after_the_wait_and_other_things_at_once(
    capsys: Capture, waits: list[float], monkeypatch: Patch
) -> None:
    monkeypatch.setattr("conftest.SPEED", 10)
    shared: set[str] = set()

    async def wait(problem: str, seconds: float, delay: float) -> None:
        await asyncio.sleep(delay)
        error = script.TransientError(problem, "")
        await script.back_off(error, seconds, shared)

    async def readers() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(wait("Down", 4, 0))
            group.create_task(wait("Down", 4, 1))  # said by the first
            group.create_task(wait("Lost", 4, 2))
            group.create_task(wait("Down", 4, 12))  # the first waits no more

    asyncio.run(readers())
    assert capsys.readouterr().err.splitlines() == [
        "Down. Trying again in 4 s.",
        "Lost. Trying again in 4 s.",
        "Down. Trying again in 4 s.",
    ]
    assert waits.count(4) == 4  # each for itself


def test_connection_refused_while_the_server_restarts(
    serve: Serve, extract: Extract, reference: list[bytes], monkeypatch: Patch
) -> None:
    server = serve(ROWS, max_rows=10)
    fail(server, {(2, 2): lambda sock: server.stop()})
    sleep = asyncio.sleep
    back: list[bool] = []

    async def wait(seconds: float) -> None:
        if seconds > 3 and not back:
            back.append(True)
            server.start()
        await sleep(seconds / SPEED)

    monkeypatch.setattr(asyncio, "sleep", wait)
    said = extract(server).err
    assert sorted(set(announced(said))) == [1, 2, 4]
    assert "No usable reply from 127.0.0.1 (ConnectError: All connection att" in said
    assert undated() == reference


@pytest.mark.parametrize(
    ("header", "seconds"),  # a real PostgREST says 0 while its database restarts
    [("0", 1), ("7", 7), ("60", 60), ("3600", 60), ("soon", 1)],
)
def test_retry_after_is_obeyed_up_to_a_minute(
    header: str, seconds: float, serve: Serve, extract: Extract, waits: list[float]
) -> None:
    server = serve(ROWS)
    fail(server, {(3, 1): http_reply(500, retry_after=header)})
    assert announced(extract(server).err) == [seconds]
    assert waits == [seconds]


def test_the_waits_grow_and_begin_again_with_each_page(
    serve: Serve, extract: Extract
) -> None:
    server = serve(ROWS, max_rows=10)
    fault = http_reply(503, retry_after="1")  # no server makes a wait shorter
    fail(server, {(1, nth): fault for nth in (1, 2, 3, 4, 6, 7, 8, 9)})
    assert announced(extract(server).err) == [1, 2, 4, 8, 1, 2, 4, 8]


OUTAGE = "Is SUPABASE_URL right, and is this machine online? If it needs a proxy, check"
SLOW = "The database needs longer for a page than its time limit."
NO_PROJECT = "What answers at SUPABASE_URL is not a Supabase project. Is it the login"


@pytest.mark.parametrize(
    ("fault", "words", "advice"),
    [
        (
            recorded("database is down 2"),
            "Unavailable (PGRST000): Database conn",
            OUTAGE,
        ),
        (recorded("database crashed"), "HTTP 400 Bad Request: no message, as", OUTAGE),
        (recorded("paused project"), "Error: HTTP 540: Project paused.", OUTAGE),
        (http_reply(429), "Error: HTTP 429 Too Many Requests.", OUTAGE),
        (reset, "Error: No usable reply from 127.0.0.1 (ReadError).", OUTAGE),
        (recorded("statement timeout"), "Server Error (57014): canceling", SLOW),
        (recorded("database over its limit"), "Error: HTTP 544: The con", SLOW),
        (http_reply(200, b"<html>Log in"), "Error: The reply is not a", NO_PROJECT),
        (http_reply(200), "Error: The reply is not a JSON array.", NO_PROJECT),
    ],
)
def test_a_server_that_stays_down_is_asked_five_times(
    fault: Fault,
    words: str,
    advice: str,
    serve: Serve,
    fails: Fails,
    waits: list[float],
) -> None:
    server = serve(ROWS)
    fail_always(server, fault)
    said = fails(server)
    assert max(len(sent_by(server, quarter)) for quarter in range(4)) == 5
    assert sorted(set(announced(said))) == [1, 2, 4, 8]
    assert max(waits) == 8
    assert words in said
    assert f".\n{advice}" in said


# --- Final faults

KEY = "This key doesn't belong to the project at SUPABASE_URL, or it has expired or"
GRANT = "The role of this key has no grant on the table. If it is a publishable (anon)"
USAGE = (
    "Supabase restricts this organization's projects: a quota is exceeded, or a bill"
)
TABLE = "Check that the table scraped_videos is in the schema public, with the columns"


@pytest.mark.parametrize(
    ("name", "words", "advice"),
    [
        ("restricted project", "(exceed_egress_quota): Service for this proj", USAGE),
        ("role may not read the table", "HTTP 401 Unauthorized (42501): perm", GRANT),
        ("secret key without a grant on the table", "HTTP 403 Forbidden (425", GRANT),
        ("role without a grant, with a hint", "scraped_videos: Grant the req", GRANT),
        ("gateway: wrong API key", "Invalid API key: Double check your Supaba", KEY),
        ("expired token", "Error: HTTP 401 Unauthorized (PGRST303): JWT expired.", KEY),
        ("token with a bad signature", "wrong key type: None of the keys was", KEY),
        ("secret key passed on as a token", "Expected 3 parts in JWT; got 1", KEY),
        ("unknown path", "HTTP 404 Not Found: requested path is invalid.", TABLE),
        ("unknown table", "(PGRST205): Could not find the table 'public.scra", TABLE),
        ("unknown column", "wiews does not exist: Perhaps you meant to refer", TABLE),
        ("schema that is not exposed", "HTTP 406 Not Acceptable (PGRST106): ", TABLE),
        ("ids that are numbers", "invalid input syntax for type bigint: ", TABLE),
        ("offset past the end, exact count", "HTTP 416 Requested Range", TABLE),
    ],
)
def test_a_refusal_is_final_at_once(
    name: str,
    words: str,
    advice: str,
    serve: Serve,
    fails: Fails,
    waits: list[float],
) -> None:
    server = serve(10)
    fail_always(server, recorded(name))
    said = fails(server)
    assert words in said
    assert f".\n{advice}" in said
    assert "..\n" not in said
    assert said.count("HTTP") == 1
    assert waits == []
    assert len(server.requests) <= 5  # one of each reader


TOLD = """
restricted project | a quota is exceeded, or a bill is due. See Usage and Billing
role may not read the table | If it is a publishable (anon) key, use a secret key
secret key without a grant on the table | since 2026, Supabase grants nothing on new
secret key without a grant on the table | SQL editor: grant select on public.scraped_
expired token | expired or been revoked. (Legacy keys end with 2026.) Copy a secret key
expired token | Project Settings > API Keys. A setting in the environment wins over .env
token with a bad signature | A local stack may want its legacy service_role key, as SUPA
unknown table | in the schema public, with the columns in README.md (the id is a uuid)
unknown table | the Data API exposes this schema (Project Settings > Data API)
unknown table | SUPABASE_URL is the URL of a Supabase project
paused project | online? If it needs a proxy, check HTTPS_PROXY and the other *_PROXY
paused project | project can be restored in the dashboard; https://status.supabase.com
statement timeout | the column id has an index
statement timeout | alter role service_role set statement_timeout = '60s'; notify pgrst
an empty reply | login page of a network or a proxy? Check SUPABASE_URL
"""


@pytest.mark.parametrize(("name", "words"), re.findall(r"(.+) \| (.+)", TOLD))
def test_the_advice_tells_what_fits_the_fault(
    name: str, words: str, serve: Serve, fails: Fails
) -> None:
    server = serve(10)
    fail_always(server, http_reply(200) if name == "an empty reply" else recorded(name))
    said = flat(fails(server))
    assert words in said
    assert ("local stack" in said) == (name == "token with a bad signature")


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (403, b'{"msg":"Forbidden"}', "HTTP 403 Forbidden: Forbidden.\nThis key"),
        (404, b"<html>not here</html>", "HTTP 404 Not Found.\nCheck that"),
        (400, b"{}", "HTTP 400 Bad Request.\nCheck that"),
        (404, b'{"code":""}', "HTTP 404 Not Found.\nCheck that"),
        (400, b'{"code":"57P01"}', "HTTP 400 Bad Request (57P01).\nCheck that"),
        (401, b'"Unauthorized"', "HTTP 401 Unauthorized.\nThis key"),
        (409, b'{"error":{"id":1}}', "HTTP 409 Conflict: {'id': 1}.\nCheck that"),
    ],
)
def test_other_refusals_are_final_too(
    status: int,
    body: bytes,
    words: str,
    serve: Serve,
    fails: Fails,
    waits: list[float],
) -> None:
    server = serve(10)
    fail_always(server, http_reply(status, body))
    assert words in fails(server)
    assert waits == []


def test_a_final_fault_in_one_range_ends_the_others(serve: Serve, fails: Fails) -> None:
    server = serve(ROWS, max_rows=10)
    server.fault_for = lambda request: (
        recorded("expired token") if reader_of(request) == 1 else hang(20)
    )
    started = time.monotonic()
    assert "JWT expired" in fails(server)
    assert time.monotonic() - started < 5


def test_of_several_failures_the_first_is_told(monkeypatch: Patch) -> None:
    async def fail_at_once(client: Any, after: str, *others: Any) -> None:
        raise script.Failure(after, "")

    monkeypatch.setattr(script, "read_range", fail_at_once)
    dataset = script.Dataset([], 42)
    with pytest.raises(script.Failure) as failure:
        asyncio.run(script.read_table("http://127.0.0.1:9", "key", dataset))
    assert failure.value.problem == NIL


def test_what_the_server_says_is_cut_and_can_not_show_the_key(
    serve: Serve, fails: Fails
) -> None:
    secret = "sb_secret_do-not-show-me"
    server = serve(10, key=secret)
    for length in range(416, 500, 2):  # until the last key no longer fits
        text = f"key {secret} " + "x " * (length // 2) + secret
        fail_always(server, http_reply(400, b'{"message":"%s"}' % text.encode()))
        said = fails(server)
        assert "Error: HTTP 400 Bad Request: key [key] x x x" in said
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
    [line, *_] = fails(server).splitlines()
    assert line.startswith("Error: HTTP 400 Bad Request: xxx")
    assert line.endswith("xxx [...].")
    assert len(line) == len("Error: .") + 500
    fail_always(server, http_reply(400, b'{"message":"%s"}' % (b"x" * 478)))
    assert fails(server).splitlines()[0].endswith("xxx.")  # 500 are not too many


def test_unprintable_characters_become_blanks(serve: Serve, fails: Fails) -> None:
    server = serve(10)
    text = r"no\r\n\tline\u001b[2J\u009bHAll is well.\u001b[8m \u202eback\u0007\u0000"
    fail_always(server, http_reply(400, b'{"message":"%s"}' % text.encode()))
    shown = "no line [2J HAll is well. [8m back.\n"
    assert f"Error: HTTP 400 Bad Request: {shown}" in fails(server)


def test_a_redirect_is_an_error_and_takes_the_key_nowhere(
    serve: Serve, fails: Fails, waits: list[float]
) -> None:
    server, other = serve(10), serve(10)
    for status in (301, 302, 303, 307, 308):
        location = f"{other.url}/rest/v1/scraped_videos"
        fail_always(server, http_reply(status, location=location))
        said = fails(server)
        assert f"HTTP {status} " in said
        assert f": not followed, a redirect to {location}.\nSUPABASE_URL is not" in said
        assert "https://abcdefgh.supabase.co" in said
    assert other.requests == []
    assert waits == []
    location = f"{other.url}/{'x' * 800}"
    fail_always(server, http_reply(302, location=location))
    [line, *_] = fails(server).splitlines()
    assert f"HTTP 302 Found: not followed, a redirect to {location[:100]}" in line
    assert len(line) == len("Error: .") + 500


def test_a_certificate_that_is_not_trusted_is_final_until_it_is(
    serve: Serve,
    fails: Fails,
    extract: Extract,
    waits: list[float],
    monkeypatch: Patch,
) -> None:
    server = serve(10, secure=True)
    said = fails(server)
    assert "Error: No usable reply from 127.0.0.1 (ConnectError: [SSL: CERTIFIC" in said
    advice = "If a proxy or a self-hosted Supabase has a certificate of its own, set"
    assert f"{advice} SSL_CERT_FILE in the environment to a PEM file" in flat(said)
    assert waits == []
    OUTPUT.unlink()
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    extract(server)
    assert written()["trainSet"]["count"] == 8


def test_https_to_a_server_without_it_is_a_request_without_a_reply(
    serve: Serve, fails: Fails
) -> None:
    server = serve(10)
    server.url = server.url.replace("http:", "https:")
    said = fails(server)
    assert sorted(set(announced(said))) == [1, 2, 4, 8]
    assert f".\n{OUTAGE}" in said


def test_a_key_that_sees_no_rows(serve: Serve, fails: Fails) -> None:
    server = serve(10)
    fail_always(server, recorded("row-level security hides every row"))
    said = fails(server)
    assert "Error: No rows came from the table scraped_videos.\nCheck that" in said
    assert "rows whose archived_at is null" in said
    assert "a publishable (anon) key may see none: use a secret key." in flat(said)


@pytest.mark.parametrize("usable", [0, 1])
def test_too_few_usable_videos(usable: int, serve: Serve, fails: Fails) -> None:
    rows = [row(n, views=int(n <= usable)) for n in range(1, 11)]
    said = fails(serve(rows))
    assert f"Error: Of 10 rows in scraped_videos, {usable} can be used.\nAt" in said
    assert "Check that the columns views and duration_seconds are" in flat(said)


def test_two_videos_are_enough(serve: Serve, extract: Extract) -> None:
    extract(serve([row(1), row(2)]))
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
    session = asyncio.run(script.connect("http://127.0.0.1:9", "key")).session
    assert isinstance(session, Recorder)
    assert all(8 < (time or inf) <= 60 for time in session.timeout.as_dict().values())
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
    assert (
        "\nA variable in the environment can't be used: HTTPS_PROXY or another *_PROXY"
        in said
    )
    assert server.requests == []
