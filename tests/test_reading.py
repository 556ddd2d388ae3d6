"""Reading: every row once, whoever writes and whatever fails.

An array of JSON that holds no rows is believed: a real server sends what was asked for.
"""

import asyncio
import re
import socket
import threading
import time
from typing import NamedTuple

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
    KEY,
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


def attempts(problem: str, *waits: int) -> str:
    """Return what the script says when it waits and tries again."""
    return "".join(f"{problem}. Trying again in {seconds} s.\n" for seconds in waits)


def failure(problem: str, advice: str) -> str:
    """Return what the script says when it gives up."""
    return f"Error: {problem}.\n{advice}\nNothing was written.\n"


# --- What is asked for


def test_what_is_asked_for(serve: Serve, extract: Extract) -> None:
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
    [count] = [request for request in server.requests if request.counted]
    small = {"select": ["id"], "archived_at": ["is.null"], "limit": ["1"]}
    assert count.query == small


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


@pytest.mark.parametrize(
    ("rows", "after"), [(0, []), (6, [3, 6]), (7, [3, 6, 7])], ids=str
)
def test_each_page_begins_after_the_last_id_and_only_an_empty_one_is_the_end(
    rows: int, after: list[int], serve: Serve, extract: Extract
) -> None:
    """A short page is not the end, and a full one may be the last with rows."""
    others = [make_row(n, quarter=3) for n in (1, 2)]
    server = serve([*others, *(make_row(n) for n in range(1, rows + 1))], max_rows=3)
    assert f"Read {rows + 2} rows" in extract(server).out
    assert cursors(server) == [None, *(make_row(n)["id"] for n in after)]


def test_the_ranges_and_the_count_are_asked_for_side_by_side(
    serve: Serve, extract: Extract
) -> None:
    """No first request is answered until all five have come."""
    server = serve(ROWS)
    all_five = threading.Barrier(5, timeout=10)

    def wait_for_the_others(sock: socket.socket) -> None:
        all_five.wait()
        http_reply(503)(sock)

    server.fault_for = lambda request: (
        wait_for_the_others if len(server.requests) <= 5 else None
    )
    extract(server)
    assert not all_five.broken


def test_no_range_waits_for_another(serve: Serve, extract: Extract) -> None:
    """The first one goes on only after the others have asked for their last pages."""
    rows = [make_row(n, quarter) for quarter in range(4) for n in range(1, 8)]
    server = serve(rows, max_rows=2)
    last_pages = threading.Semaphore(0)
    in_time: list[bool] = []

    def note_the_last_pages(request: Request) -> None:
        if request.above and request.above.endswith("7"):
            last_pages.release()

    def wait_for_the_others(sock: socket.socket) -> None:
        in_time.extend(last_pages.acquire(timeout=10) for _ in range(3))

    server.before_reply = note_the_last_pages
    fail_pages(server, {None: [wait_for_the_others]})
    extract(server)
    assert in_time == [True] * 3


