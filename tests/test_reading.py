"""Reading: every row once, whoever writes and whatever fails, or a plain end."""

import asyncio
import json
import re
import socket
import threading
import time
import uuid
from collections import defaultdict
from typing import Any

import httpx
import pytest
from conftest import (
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

Reader = int | str  # 0 to 3 for a range of ids, COUNT for the count at the start
Place = tuple[Reader, int]  # a reader, and how many requests it sent before


def reader(request: Request) -> Reader:
    """Return which reader sent a request."""
    if request.query["limit"] == ["1"]:
        return COUNT
    return LASTS.index(request.query["id"][1].removeprefix("lte."))


def by_reader(server: LocalSupabase) -> dict[Reader, list[Request]]:
    """Return the requests of each reader, in their order."""
    requests = defaultdict(list)
    for request in server.requests:
        requests[reader(request)].append(request)
    return requests


def place(server: LocalSupabase, request: Request) -> Place:
    """Return which reader's request it is, and how many that reader sent before."""
    return reader(request), by_reader(server)[reader(request)].index(request)


def fail(server: LocalSupabase, faults: dict[Place, Fault]) -> None:
    """Let the requests at these places get faults instead of replies."""
    server.fault_for = lambda request: faults.get(place(server, request))


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
        for request in by_reader(server)[quarter]:
            assert request.query["limit"] == ["1000"]
            assert request.query["order"] == ["id.asc"]
            assert request.query["archived_at"] == ["is.null"]
            [columns] = request.query["select"]
            assert sorted(columns.split(",")) == sorted(COLUMNS.split(","))


def test_the_table_is_counted_by_one_small_request(
    serve: Serve, extract: Extract
) -> None:
    server = serve(100)
    extract(server)
    [request] = by_reader(server)[COUNT]
    assert request.counted
    assert request.query == {
        "select": ["id"],
        "archived_at": ["is.null"],
        "id": [f"gt.{NIL}", f"lte.{LASTS[3]}"],
        "order": ["id.asc"],
        "limit": ["1"],
    }


def test_four_equal_ranges_are_read_each_after_the_last_id_seen(
    serve: Serve, extract: Extract
) -> None:
    rows = [row(n, quarter) for quarter in range(4) for n in range(1, 8)]
    server = serve(rows, max_rows=3)
    extract(server)
    for quarter, start in enumerate([NIL, *LASTS[:3]]):
        asked = [request.query["id"] for request in by_reader(server)[quarter]]
        seen = [row(n, quarter)["id"] for n in (3, 6)]
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
            requests = by_reader(server)
            if all(len(requests[quarter]) > 2 for quarter in (0, 2, 3)):
                came.append(True)
            time.sleep(0.01)

    fail(server, {(1, 0): wait_for_the_others})  # it closes, and is asked again
    extract(server)
    assert came


def test_a_range_that_waits_stops_no_other(serve: Serve, extract: Extract) -> None:
    server = serve(ROWS, max_rows=10)
    fail(server, {(1, 0): http_reply(503, retry_after="9")})
    extract(server)
    readers = [reader(request) for request in server.requests]
    after_the_wait = by_reader(server)[1][1:]
    assert readers[-len(after_the_wait) :] == [1] * len(after_the_wait)


@pytest.mark.parametrize(
    ("rows", "cap", "counted"),
    [
        (2300, 1000, [False, False, False, True]),  # 1000, 1000, 300, 0
        (2000, 1000, [False, False, False, True]),  # 1000, 1000, 0, 0
        (0, 1000, [False, True]),
        (10, 4, [False, True, True]),  # 4, 4, 2 of 2
        (8, 4, [False, True]),  # 4, 4 of 4
    ],
)
def test_the_count_is_asked_for_after_a_short_page_and_ends_a_range(
    rows: int, cap: int, counted: list[bool], serve: Serve, extract: Extract
) -> None:
    """At first, a page is never counted, and a full one is no reason to."""
    others = [row(n, 3) for n in (1, 2)]
    server = serve([*others, *[row(n) for n in range(1, rows + 1)]], max_rows=cap)
    assert f"Read {rows + 2:,} rows" in extract(server).out
    assert [request.counted for request in by_reader(server)[0]] == counted


def test_a_full_page_after_a_short_one_is_no_reason_to_count(
    serve: Serve, extract: Extract
) -> None:
    server = serve([row(n) for n in range(1, 2601)], max_rows=500)

    def lift_the_cap(request: Request) -> None:
        if place(server, request) == (0, 1):
            server.max_rows = 1000

    server.before_reply = lift_the_cap
    extract(server)  # 500, 1000 of 2100, 1000, 100, 0 of 0
    counted = [request.counted for request in by_reader(server)[0]]
    assert counted == [False, True, False, False, True]


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


def test_an_empty_page_is_not_the_end_either(
    serve: Serve, extract: Extract, waits: list[float]
) -> None:
    server = serve([row(n) for n in range(1, 31)], max_rows=10)
    fail(server, {(0, 0): http_reply(200, b"[]")})
    extract(server)
    assert len(durations()) == 30
    assert waits == []


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
    ids = {10: row(1)["id"], 20: LASTS[0], 21: row(0, 1)["id"], 30: LASTS[1]}
    ids |= {31: row(0, 2)["id"], 40: LASTS[2], 41: row(0, 3)["id"], 50: LASTS[3]}
    extract(serve([row(n, id=id_, duration_seconds=n) for n, id_ in ids.items()]))
    assert durations() == list(ids)


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
        quarter, nth = place(server, request)
        if isinstance(quarter, int) and nth in range(1, 5):
            after = uuid.UUID(request.query["id"][0].removeprefix("gt.")).int
            number = after - (quarter << 126)
            too_late = row(number - 1, quarter, duration_seconds=150)
            in_time = row(number + 1, quarter, duration_seconds=160)
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


def test_fewer_rows_than_counted_are_no_error_but_said(
    serve: Serve, extract: Extract
) -> None:
    server = serve([row(n) for n in range(1, 31)], max_rows=10)

    def archive(request: Request) -> None:
        if place(server, request) == (0, 1):
            for video in server.rows[-11:]:
                video["archived_at"] = ARCHIVED

    def wait_for_the_count(sock: socket.socket) -> None:
        while not by_reader(server)[COUNT]:
            time.sleep(0.01)

    fail(server, {(0, 0): wait_for_the_count})  # so that all the rows are counted
    server.before_reply = archive
    report = extract(server).out
    assert "Read 19 rows, used 19.\nDropped: none.\n11 fewer than at the" in report


@pytest.mark.parametrize(("cap", "nth"), [(10, 2), (1000, 1)])
def test_more_rows_than_counted_are_read(
    cap: int, nth: int, serve: Serve, extract: Extract
) -> None:
    server = serve([row(n) for n in range(1, 31)], max_rows=cap)

    def insert(request: Request) -> None:
        if place(server, request) == (0, nth):
            server.rows += [row(n) for n in range(31, 43)]

    server.before_reply = insert
    extract(server)
    assert len(durations()) == 42


# --- Progress


def test_a_log_gets_no_progress(serve: Serve, extract: Extract) -> None:
    assert extract(serve([row(n) for n in range(1, 51)], max_rows=10)).err == ""


def test_a_terminal_has_one_line_of_progress_that_is_rewritten(
    serve: Serve, extract: Extract, monkeypatch: Patch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    server = serve([row(n) for n in range(1, 1051)], max_rows=210)

    def close_after(reader: Reader, requests: int) -> Fault:
        def wait_and_close(sock: socket.socket) -> None:
            while len(by_reader(server)[reader]) < requests:
                time.sleep(0.01)

        return wait_and_close

    # The count fails, and is asked for again before the last page comes.
    fail(server, {(COUNT, 0): close_after(0, 3), (0, 4): close_after(COUNT, 2)})
    said = extract(server).err
    assert said.startswith("\r0 rows\r")
    assert "\r210 rows\r420 rows\r" in said  # before they are counted
    assert "\r1,050 of 1,050 rows\r" in said
    screen = [line.split("\r")[-1] for line in said.split("\n")]
    assert any(line.startswith("No reply from 127.0.0.1 (") for line in screen)
    assert screen[-1] == ""  # the progress is erased before the report
    blanks = re.findall(r"\r( +)\r", said)
    assert min(map(len, blanks)) >= len("1,000,719 of 1,000,719 rows")


def test_a_terminal_shows_at_once_that_the_reading_has_begun(
    serve: Serve, extract: Extract, monkeypatch: Patch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    server = serve(10)
    server.fault_for = lambda request: recorded("expired token")
    assert extract(server, code=1).err.startswith("\r0 rows\r")


# --- Transient errors


def ids_reply(*ids: str) -> Fault:
    """Answer with rows that have these ids and nothing else, and a count of them."""
    body = json.dumps([{"id": id_} for id_ in ids]).encode()
    return http_reply(200, body, content_range=f"*/{len(ids)}")


NO_ROWS = "The reply is not a JSON array of rows with ids"
NO_ORDER = "The reply's rows are not in order, or not in the range asked for"
NO_COUNT = "The reply lacks the count that was asked for"
NO_REPLY = "No reply from 127.0.0.1 ("
FAULTS: dict[str, tuple[Fault, str]] = {  # what happens, and what the script says
    "408": (http_reply(408), "HTTP 408 Request Timeout"),
    "429": (http_reply(429, retry_after="7"), "HTTP 429 Too Many Requests"),
    "500": (http_reply(500, b'{"message":"oops"}'), "Internal Server Error: oops"),
    "502": (recorded("gateway: upstream is down"), "HTTP 502 Bad Gateway"),
    "503": (recorded("database is down 0"), "terminating connection"),
    "503 later": (recorded("database is down 1"), "PGRST001: no connection to the"),
    "503 still": (recorded("database is down 2"), "refused Is the server running"),
    "504": (http_reply(504, b"upstream request timeout"), "HTTP 504 Gateway Timeout"),
    "520": (http_reply(520, b"error code: 520"), "HTTP 520"),
    "crashed": (recorded("database crashed"), "HTTP 400 Bad Request"),
    "57014": (recorded("statement timeout"), "canceling statement due to statement"),
    "reset": (reset, f"{NO_REPLY}ReadError)"),
    "closed": (socket.socket.close, f"{NO_REPLY}RemoteProtocolError: Server disc"),
    "cut off": (cut_off(b'[{"id": "1"}, {"id": "2"}]'), f"{NO_REPLY}RemoteProtocolE"),
    "hang": (hang(20), f"{NO_REPLY}ReadTimeout)"),
    "half the JSON": (http_reply(200, b'[{"id": "1"}, {"id'), NO_ROWS),
    "HTML": (http_reply(200, b"<html>Hello</html>"), NO_ROWS),
    "an object": (http_reply(200, b"{}"), NO_ROWS),
    "numbers": (http_reply(200, b"[1, 2, 3]"), NO_ROWS),
    "no id": (http_reply(200, b'[{"id": "1"}, {"views": 1}]'), NO_ROWS),
    "another order": (ids_reply(LASTS[1], LASTS[0]), NO_ORDER),
    "a row twice": (ids_reply(LASTS[1], LASTS[1]), NO_ORDER),
    "a row before": (ids_reply(LASTS[0]), NO_ORDER),
    "a row behind": (ids_reply(LASTS[2]), NO_ORDER),
    "no count": (http_reply(200, b"[]"), NO_COUNT),
    "no body": (http_reply(200), NO_COUNT),
    "an unknown count": (http_reply(200, b"[]", content_range="*/*"), NO_COUNT),
    "rows, no count": (http_reply(200, b'[{"id":"%s"}]' % LASTS[1].encode()), NO_COUNT),
    "none of 5,000": (
        http_reply(200, b"[]", content_range="*/5000"),
        "The reply is empty, although the server counts 5,000 rows",
    ),
}
AT_PLACES: list[tuple[str, Place]] = [
    *[(name, (1, 2)) for name in FAULTS],  # a counted page amid a range
    *[(name, (1, 0)) for name in ("503", "reset", "HTML")],
    *[(name, (1, -1)) for name in ("503", "reset", "HTML", "no count")],
    *[(name, (COUNT, 0)) for name in ("503", "reset", "HTML", "no count")],
]


@pytest.mark.parametrize(("name", "where"), AT_PLACES)
def test_a_transient_error_costs_one_request_and_nothing_else(
    name: str,
    where: Place,
    serve: Serve,
    extract: Extract,
    reference: list[bytes],
    waits: list[float],
    monkeypatch: Patch,
) -> None:
    if name == "hang":
        monkeypatch.setattr(script, "TIMEOUT", httpx.Timeout(0.4))
    who, nth = where
    kept = [video for video in ROWS if not video["archived_at"]]
    rows = sum(LASTS[0] < video["id"] <= LASTS[1] for video in kept)
    pages = 1 if who == COUNT else -(-rows // 10)
    nth %= pages
    fault, words = FAULTS[name]
    server = serve(ROWS, max_rows=10)
    fail(server, {(who, nth): fault})
    report, said = extract(server)
    assert undated() == reference
    requests = by_reader(server)[who]
    assert len(requests) == pages + 1
    assert requests[nth].path == requests[nth + 1].path
    assert requests[nth].counted == requests[nth + 1].counted
    [line] = [line for line in said.splitlines() if "Trying again" in line]
    assert words in line
    assert line.startswith(("HTTP ", words))
    seconds = 7 if name == "429" else 1
    assert re.search(rf"[^.]\. Trying again in {seconds} s\.$", line)
    assert waits == [pytest.approx(seconds, abs=0.1)]
    assert "fewer than at the start" not in report


def test_an_outage_of_all_readers_is_one_line_a_wait(
    serve: Serve, extract: Extract, reference: list[bytes], monkeypatch: Patch
) -> None:
    """Though each fails in another way; all five fail at once, twice."""
    monkeypatch.setattr("conftest.SPEED", 4)  # so that none is late on a busy machine
    server = serve(ROWS, max_rows=10)
    all_are_there = threading.Barrier(5, timeout=10)

    def together(fault: Fault) -> Fault:
        def wait_and_fail(sock: socket.socket) -> None:
            all_are_there.wait()
            fault(sock)

        return wait_and_fail

    faults: dict[Place, Fault] = {
        (0, 0): together(recorded("database crashed")),
        (1, 0): together(recorded("database is down 1")),
        (2, 0): together(reset),
        (3, 0): together(http_reply(502)),
        (COUNT, 0): together(http_reply(504)),
    }
    faults |= {(who, 1): together(http_reply(503)) for who, _ in faults}
    fail(server, faults)
    assert announced(extract(server).err) == [1, 2]
    assert undated() == reference


def test_connection_refused_while_the_server_restarts(
    serve: Serve, extract: Extract, reference: list[bytes], monkeypatch: Patch
) -> None:
    server = serve(ROWS, max_rows=10)
    fail(server, {(2, 1): lambda sock: server.stop()})
    back: list[bool] = []

    async def wait(seconds: float) -> None:
        if seconds > 3.5 and not back:
            back.append(True)
            server.start()
        await asyncio.sleep(seconds / SPEED)

    monkeypatch.setattr(script, "sleep", wait)
    said = extract(server).err
    assert sorted(set(announced(said))) == [1, 2, 4]
    assert "No reply from 127.0.0.1 (ConnectError: All connection attempts" in said
    assert undated() == reference


@pytest.mark.parametrize(
    ("header", "seconds"),  # a real PostgREST says 0 while its database restarts
    [("0", 1), ("7", 7), ("60", 60), ("3600", 60), ("soon", 1)],
)
def test_retry_after_is_obeyed_up_to_a_minute(
    header: str, seconds: float, serve: Serve, extract: Extract, monkeypatch: Patch
) -> None:
    waits = []

    async def sleep(delay: float) -> None:
        waits.append(delay)

    monkeypatch.setattr(script, "sleep", sleep)
    server = serve(ROWS)
    fail(server, {(3, 0): http_reply(503, retry_after=header)})
    assert announced(extract(server).err) == [seconds]
    assert waits == [pytest.approx(seconds, abs=0.1)]


def test_a_reader_shares_a_wait_that_is_on_unless_it_is_too_short_for_it(
    monkeypatch: Patch, capsys: Capture
) -> None:
    clock, waits = [1000.0], []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(script, "monotonic", lambda: clock[0])
    monkeypatch.setattr(script, "sleep", sleep)
    client: Any = None  # a wait needs none
    table = script.VideoTable(client)

    def fail_at(second: float, seconds: float, retry_after: float = 0) -> None:
        clock[0] = 1000 + second
        error = script.TransientError(f"At {second} s", "", retry_after)
        asyncio.run(table.back_off(error, seconds))

    fail_at(0, 4)
    fail_at(1, 4)  # shares the first wait, for 3 s
    fail_at(2, 1)  # shares it, too, for 2 s
    fail_at(3, 1, retry_after=6)  # can't
    fail_at(5, 1)  # shares that of 6 s, for 4 s
    fail_at(8, 1, retry_after=4)  # shares it, too, but is asked to wait for longer
    fail_at(9, 2, retry_after=1)  # all are over; no server makes a wait shorter
    assert capsys.readouterr().err.splitlines() == [
        "At 0 s. Trying again in 4 s.",
        "At 3 s. Trying again in 6 s.",
        "At 9 s. Trying again in 2 s.",
    ]
    assert waits == [4, 3, 2, 6, 4, 4, 2]


def test_the_waits_grow_and_begin_again_with_each_page(
    serve: Serve, extract: Extract
) -> None:
    server = serve(ROWS, max_rows=10)
    fail(server, {(1, nth): http_reply(503) for nth in (0, 1, 2, 3, 5, 6, 7, 8)})
    assert announced(extract(server).err) == [1, 2, 4, 8, 1, 2, 4, 8]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (recorded("database is down 2"), "PGRST000: connection to server"),
        (recorded("database crashed"), "Error: HTTP 400 Bad Request. Gave up"),
        (reset, "Error: No reply from 127.0.0.1 (ReadError). Gave up"),
    ],
)
def test_a_server_that_stays_down_is_asked_five_times(
    fault: Fault, words: str, serve: Serve, fails: Fails, waits: list[float]
) -> None:
    server = serve(ROWS)
    server.fault_for = lambda request: fault
    said = fails(server)
    attempts = [len(requests) for requests in by_reader(server).values()]
    assert max(attempts) == 5
    assert sorted(set(announced(said))) == [1, 2, 4, 8]
    assert words in said
    assert ". Gave up after 5 attempts.\nCheck SUPABASE_URL and this machine's" in said
    assert max(waits) == pytest.approx(8, abs=0.1)


def test_a_statement_timeout_that_stays_is_no_outage(
    serve: Serve, fails: Fails
) -> None:
    server = serve(ROWS)
    server.fault_for = lambda request: recorded("statement timeout")
    said = fails(server)
    assert sorted(set(announced(said))) == [1, 2, 4, 8]
    assert ": 57014. Gave up after 5 attempts.\nThe database took longer" in said
    assert "has an index, or give the key's role a longer\nstatement_timeout.\n" in said


# --- Final faults


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gateway: wrong API key", "API key: Double check your Supabase `anon` or `se"),
        ("expired token", "Error: HTTP 401 Unauthorized: JWT expired: PGRST303.\nC"),
        ("role may not read the table", "permission denied for table scraped_videos: "),
        ("unknown table", "PGRST205: Perhaps you meant the table 'public.scraped_vid"),
        ("unknown column", "42703: Perhaps you meant to reference the column"),
        ("malformed uuid in a filter", "HTTP 400 Bad Request: invalid input syntax"),
    ],
)
def test_a_refusal_is_final_at_once(
    name: str, words: str, serve: Serve, fails: Fails, waits: list[float]
) -> None:
    server = serve(10)
    server.fault_for = lambda request: recorded(name)
    message = fails(server)
    assert words in message
    assert "..\n" not in message
    assert ".\nCheck that SUPABASE_URL and SUPABASE_SECRET_KEY belong to the" in message
    assert "the key may read the table" in message
    assert "has the columns in README.md." in message
    assert message.count("HTTP") == 1
    assert waits == []
    assert len(server.requests) <= 5  # one of each reader


def test_a_key_that_can_not_be_decoded_may_be_one_for_another_stack(
    serve: Serve, fails: Fails
) -> None:
    server = serve(10)
    server.fault_for = lambda request: recorded("token with a bad signature")
    message = fails(server)
    assert "wrong key type: PGRST301: None of the keys was able to decode" in message
    assert ".\nCheck that SUPABASE_SECRET_KEY belongs to the project of" in message
    assert "legacy service_role key, as SUPABASE_SERVICE_ROLE_KEY.\n" in message


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (403, b'{"message":"Forbidden"}', "HTTP 403 Forbidden: Forbidden.\n"),
        (404, b"<html>not here</html>", "HTTP 404 Not Found.\n"),
        (400, b"{}", "HTTP 400 Bad Request.\n"),
        (404, b'{"code":""}', "HTTP 404 Not Found.\n"),
        (400, b'{"code":"57P01"}', "HTTP 400 Bad Request: 57P01.\n"),
        (401, b'"Unauthorized"', "HTTP 401 Unauthorized.\n"),
    ],
)
def test_other_refusals_are_final_too(
    status: int, body: bytes, words: str, serve: Serve, fails: Fails
) -> None:
    server = serve(10)
    server.fault_for = lambda request: http_reply(status, body)
    assert words in fails(server)


def test_a_final_fault_in_one_range_ends_the_others(serve: Serve, fails: Fails) -> None:
    server = serve(ROWS, max_rows=10)
    server.fault_for = lambda request: (
        recorded("expired token") if reader(request) == 1 else hang(20)
    )
    started = time.monotonic()
    assert "JWT expired" in fails(server)
    assert time.monotonic() - started < 5


def test_what_the_server_says_is_one_line_that_can_not_show_the_key(
    serve: Serve, fails: Fails
) -> None:
    secret = "sb_secret_do-not-show-me"
    server = serve(10, key=secret)
    for length in range(416, 436, 2):  # until the last key no longer fits
        text = f"no\r\n\tkey {secret} " + "x " * (length // 2) + secret
        body = json.dumps({"message": text}).encode()
        server.fault_for = lambda request, body=body: http_reply(400, body)  # type: ignore[misc]
        message = fails(server)
        assert "Error: HTTP 400 Bad Request: no key [key] x x x" in message
        assert secret[:9] not in message
        assert len(message.splitlines()[0]) <= len("Error: .") + 500
    reply = f"{secret}\r\n\r\n".encode()  # in place of the status line
    server.fault_for = lambda request: lambda sock: sock.sendall(reply)
    message = fails(server)
    assert "[key]" in message
    assert secret not in message


def test_a_redirect_is_an_error_and_takes_the_key_nowhere(
    serve: Serve, fails: Fails
) -> None:
    server, other = serve(10), serve(10)
    for status in (301, 302, 303, 307, 308):
        location = f"{other.url}/rest/v1/scraped_videos"
        redirect = http_reply(status, location=location)
        server.fault_for = lambda request, fault=redirect: fault  # type: ignore[misc]
        message = fails(server)
        assert f"HTTP {status} " in message
        assert f": a redirect to {location} is not followed.\n" in message
    assert other.requests == []


def test_a_key_that_sees_no_rows(serve: Serve, fails: Fails) -> None:
    server = serve(10)
    server.fault_for = lambda request: recorded("row-level security hides every row")
    message = fails(server)
    assert "Error: No rows came from the table scraped_videos.\nCheck that" in message
    assert "a publishable (anon) key may see none" in flat(message)


@pytest.mark.parametrize("usable", [0, 1])
def test_too_few_usable_videos(usable: int, serve: Serve, fails: Fails) -> None:
    rows = [row(n, views=int(n <= usable)) for n in range(1, 11)]
    message = fails(serve(rows))
    assert f"Error: Of 10 rows in scraped_videos, {usable} can be used.\nAt" in message
    assert "Check that the columns views and duration_seconds are" in flat(message)


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
    assert session.timeout == script.TIMEOUT
    assert session.timeout.read
    assert session.timeout.read > 8
    assert not options.get("http2")
    assert not session.follow_redirects


@pytest.mark.parametrize(
    "setting",
    [
        *["ALL_PROXY=socks5://localhost:1", "HTTPS_PROXY=foo://x", "NO_PROXY=fd00::/8"],
        "SSL_CERT_FILE=/nowhere",
    ],
)
def test_a_proxy_or_certificates_that_can_not_be_used(
    setting: str, serve: Serve, extract: Extract, monkeypatch: Patch
) -> None:
    monkeypatch.setenv(*setting.split("="))
    said = extract(serve(10), code=2).err
    assert said.startswith("Error: The HTTP client can't be set up: ")
