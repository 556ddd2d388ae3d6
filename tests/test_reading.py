"""Reading: every row once, whoever writes and whatever fails, or a plain end."""

import gc
import json
import re
import socket
import time
import uuid
from collections import defaultdict

import httpx
import pytest
from conftest import (
    OUTPUT,
    Extract,
    Patch,
    Serve,
    Start,
    durations,
    row,
    settings,
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
LASTS = [f"{digit}{'fffffff-ffff-ffff-ffff-ffffffffffff'}" for digit in "37bf"]
COLUMNS = (
    "id,platform,platform_video_id,description,views,likes,shares,comments,sound_name,"
    "hashtags,duration_seconds,bookmarks:metadata->bookmarks,"
    "followers:metadata->followers,uploaded_at:metadata->uploaded_at"
)
ROWS = sample_videos(120, seed=3)  # about 30 in each range


def by_range(server: LocalSupabase) -> dict[int, list[Request]]:
    """Return the requests for each quarter of the ids, in their order."""
    ranges = defaultdict(list)
    for request in server.requests:
        ranges[request.place[0]].append(request)
    return ranges


def counted(request: Request) -> bool:
    """Return whether a request asked for the exact count."""
    return request.headers.get("prefer") == "count=exact"


# --- What is asked for


def test_a_request_is_for_1000_rows_of_a_range_in_the_order_of_id(
    serve: Serve, extract: Extract
) -> None:
    server = serve(2500)
    extract(server)
    for request in server.requests:
        assert request.query["limit"] == ["1000"]
        assert request.query["order"] == ["id.asc"]
        assert request.query["archived_at"] == ["is.null"]
        assert "offset" not in request.query
        [columns] = request.query["select"]
        assert sorted(columns.split(",")) == sorted(COLUMNS.split(","))


def test_four_equal_ranges_are_read_each_after_the_last_id_seen(
    serve: Serve, extract: Extract
) -> None:
    rows = [row(n, quarter) for quarter in range(4) for n in range(1, 8)]
    server = serve(rows, max_rows=3)
    extract(server)
    assert sorted(by_range(server)) == [0, 1, 2, 3]
    for quarter, requests in by_range(server).items():
        ids = [request.query["id"] for request in requests]
        starts = [str(uuid.UUID(int=(quarter << 126) + n)) for n in (3, 6, 7)]
        starts[:0] = [LASTS[quarter - 1]] if quarter else []
        asked = [[f"lte.{LASTS[quarter]}", f"gt.{after}"] for after in starts]
        assert ids == (asked if quarter else [[f"lte.{LASTS[0]}"], *asked])


def test_the_four_ranges_are_read_side_by_side(serve: Serve, extract: Extract) -> None:
    """The second is not answered until the others have asked for their third pages."""
    server = serve([row(n, q) for q in range(4) for n in range(1, 7)], max_rows=2)
    others, came = {(0, 2), (2, 2), (3, 2)}, []

    def wait_for_the_others(sock: socket.socket) -> None:
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and not came:
            if others <= {request.place for request in server.requests}:
                came.append(True)
            time.sleep(0.01)

    server.faults[1, 0] = wait_for_the_others  # and closes; it is asked again
    extract(server)
    assert came


def test_the_count_is_asked_for_at_first_and_where_the_end_is_due(
    serve: Serve, extract: Extract
) -> None:
    server = serve([row(n) for n in range(1, 11)], max_rows=4)
    extract(server)
    assert list(map(counted, by_range(server)[0])) == [True, False, False, True]
    assert list(map(counted, by_range(server)[1])) == [True]


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
    unknown = (0, 0, 0.5, 0, 0.5, 0.5)
    assert sorted((v["saveRate"], *list(v.values())[10:]) for v in vectors()) == [
        unknown,
        unknown,
        (0.25, 1, 0.1, 0.05, 1, 5 / 23),
    ]


# --- Every row once


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file for ROWS as the script writes it undisturbed."""
    folder = tmp_path_factory.mktemp("reference")
    with LocalSupabase(ROWS) as server, pytest.MonkeyPatch.context() as patch:
        for name, value in settings(server).items():
            patch.setenv(name, value)
        patch.setenv("SOURCE_DATE_EPOCH", "1771266144")
        assert script.main(["--output", str(folder / "reference.json")]) == 0
    return (folder / "reference.json").read_bytes()


@pytest.mark.parametrize("cap", [2, 7, 29, 1000])
def test_a_short_page_is_not_the_end(
    cap: int, serve: Serve, extract: Extract, reference: bytes
) -> None:
    extract(serve(ROWS, max_rows=cap))
    assert OUTPUT.read_bytes() == reference


def test_the_same_file_for_other_ids_not_evenly_spread(
    serve: Serve, extract: Extract, reference: bytes
) -> None:
    rows = [video | {"id": row(n)["id"]} for n, video in enumerate(reversed(ROWS))]
    extract(serve(rows, max_rows=50))
    assert OUTPUT.read_bytes() == reference


def test_the_same_file_for_another_hash_seed_in_another_process(
    serve: Serve, start: Start, reference: bytes
) -> None:
    environ = settings(serve(ROWS)) | {"SOURCE_DATE_EPOCH": "1771266144"}
    assert start(PYTHONHASHSEED="12345", **environ).wait() == 0
    assert OUTPUT.read_bytes() == reference


def test_ids_at_the_borders_of_the_ranges(serve: Serve, extract: Extract) -> None:
    rows = [row(0, duration_seconds=9)]
    for quarter in range(4):
        ends = (row(1, quarter)["id"][:1] + "0" * 7 + row(0)["id"][8:], LASTS[quarter])
        for number, id_ in enumerate(ends, start=10 * quarter + 10):
            rows.append(row(number, id=id_, duration_seconds=number))
    rows = list({video["id"]: video for video in rows}.values())
    extract(serve(rows))
    assert durations() == [10, 11, 20, 21, 30, 31, 40, 41]


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
        after = request.query["id"][-1]
        if request.place[1] in range(1, 5):
            last, quarter = uuid.UUID(after.removeprefix("gt.")).int, request.place[0]
            number = last - (quarter << 126)
            server.rows.append(
                row(number - 1, quarter, duration_seconds=150)
            )  # too late
            server.rows.append(
                row(number + 1, quarter, duration_seconds=160)
            )  # in time
            leaving = next(r for r in server.rows if r["duration_seconds"] == 120)
            leaving["archived_at"] = ARCHIVED
            leaving["duration_seconds"] = 130

    server.before_reply = write
    assert "duplicated" not in extract(server)
    found = [n for n in durations() if n != 120]
    assert found == [*range(1, 101), *[160] * 16]


def test_fewer_rows_than_counted_are_no_error_but_said(
    serve: Serve, extract: Extract
) -> None:
    server = serve([row(n) for n in range(1, 31)], max_rows=10)

    def archive(request: Request) -> None:
        if request.place == (0, 1):
            for video in server.rows[-11:]:
                video["archived_at"] = ARCHIVED

    server.before_reply = archive
    said = extract(server)
    assert list(map(counted, by_range(server)[0])) == [True, False, False, True]
    assert "Read 19 rows, used 19.\nDropped: none.\n11 fewer than at the start:" in said


@pytest.mark.parametrize(("cap", "nth"), [(10, 3), (1000, 1)])
def test_more_rows_than_counted_are_read(
    cap: int, nth: int, serve: Serve, extract: Extract
) -> None:
    server = serve([row(n) for n in range(1, 31)], max_rows=cap)

    def insert(request: Request) -> None:
        if request.place == (0, nth):
            server.rows += [row(n) for n in range(31, 43)]

    server.before_reply = insert
    extract(server)
    assert len(durations()) == 42


def test_an_empty_page_without_a_count_is_not_the_end(
    serve: Serve, extract: Extract, waits: list[float]
) -> None:
    """A server that hiccups, and one that sends nothing at all with status 200."""
    for lie in (http_reply(200, b"[]"), http_reply(200)):
        server = serve([row(n) for n in range(1, 31)], max_rows=10)
        server.faults[0, 1] = lie
        extract(server)
        assert len(durations()) == 30
        assert list(map(counted, by_range(server)[0])) == [
            True,
            False,
            True,
            False,
            True,
        ]
        assert waits == []


def test_a_reply_is_freed_at_once(serve: Serve, extract: Extract) -> None:
    """It is half a megabyte, and the garbage collector, which costs time, is off."""
    gc.enable()
    gc.collect()
    extract(serve(ROWS, max_rows=10))
    assert not gc.isenabled()
    assert [some for some in gc.get_objects() if type(some) is httpx.Response] == []


# --- Progress


def test_a_log_has_a_handful_of_lines_of_progress(
    serve: Serve, extract: Extract
) -> None:
    said = extract(serve([row(n) for n in range(1, 2001)], max_rows=50))
    shown = [
        int(read.replace(",", ""))
        for read in re.findall(r"([\d,]+) of 2,000 rows\n", said)
    ]
    assert 5 <= len(shown) <= 6  # the other ranges, which are empty, may come first
    assert shown == list(range(shown[0], 2001, 400))
    assert "\r" not in said


def test_the_total_is_shown_once_all_ranges_are_counted(
    serve: Serve, extract: Extract
) -> None:
    server = serve([row(n, quarter) for quarter in range(4) for n in range(1, 11)])
    server.faults[2, 0] = http_reply(503)
    server.before_reply = lambda request: time.sleep(0.7 * (request.place == (2, 0)))
    said = extract(server)
    lines = said.splitlines()
    assert (
        lines[0] == "HTTP 503 Service Unavailable, after 30 rows. Trying again in 1 s."
    )
    assert lines[1] == "40 of 40 rows"


def test_a_terminal_has_one_line_of_progress_that_gives_way(
    serve: Serve, extract: Extract, monkeypatch: Patch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    server = serve([row(n) for n in range(1, 51)], max_rows=10)
    server.faults[0, 2] = http_reply(503)
    said = extract(server)
    for read in (20, 30, 40, 50):  # 10 unless another range is late
        assert f"\r{read} of 50 rows\r" in said
    screen = [line.split("\r")[-1] for line in said.split("\n")]
    assert screen[0].startswith("HTTP 503 Service Unavailable, after 20 rows.")
    assert screen[1] == "Read 50 rows, used 50."
    blanks = re.findall(r"\r( +)\r", said)
    assert min(map(len, blanks)) >= len("1,000,719 of 1,000,719 rows")


# --- Faults that may pass


def ids_reply(*ids: str) -> Fault:
    """Answer with rows that have these ids and nothing else."""
    return http_reply(200, json.dumps([{"id": id_} for id_ in ids]).encode())


NO_ROWS = "The reply is not a JSON array of rows"
NO_ORDER = "The reply's rows are not in order or not in their range"
NO_COUNT = "The reply is empty, or lacks the count of the rows"
FAULTS: dict[str, tuple[Fault, str]] = {  # what happens, and what the script says
    "408": (http_reply(408), "HTTP 408 Request Timeout"),
    "429": (http_reply(429, retry_after="7"), "HTTP 429 Too Many Requests"),
    "500": (http_reply(500, b'{"message":"oops"}'), "Internal Server Error: oops"),
    "502": (recorded("gateway: upstream is down"), "HTTP 502 Bad Gateway"),
    "503": (recorded("database is down 0"), "terminating connection"),
    "503 later": (recorded("database is down 1"), "PGRST001: no connection to the"),
    "503 still": (recorded("database is down 2"), "Connection refused"),
    "504": (http_reply(504, b"upstream request timeout"), "HTTP 504 Gateway Timeout"),
    "520": (http_reply(520, b"error code: 520"), "HTTP 520"),
    "crashed": (recorded("database crashed"), "HTTP 400 Bad Request"),
    "57014": (recorded("statement timeout"), "canceling statement due to statement"),
    "57014 as 400": (http_reply(400, b'{"code": "57014"}'), "Bad Request: 57014"),
    "reset": (reset, "No reply from 127.0.0.1: "),
    "closed": (socket.socket.close, "No reply from 127.0.0.1: "),
    "cut off": (cut_off(b'[{"id": "1"}, {"id": "2"}]'), "No reply from 127.0.0.1: "),
    "hang": (hang(20), "No reply from 127.0.0.1: timed out"),
    "half the JSON": (http_reply(200, b'[{"id": "1"}, {"id'), NO_ROWS),
    "no JSON": (http_reply(200, b"<html>Hello</html>"), NO_ROWS),
    "an object": (http_reply(200, b'{"id": "1"}'), NO_ROWS),
    "null": (http_reply(200, b"null"), NO_ROWS),
    "too deep": (http_reply(200, b"[" * 100_000), NO_ROWS),
    "numbers": (http_reply(200, b"[1, 2, 3]"), NO_ROWS),
    "no id": (http_reply(200, b'[{"id": "1"}, {"views": 1}]'), NO_ROWS),
    "a number as id": (http_reply(200, b'[{"id": 1}]'), NO_ROWS),
    "another order": (ids_reply(LASTS[1], LASTS[0]), NO_ORDER),
    "a row twice": (ids_reply(LASTS[1], LASTS[1]), NO_ORDER),
    "a row before": (ids_reply(LASTS[0]), NO_ORDER),
    "a row behind": (ids_reply(LASTS[2]), NO_ORDER),
}
COUNT_FAULTS: dict[str, tuple[Fault, str]] = {  # where the count is asked for
    "no count": (http_reply(200, b"[]"), NO_COUNT),
    "an unknown count": (http_reply(200, b"[]", content_range="*/*"), NO_COUNT),
    "rows without a count": (ids_reply(LASTS[1]), NO_COUNT),
    "nothing, of many": (http_reply(200, b"[]", content_range="*/5"), NO_COUNT),
    "no body": (http_reply(200), NO_COUNT),
    "no number": (http_reply(200, b"[]", content_range="*/many"), NO_ROWS),
}
PLACES = {"first": 0, "middle": 2, "end": -1}
AT_PLACES = [(name, place) for name in FAULTS for place in PLACES]
AT_PLACES += [(name, place) for name in COUNT_FAULTS for place in ("first", "end")]


@pytest.mark.parametrize(("name", "place"), AT_PLACES)
def test_a_passing_fault_costs_one_request_and_nothing_else(
    name: str,
    place: str,
    serve: Serve,
    extract: Extract,
    reference: bytes,
    waits: list[float],
    monkeypatch: Patch,
) -> None:
    rows = [video for video in ROWS if not video["archived_at"]]
    pages = -(-sum(LASTS[0] < video["id"] <= LASTS[1] for video in rows) // 10) + 1
    monkeypatch.setattr(script, "TIMEOUT", httpx.Timeout(0.4))
    fault, words = (FAULTS | COUNT_FAULTS)[name]
    server = serve(ROWS, max_rows=10)
    at = PLACES[place] % pages
    server.faults[1, at] = fault
    said = extract(server)
    assert OUTPUT.read_bytes() == reference
    requests = by_range(server)[1]
    assert len(requests) == pages + 1
    assert requests[at].path == requests[at + 1].path
    assert requests[at].headers["prefer"] == requests[at + 1].headers["prefer"]
    assert "duplicated" not in said
    [line] = [line for line in said.splitlines() if "Trying again" in line]
    assert words in line
    wait = 7 if name == "429" else 1
    assert re.search(rf"\S, after \d+ rows\. Trying again in {wait} s\.$", line)
    assert waits == [wait]


def test_an_outage_of_all_ranges_is_one_line_and_one_wait(
    serve: Serve, extract: Extract, waits: list[float]
) -> None:
    """Whatever the texts; the longest wait that a reply asks for counts for all."""
    server = serve(ROWS, max_rows=10)
    server.faults = {
        (0, 0): recorded("database crashed"),
        (1, 0): recorded("database is down 1"),
        (2, 0): http_reply(429, retry_after="5"),
        (3, 0): reset,
    }
    said = extract(server)
    assert waits == [5]
    assert said.count("Trying again") == 1


def test_while_an_outage_lasts_no_page_is_asked_for(
    serve: Serve, extract: Extract, monkeypatch: Patch, reference: bytes
) -> None:
    server = serve(ROWS, max_rows=1)  # some 30 requests a range
    server.faults = {(1, nth): http_reply(503) for nth in (1, 2)}
    asked = []

    def sleep(seconds: float) -> None:
        for _ in range(2):
            asked.append(len(server.requests))
            time.sleep(0.1)

    monkeypatch.setattr(script, "sleep", sleep)
    extract(server)
    assert asked[0] == asked[1] < asked[2] == asked[3] < 40
    assert OUTPUT.read_bytes() == reference


def test_connection_refused_while_the_server_restarts(
    serve: Serve, extract: Extract, reference: bytes, monkeypatch: Patch
) -> None:
    server, waited = serve(ROWS, max_rows=10), []
    server.faults[2, 1] = lambda sock: server.stop()

    def wait(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            server.start()

    monkeypatch.setattr(script, "sleep", wait)
    said = extract(server)
    assert waited == [1, 2, 4]
    assert said.count("Connection refused") >= 2
    assert OUTPUT.read_bytes() == reference


@pytest.mark.parametrize(
    ("header", "wait"),  # a real PostgREST says 0 while its database restarts
    [("0", 1), ("7", 7), ("60", 60), ("3600", 60), ("-5", 1), ("soon", 1)],
)
def test_retry_after_is_obeyed_up_to_a_minute(
    header: str, wait: float, serve: Serve, extract: Extract, waits: list[float]
) -> None:
    server = serve(ROWS)
    server.faults[3, 0] = http_reply(503, retry_after=header)
    extract(server)
    assert waits == [wait]


def test_the_waits_grow_and_begin_anew_with_each_page(
    serve: Serve, extract: Extract, waits: list[float]
) -> None:
    server = serve(ROWS, max_rows=10)
    for nth in (0, 1, 2, 3, 5, 6, 7, 8):
        server.faults[1, nth] = http_reply(503)
    extract(server)
    assert waits == [1, 2, 4, 8, 1, 2, 4, 8]


@pytest.mark.parametrize(
    "fault", [http_reply(503), recorded("database crashed"), reset]
)
def test_a_server_that_stays_down_is_asked_five_times_by_each_range(
    fault: Fault, serve: Serve, extract: Extract, waits: list[float]
) -> None:
    server = serve(ROWS)
    server.default_fault = fault
    said = extract(server, code=1)
    assert sorted(request.place for request in server.requests) == [
        (quarter, nth) for quarter in range(4) for nth in range(5)
    ]
    assert waits == [1, 2, 4, 8]
    assert said.count("Trying again") == 4
    assert ", after 0 rows and 5 attempts.\nIs SUPABASE_URL a Supabase proj" in said
    assert said.endswith("\nNothing was written.\n")


def test_timeouts_are_set_and_longer_than_a_query_may_take() -> None:
    timeout = script.connect("http://127.0.0.1:9", "key").session.timeout
    assert timeout == script.TIMEOUT
    assert 8 < timeout.read <= 60
    assert 0 < timeout.connect <= timeout.read / 2


# --- Faults that last


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gateway: wrong API key", "401 Unauthorized: Invalid API key: Double check"),
        ("expired token", "Error: HTTP 401 Unauthorized: JWT expired: PGRST303.\nAre"),
        ("token with a bad signature", "wrong key type: PGRST301: None of the keys"),
        (
            "role may not read the table",
            "permission denied for table scraped_videos: 4",
        ),
        ("unknown table", "PGRST205: Perhaps you meant the table 'public.scraped_vid"),
        ("unknown column", "42703: Perhaps you meant to reference the column"),
        (
            "malformed uuid in a filter",
            "HTTP 400 Bad Request: invalid input syntax for",
        ),
    ],
)
def test_a_refusal_is_final_at_once_and_read_once(
    name: str, words: str, serve: Serve, fails: Extract, waits: list[float]
) -> None:
    server = serve(10)
    server.default_fault = recorded(name)
    message = fails(server)
    assert words in message
    assert "Are SUPABASE_URL and SUPABASE_SECRET_KEY those of the project" in message
    assert "has the columns in README.md?" in message
    assert message.count("HTTP") == 1
    assert waits == []
    assert len(server.requests) <= 4


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (403, b'{"message":"Forbidden"}', "HTTP 403 Forbidden: Forbidden.\n"),
        (404, b"<html>not here</html>", "HTTP 404 Not Found.\n"),
        (400, b'{"code":"PGRST100"}', "HTTP 400 Bad Request: PGRST100.\n"),
        (400, b"{}", "HTTP 400 Bad Request.\n"),
        (404, b'{"code":""}', "HTTP 404 Not Found.\n"),
        (400, b'{"code":"57P01"}', "HTTP 400 Bad Request: 57P01.\n"),
        (425, b"12", "HTTP 425 Too Early.\n"),
        (422, b"[" * 100_000, "HTTP 422 Unprocessable"),
        (402, b'{"message": null, "hint": {"a": 1}}', "Required: {'a': 1}.\n"),
    ],
)
def test_other_refusals_are_final_too(
    status: int, body: bytes, words: str, serve: Serve, fails: Extract
) -> None:
    server = serve(10)
    server.default_fault = http_reply(status, body)
    assert words in fails(server)


def test_a_final_fault_in_one_range_ends_the_others(
    serve: Serve, fails: Extract
) -> None:
    server = serve(ROWS, max_rows=10)
    server.faults[1, 0] = recorded("expired token")
    for quarter in (0, 2, 3):
        server.faults[quarter, 0] = hang(20)
    started = time.monotonic()
    assert "JWT expired" in fails(server)
    assert time.monotonic() - started < 5


def test_what_the_server_says_can_not_show_the_key_or_steer_the_terminal(
    serve: Serve, extract: Extract, fails: Extract
) -> None:
    secret = "sb_secret_do_not_show_me"
    server = serve(10, key=secret)
    for length in range(380, 480, 10):  # until the last key no longer fits
        text = f"\x1b[2Jno\r\nkey {secret}\u202e " + "x" * length + secret
        server.default_fault = http_reply(400, json.dumps({"message": text}).encode())
        message = fails(server)
        assert " [2Jno  key [key]  xxx" in message
        assert secret[:9] not in message
        assert len(message.splitlines()[0]) <= len("Error: .") + 500
    reply = f"{secret}\x1b[2J\r\n\r\n".encode()  # in place of the status line
    server.default_fault = lambda sock: sock.sendall(reply)
    message = extract(server, code=1)
    assert "[key]" in message
    assert "\x1b" not in message
    assert secret not in message


def test_a_redirect_is_an_error_and_takes_the_key_nowhere(
    serve: Serve, fails: Extract
) -> None:
    server, other = serve(10), serve(10)
    for status in (301, 302, 303, 307, 308):
        location = f"{other.url}/rest/v1/scraped_videos"
        server.default_fault = http_reply(status, location=location)
        message = fails(server)
        assert f"HTTP {status} " in message
        assert f": redirected to {location}, but not followed.\n" in message
    assert other.requests == []


def test_a_key_that_sees_no_rows(serve: Serve, fails: Extract) -> None:
    server = serve(10)
    server.default_fault = recorded("row-level security hides every row")
    message = fails(server)
    assert "0 rows in scraped_videos, 0 of them usable: two are needed.\n" in message
    assert "a publishable (anon) key may see none" in message


@pytest.mark.parametrize("usable", [0, 1])
def test_too_few_usable_videos(usable: int, serve: Serve, fails: Extract) -> None:
    rows = [row(n, views=int(n <= usable)) for n in range(1, 11)]
    message = fails(serve(rows))
    assert f"10 rows in scraped_videos, {usable} of them usable: two are" in message
    assert "Are the columns views and duration_seconds filled?" in message


def test_two_videos_are_enough(serve: Serve, extract: Extract) -> None:
    extract(serve([row(1), row(2)]))
    assert (written()["trainSet"]["count"], written()["testSet"]["count"]) == (1, 1)


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
    said = extract(serve(10), code=2)
    assert "Error: Wrong *_PROXY, SSL_CERT_FILE or URL's port: " in said