def test_what_a_row_holds_reaches_the_features(serve: Serve, extract: Extract) -> None:
    metadata = {
        "bookmarks": 25,
        "followers": 40,
        "uploaded_at": "2026-01-17T05:37:35Z",
        "scraped_at": "2026-02-13T08:00:00Z",
    }
    rows = [make_row(1, metadata=metadata), make_row(2, metadata=None)]
    extract(serve(rows))
    names = ("saveRate", "viewsPerFollower", "hourPosted")
    assert sorted([vector[name] for name in names] for vector in vectors()) == [
        [0, 0, 0.5],
        [0.25, 0.05, 5 / 23],
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
    assert report.startswith("Read 8 rows, used 8.\nDropped: none.\n")
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
    not_read_up_to = {row["id"]: 10 * n for n, row in enumerate(there, 1)}

    def write(request: Request) -> None:
        for row in server.rows[:30]:  # Postgres moves an updated row
            server.rows.remove(row)
            server.rows.append(row | {"views": 200})
        number = not_read_up_to.pop(request.above or "", None)
        if number:
            quarter = number // 10 % 4
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
    report = extract(server).out
    assert report.startswith("Read 20 rows, used 20.\nDropped: none.\n")
    assert "\nCheck: 10 fewer than counted at the start" in report


NOT_COUNTED = "\nThe rows were not counted, so "


@pytest.mark.parametrize(
    "fault",
    [
        recorded("statement timeout"),
        recorded("expired token"),
        http_reply(200, b"<html>"),
        http_reply(200, b"[]"),
        http_reply(200, b"[]", content_range="*/many"),
        reset,
    ],
    ids=["transient", "final", "no array", "no count", "no number", "no reply"],
)
def test_a_count_that_fails_ends_no_run_and_is_asked_for_once(
    fault: Fault, serve: Serve, extract: Extract, reference: list[bytes]
) -> None:
    server = serve(ROWS, max_rows=10)
    fail_count(server, fault)
    report, said = extract(server)
    assert undated() == reference
    assert [request.counted for request in server.requests].count(True) == 1
    assert said == ""
    assert NOT_COUNTED in report


def test_the_run_waits_for_a_count_but_not_for_long(
    serve: Serve, extract: Extract, monkeypatch: Patch
) -> None:
    assert script.COUNT_TIMEOUT == 10  # seconds; Supabase cancels a query after 8
    server = serve(ROWS)

    def count_late(sock: socket.socket) -> None:
        time.sleep(0.3)
        http_reply(206, b"[]", content_range="0-0/999")(sock)

    fail_count(server, count_late)
    assert " fewer than counted at the start" in extract(server).out
    monkeypatch.setattr(script, "COUNT_TIMEOUT", 0.1)
    started = time.monotonic()
    fail_count(server, hang(20))
    assert NOT_COUNTED in extract(server).out
    assert time.monotonic() - started < 10


# --- Progress


def test_a_log_gets_no_progress(serve: Serve, extract: Extract) -> None:
    server = serve([make_row(n) for n in range(1, 51)], max_rows=10)
    assert extract(server).err == ""


@pytest.mark.parametrize(("status", "of_all"), [(200, " of 1,050"), (500, "")])
def test_a_terminal_has_one_line_of_progress_erased_before_a_message_and_the_report(
    status: int, of_all: str, serve: Serve, extract: Extract, monkeypatch: Patch
) -> None:
    """The first page fails after the count has come, or failed."""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    server = serve([make_row(n) for n in range(1, 1051)], max_rows=525)
    count = http_reply(status, b"[]", content_range="0-0/1050")

    def fail_late(sock: socket.socket) -> None:
        time.sleep(0.5)
        http_reply(503)(sock)

    first = {BORDERS[0]: fail_late}  # once
    server.fault_for = lambda request: (
        count if request.counted else first.pop(request.up_to or "", None)
    )
    lines = ["0 rows", "", f"525{of_all} rows", f"1,050{of_all} rows", ""]
    start, erased, *rest = [f"\r{line:40}\r" for line in lines]
    message = attempts("HTTP 503 Service Unavailable", 1)
    assert extract(server).err == "".join([start, erased, message, *rest])


# --- Requests that fail


class Known(NamedTuple):
    """A fault: how it is made, whether it is final, the advice, what the script says."""

    fault: Fault
    kind: str
    advice: str
    problem: str


FINAL, TRANSIENT = "final", "transient"
LOCAL_TOO = f"{script.WRONG_KEY}\n{script.LOCAL_KEY}"
NO_ARRAY = "The reply is not a JSON array"
NO_REPLY = "No usable reply from 127.0.0.1"
# fmt: off
FAULTS = {
    # What the server or a gateway replies
    "restricted project": Known(
        recorded("restricted project"), FINAL, script.RESTRICTED,
        "HTTP 402 Payment Required (exceed_egress_quota): Service for this project is "
        "restricted due to the following violations: exceed_egress_quota"),
    "role may not read the table": Known(
        recorded("role may not read the table"), FINAL, script.NO_GRANT,
        "HTTP 401 Unauthorized (42501): permission denied for table scraped_videos"),
    "role without a grant, with a hint": Known(
        recorded("role without a grant, with a hint"), FINAL, script.NO_GRANT,
        "HTTP 403 Forbidden (42501): permission denied for table scraped_videos: Grant "
        "the required privileges to the current role with: GRANT SELECT ON "
        "public.scraped_videos TO service_role;"),
    "wrong key": Known(
        recorded("gateway: wrong API key"), FINAL, script.WRONG_KEY,
        "HTTP 401 Unauthorized: Invalid API key: Double check your Supabase `anon` or "
        "`service_role` API key"),
    "expired token": Known(
        recorded("expired token"), FINAL, script.WRONG_KEY,
        "HTTP 401 Unauthorized (PGRST303): JWT expired"),
    "forbidden by a gateway": Known(
        http_reply(403, b'{"msg":"Forbidden"}'), FINAL, script.WRONG_KEY,
        "HTTP 403 Forbidden: Forbidden"),
    "token with a bad signature": Known(
        recorded("token with a bad signature"), FINAL, LOCAL_TOO,
        "HTTP 401 Unauthorized (PGRST301): No suitable key or wrong key type: None of "
        "the keys was able to decode the JWT"),
    "unknown path": Known(
        recorded("unknown path"), FINAL, script.CHECK_TABLE,
        "HTTP 404 Not Found: requested path is invalid"),
    "schema that is not exposed": Known(
        recorded("schema that is not exposed"), FINAL, script.CHECK_TABLE,
        "HTTP 406 Not Acceptable (PGRST106): Invalid schema: private: Only the "
        "following schemas are exposed: public"),
    "ids that are numbers": Known(
        recorded("ids that are numbers"), FINAL, script.CHECK_TABLE,
        "HTTP 400 Bad Request (22P02): invalid input syntax for type bigint: "
        '"00000000-0000-0000-0000-000000000000"'),
    "the last of the 4xx": Known(
        http_reply(499), FINAL, script.CHECK_TABLE, "HTTP 499"),
    "a choice between pages": Known(
        http_reply(300), FINAL, script.NOT_SUPABASE, "HTTP 300 Multiple Choices"),
    "a proxy's login": Known(
        http_reply(407, b"<html>"), FINAL, script.NO_REPLY,
        "HTTP 407 Proxy Authentication Required"),
    "request timeout": Known(
        http_reply(408), TRANSIENT, script.SERVER_DOWN, "HTTP 408 Request Timeout"),
    "too many requests": Known(
        http_reply(429), TRANSIENT, script.SERVER_DOWN, "HTTP 429 Too Many Requests"),
    "gateway: upstream is down": Known(
        recorded("gateway: upstream is down"), TRANSIENT, script.SERVER_DOWN,
        "HTTP 502 Bad Gateway"),
    "database is down": Known(
        recorded("database is down 1"), TRANSIENT, script.SERVER_DOWN,
        "HTTP 503 Service Unavailable (PGRST001): Database client error. Retrying the "
        "connection: no connection to the server"),
    "a code that looks like a status": Known(
        http_reply(503, b'{"code":401}'), TRANSIENT, script.SERVER_DOWN,
        "HTTP 503 Service Unavailable (401)"),
    "an empty code, but not with 400": Known(
        http_reply(404, b'{"code":""}'), FINAL, script.CHECK_TABLE,
        "HTTP 404 Not Found"),
    "database crashed": Known(
        recorded("database crashed"), TRANSIENT, script.SERVER_DOWN,
        "HTTP 400 Bad Request"),
    "Cloudflare's 520": Known(
        http_reply(520, b"error code: 520"), TRANSIENT, script.SERVER_DOWN, "HTTP 520"),
    "paused project": Known(
        recorded("paused project"), TRANSIENT, script.SERVER_DOWN,
        "HTTP 540: Project paused"),
    "statement timeout": Known(
        recorded("statement timeout"), TRANSIENT, script.TOO_SLOW,
        "HTTP 500 Internal Server Error (57014): canceling statement due to statement "
        "timeout"),
    "lock timeout": Known(
        http_reply(500, b'{"code":"55P03"}'), TRANSIENT, script.TOO_SLOW,
        "HTTP 500 Internal Server Error (55P03)"),
    "database over its limit": Known(
        recorded("database over its limit"), TRANSIENT, script.TOO_SLOW,
        "HTTP 544: The connection to the database timed out"),
    # What is no page
    "no body": Known(
        http_reply(200), TRANSIENT, script.NOT_SUPABASE, NO_ARRAY),
    "half of the JSON": Known(
        http_reply(200, b'[{"id": "1"}, {"id'), TRANSIENT, script.NOT_SUPABASE, NO_ARRAY),
    "a number too long for Python": Known(
        http_reply(200, b'[{"id": "1", "views": %s}]' % (b"9" * 5000)),
        TRANSIENT, script.NOT_SUPABASE, NO_ARRAY),
    "an object": Known(
        http_reply(200, b"{}"), TRANSIENT, script.NOT_SUPABASE, NO_ARRAY),
    "a body that decodes to nothing": Known(
        http_reply(200, b"\xff\xfe", content_type="text/html; charset=utf-16"),
        TRANSIENT, script.NOT_SUPABASE, NO_ARRAY),
    # No reply, or one that is broken
    "reset": Known(
        reset, TRANSIENT, script.NO_REPLY, f"{NO_REPLY} (ReadError)"),
    "closed": Known(
        socket.socket.close, TRANSIENT, script.NO_REPLY,
        f"{NO_REPLY} (RemoteProtocolError: Server disconnected without sending a "
        "response.)"),
    "cut off after as many bytes as a status of the proxy": Known(
        cut_off(b" " * 814), TRANSIENT, script.NO_REPLY,
        f"{NO_REPLY} (RemoteProtocolError: peer closed connection without sending "
        "complete message body (received 407 bytes, expected 814))"),
    "broken gzip": Known(
        http_reply(200, b"[]", content_encoding="gzip"), TRANSIENT, script.NO_REPLY,
        f"{NO_REPLY} (DecodingError: Error -3 while decompressing data: incorrect "
        "header check)"),
    "the key in place of the status line": Known(
        lambda sock: sock.sendall(f"{KEY}\r\n\r\n".encode()), TRANSIENT, script.NO_REPLY,
        f"{NO_REPLY} (RemoteProtocolError: illegal status line: bytearray(b'[key]'))"),
    "late": Known(
        hang(20), TRANSIENT, script.TOO_SLOW, f"{NO_REPLY} (ReadTimeout)"),
}
# fmt: on
PASSING = [name for name in FAULTS if FAULTS[name].kind == TRANSIENT and name != "late"]


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_final_at_once_or_met_five_times_and_then_explained(
    name: str, serve: Serve, fails: Fails, monkeypatch: Patch
) -> None:
    if name == "late":
        monkeypatch.setattr(script, "TIMEOUT", httpx.Timeout(10, read=0.5))
    fault, kind, advice, problem = FAULTS[name]
    announced = [] if kind == FINAL else [1, 2, 4, 8]
    server = serve(ROWS)
    fail_pages(server, {None: [fault] * 6})
    said = attempts(problem, *announced) + failure(problem, advice)
    assert fails(server) == said
    assert cursors(server) == [None] * (1 + len(announced))


@pytest.mark.parametrize("name", PASSING)
def test_a_transient_error_costs_one_request_and_nothing_else(
    name: str,
    serve: Serve,
    extract: Extract,
    reference: list[bytes],
    waits: list[float],
) -> None:
    """Once with each page: the first, those between, and the last, which is empty."""
    server = serve(ROWS, max_rows=10)
    fail_pages(server, {cursor: [FAULTS[name].fault] for cursor in CURSORS})
    report, said = extract(server)
    assert said == attempts(FAULTS[name].problem, 1)  # a message is printed once
    assert waits == [1] * len(CURSORS)
    assert undated() == reference
    assert cursors(server) == [cursor for cursor in CURSORS for _ in range(2)]
    assert "fewer than counted" not in report


def test_what_all_ranges_meet_is_said_once(
    serve: Serve, fails: Fails, waits: list[float]
) -> None:
    server = serve(ROWS)
    fail_always(server, http_reply(503))
    problem = "HTTP 503 Service Unavailable"
    said = attempts(problem, 1, 2, 4, 8) + failure(problem, script.SERVER_DOWN)
    assert fails(server) == said
    assert waits.count(1) == 4


def test_a_tls_connection_that_breaks_is_a_transient_error(
    serve: Serve, extract: Extract, fails: Fails, reference: list[bytes]
) -> None:
    """After the handshake: with the count and each page once, and then for good."""
    server = serve(ROWS, max_rows=10, secure=True)
    damaged_record = over_broken_tls(b"\x17\x03\x03\x00\x20" + bytes(32))
    left = [*CURSORS]

    def fault_for(request: Request) -> Fault | None:
        if request.up_to != BORDERS[0]:
            return damaged_record if request.counted else None
        if request.above not in left:
            return None
        left.remove(request.above)
        return damaged_record

    server.fault_for = fault_for
    said = extract(server).err
    assert re.fullmatch(
        rf"{NO_REPLY} \(SSLError: \[SSL.*\)\. Trying again in 1 s\.\n", said
    )
    assert undated() == reference
    assert left == []
    fail_always(server, damaged_record)
    assert fails(server).endswith(f").\n{script.NO_REPLY}\nNothing was written.\n")


def test_connection_refused_while_the_server_restarts(
    serve: Serve, extract: Extract, reference: list[bytes], monkeypatch: Patch
) -> None:
    """It is back after one and a half of the waits, which are 0.4 s each here."""
    monkeypatch.setattr(script, "RETRY_WAITS", [120] * 4)
    server = serve(ROWS, max_rows=10)

    def restart(sock: socket.socket) -> None:
        server.stop()
        threading.Timer(0.6, server.start).start()

    fail_pages(server, {CURSORS[1]: [restart]})
    refused = f"{NO_REPLY} (ConnectError: All connection attempts failed)"
    assert attempts(refused, 120) in extract(server).err
    assert undated() == reference


@pytest.mark.parametrize(
    ("header", "seconds"),  # a real PostgREST says 0 while its database restarts
    [("0", 1), ("7", 7), ("3600", 60), ("soon", 1)],
)
def test_a_longer_retry_after_is_obeyed_up_to_a_minute(
    header: str, seconds: int, serve: Serve, extract: Extract, waits: list[float]
) -> None:
    server = serve(ROWS)
    fail_pages(server, {None: [http_reply(429, retry_after=header)]})
    assert extract(server).err == attempts("HTTP 429 Too Many Requests", seconds)
    assert waits == [seconds]


def test_the_waits_grow_and_begin_again_with_each_page(
    serve: Serve, extract: Extract, waits: list[float]
) -> None:
    server = serve(ROWS, max_rows=10)
    fail_pages(server, {cursor: [http_reply(503)] * 4 for cursor in CURSORS[:2]})
    extract(server)
    assert waits == [1, 2, 4, 8, 1, 2, 4, 8]


def test_a_redirect_is_an_error_and_takes_the_key_nowhere(
    serve: Serve, fails: Fails, waits: list[float]
) -> None:
    server, other = serve(10), serve(10)
    location = f"{other.url}/rest/v1/scraped_videos"
    fail_always(server, http_reply(302, location=location))
    problem = f"HTTP 302 Found: not followed, a redirect to {location}"
    assert fails(server) == failure(problem, script.NOT_SUPABASE)
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
    assert said.endswith(f").\n{script.UNTRUSTED_CERTIFICATE}\nNothing was written.\n")
    assert waits == []
    OUTPUT.unlink()
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    extract(server)
    assert written()["trainSet"]["count"] == 8


@pytest.mark.parametrize(
    ("scheme", "status", "problem", "kind"),
    [
        ("http", 407, "HTTP 407 Proxy Authentication Required", FINAL),
        ("https", 407, "ProxyError: 407 Proxy Authentication Required", FINAL),
        ("https", 403, "ProxyError: 403 Forbidden", TRANSIENT),
        ("https", 502, "ProxyError: 502 Bad Gateway", TRANSIENT),
    ],
)
def test_a_proxy_that_wants_a_login_or_does_not_work(
    scheme: str,
    status: int,
    problem: str,
    kind: str,
    serve: Serve,
    fails: Fails,
    waits: list[float],
    monkeypatch: Patch,
) -> None:
    """It answers a request over http itself, and refuses a tunnel for https."""
    proxy, server = serve(10), serve(10)
    fail_always(proxy, http_reply(status))
    server.url = server.url.replace("http:", f"{scheme}:")
    monkeypatch.setenv(f"{scheme.upper()}_PROXY", proxy.url)
    if scheme == "https":
        problem = f"{NO_REPLY} ({problem})"
    said = "" if kind == FINAL else attempts(problem, 1, 2, 4, 8)
    assert fails(server) == said + failure(problem, script.NO_REPLY)
    assert (waits == []) == (kind == FINAL)
    assert server.requests == []


def test_a_final_fault_in_one_range_ends_the_others(serve: Serve, fails: Fails) -> None:
    server = serve(ROWS, max_rows=10)
    server.fault_for = lambda request: (
        recorded("expired token") if request.above == BORDERS[1] else hang(60)
    )
    started = time.monotonic()
    assert "JWT expired" in fails(server)
    assert time.monotonic() - started < 20


ROOM = "x" * (500 - len("HTTP 400 Bad Request: "))


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b'{"message":"oops. ","details":"why\\n","hint":"how"}', ": oops: why: how"),
        (b'{"msg":"3","error":"2","message":"1"}', ": 1"),
        (b'{"msg":"3","error":"2"}', ": 2"),
        (b'{"error":{"id":1}}', ": {'id': 1}"),
        (b"{}", ""),
        (b"5", ""),
        (b'{"message":"key %s."}' % KEY.encode(), ": key [key]"),
        # It is masked before the text is cut.
        (f'{{"message":"{ROOM[:-13]}{KEY}"}}'.encode(), f": {ROOM[:-13]}[key]"),
        (f'{{"message":"{ROOM}"}}'.encode(), f": {ROOM}"),
        (f'{{"message":"{ROOM}x"}}'.encode(), f": {ROOM[:-6]} [...]"),
        (
            rb'{"message":"no\r\n\tline\u001b[2J\u009bHAll well.\u001b[8m \u202eback\u0000"}',
            ": no line [2J HAll well. [8m back",
        ),
        (rb'{"message":"All is lost.\u0007"}', ": All is lost"),
    ],
)
def test_what_a_server_says_is_shown_as_one_plain_line_without_the_key(
    body: bytes, shown: str, serve: Serve, fails: Fails
) -> None:
    server = serve(10)
    fail_always(server, http_reply(400, body))
    problem = f"HTTP 400 Bad Request{shown}"
    assert fails(server) == failure(problem, script.CHECK_TABLE)


# --- Too few rows


@pytest.mark.parametrize(
    ("rows", "counts"),
    [
        ([], "0 of 0"),
        ([make_row(1)], "1 of 1"),
        (
            [make_row(1), make_row(2, views=0), make_row(3, platform_video_id="")],
            "1 of 3, 1 without video ID, 1 without views",
        ),
        (
            [make_row(n, duration_seconds=None) for n in range(1001)],
            "0 of 1,001, 1,001 without duration",
        ),
    ],
    ids=["none", "one", "some", "thousands"],
)
def test_too_few_rows(rows: list[Row], counts: str, serve: Serve, fails: Fails) -> None:
    problem = f"Too few rows in scraped_videos can be used: {counts}"
    assert fails(serve(rows)) == failure(problem, script.TOO_FEW)


def test_two_videos_are_enough(serve: Serve, extract: Extract) -> None:
    extract(serve([make_row(1), make_row(2)]))
    assert (written()["trainSet"]["count"], written()["testSet"]["count"]) == (1, 1)


# --- The HTTP client


def test_it_waits_longer_than_a_query_may_take() -> None:
    client = asyncio.run(script.new_client(httpx.URL("http://127.0.0.1:9"), "key"))
    assert client.session.timeout == httpx.Timeout(30, connect=10)


def test_it_speaks_http_1_1_though_the_server_prefers_http_2(
    serve: Serve, extract: Extract
) -> None:
    extract(serve(ROWS, secure=True))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALL_PROXY", "socks5://localhost:1"),  # its package is not there
        ("HTTPS_PROXY", "foo://x"),
        ("NO_PROXY", "fd00::/8"),
        ("SSL_CERT_FILE", "/nowhere"),
        ("SUPABASE_URL", "http://localhost:65536"),
    ],
)
def test_a_connection_that_can_not_be_set_up(
    name: str, value: str, capsys: Capture, monkeypatch: Patch
) -> None:
    environ = {"SUPABASE_URL": "http://127.0.0.1:9", "SUPABASE_SECRET_KEY": "key"}
    for setting in (environ | {name: value}).items():
        monkeypatch.setenv(*setting)
    assert script.main([]) == 2
    said = capsys.readouterr().err.splitlines(keepends=True)
    assert said[0].startswith("Error: No connection can be set up: ")
    assert not said[0].endswith("..\n")
    assert "".join(said[1:]) == f"{script.CHECK_PROXY}\nNothing was written.\n"


# --- What the advice must tell

# fmt: off
TOLD = {
    "RESTRICTED": "quota; bill; Usage and Billing in the dashboard",
    "NO_GRANT": "no grant on the table; publishable; secret key needs grants; since 2026; "
    "new tables; SQL editor; grant usage on schema public to service_role; "
    "grant select on public.scraped_videos to service_role; another table",
    "WRONG_KEY": "doesn't belong to the project; expired; been revoked; end of 2026; "
    "Project Settings > API Keys; environment wins",
    "LOCAL_KEY": "local stack; SUPABASE_SERVICE_ROLE_KEY",
    "CHECK_TABLE": "URL of a Supabase project; schema public; README.md; uuid or text; "
    "Data API exposes this schema; this SQL; notify pgrst, 'reload schema'",
    "UNTRUSTED_CERTIFICATE": "not trusted; proxy; self-hosted; SSL_CERT_FILE; authority; "
    "expired; not yet valid; clock",
    "NOT_SUPABASE": "not a Supabase project; login page; proxy; abcdefgh.supabase.co",
    "NO_REPLY": "Is SUPABASE_URL right; online; *_PROXY; paused; restored in the dashboard",
    "SERVER_DOWN": "connection work; paused; restarting; status.supabase.com; again in a",
    "TOO_SLOW": "too slow for a page; index on the column id; lock on scraped_videos; "
    "Max rows; waits for 30 s; statement_timeout = '25s'; 'reload config'",
    "TOO_FEW": "archived_at is null; views, duration_seconds and platform_video_id; "
    "not money, an interval; row-level security; use a secret key",
    "CHECK_PROXY": "HTTPS_PROXY; SSL_CERT_FILE; port in SUPABASE_URL",
    "SETTINGS": "SUPABASE_URL=https://abcdefgh.supabase.co; SUPABASE_SECRET_KEY=sb_; "
    "Two settings; .env.example to .env; looked for in",
    "PUBLISHABLE_KEY": "publishable (anon); Row-level security; part of the table; sb_secret",
    "BASELINE_FORM": "JSON; virality_tiers; weighted_score_threshold.min; --baseline",
    "ELSEWHERE": "--output; folder; disk space",
    "SAVE_AS_UTF_8": "readable; UTF-8; UTF-16",
}
# fmt: on


@pytest.mark.parametrize("name", TOLD)
def test_what_an_advice_must_tell(name: str) -> None:
    advice = getattr(script, name)
    told = TOLD[name].split("; ")
    assert [words for words in told if words not in flat(advice)] == []
    paths_aside = advice.replace(str(script.HERE), "")
    assert max(map(len, paths_aside.splitlines())) <= 80
