"""Faults that pass: the run goes on, and says so; the file is that of a clean run."""

import gzip
import json
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import httpx
import pytest
from local_supabase import Fault, LocalSupabase, cut_off, hang, http_reply, reset
from sample_videos import sample_videos

import extract_training_data as script

Serve = Callable[..., LocalSupabase]
Extract = Callable[..., int]
JSON_TYPE = "application/json; charset=utf-8"
RECORDED = {
    reply["name"]: reply["response"]
    for reply in json.loads(
        Path(__file__).with_name("postgrest-replies.json").read_text(encoding="utf-8")
    )["replies"]
}


def recorded(name: str) -> Fault:
    """Return a reply of a real server as a fault."""
    reply = RECORDED[name]
    headers = {
        key.replace("-", "_"): value
        for key, value in reply["headers"].items()
        if key != "content-length"
    }
    return http_reply(
        reply["status"], reply["body"].encode(), reply["reason"], **headers
    )


def json_reply(text: str, status: int = 200) -> Fault:
    """Return a reply with this body, JSON or what the server takes for it."""
    headers = {"content_type": JSON_TYPE, "content_range": "0-2/3"}
    return http_reply(status, text.encode(), **headers)


FAULTS: dict[str, tuple[Fault, str]] = {  # what happens, and what the script says
    "408": (http_reply(408, reason="Request Timeout"), "HTTP 408 Request Timeout"),
    "429": (http_reply(429, retry_after="7"), "HTTP 429"),
    "500": (http_reply(500, b'{"message":"oops"}'), "oops"),
    "502": (recorded("gateway: upstream is down"), "HTTP 502 Bad Gateway"),
    "503": (recorded("database is down 0"), "terminating connection"),
    "503 later": (recorded("database is down 1"), "PGRST001"),
    "503 still": (recorded("database is down 2"), "Connection refused"),
    "504": (http_reply(504, b"upstream request timeout"), "upstream request timeout"),
    "520": (http_reply(520, b"error code: 520"), "HTTP 520: error code: 520"),
    "57014": (recorded("statement timeout"), "canceling statement due to"),
    "57014 as 400": (
        http_reply(400, RECORDED["statement timeout"]["body"].encode()),
        "57014",
    ),
    "reset": (reset, "No reply from 127.0.0.1: "),
    "closed": (socket.socket.close, "No reply from 127.0.0.1: "),
    "cut off": (cut_off(b'[{"id": "1"}, {"id": "2"}]'), "No reply from 127.0.0.1: "),
    "cut off 503": (
        lambda sock: sock.sendall(b"HTTP/1.1 503 \r\nContent-Length: 9\r\n\r\nno"),
        "No reply from 127.0.0.1: ",
    ),
    "hang": (hang(20), "No reply from 127.0.0.1: timed out"),
    "half the JSON": (json_reply('[{"id": "1"}, {"id'), "not a JSON array of rows"),
    "no JSON": (json_reply("<html>Hello</html>"), "not a JSON array of rows"),
    "nothing": (json_reply(""), "the reply is empty"),
    "an object": (json_reply('{"id": "1"}'), "not a JSON array of rows"),
    "null": (json_reply("null"), "not a JSON array of rows"),
    "numbers": (json_reply("[1, 2, 3]"), "not a JSON array of rows"),
    "arrays": (json_reply('[["id", "1"]]'), "not a JSON array of rows"),
    "no id": (json_reply('[{"id": "1"}, {"views": 1}]'), "a row without an id"),
    "a number as id": (json_reply('[{"id": 1}]'), "a row without an id"),
    "an order of its own": (json_reply('[{"id": "z2"}, {"id": "z1"}]'), "the order"),
    "one row twice": (json_reply('[{"id": "z1"}, {"id": "z1"}]'), "the order"),
    "too deep": (json_reply("[" * 100_000), "recursion"),
    "a count that is no number": (
        http_reply(200, b"[]", content_range="*/many"),
        "invalid literal",
    ),
    "no count": (http_reply(200, b"[]"), "count of all rows is missing or too small"),
    "a count that is too low": (
        http_reply(200, b'[{"id": "1"}, {"id": "2"}]', content_range="0-1/1"),
        "count of all rows is missing or too small",
    ),
    "an odd charset": (
        http_reply(500, b"oops \xff", content_type="text/plain; charset=zlib"),
        "oops",
    ),
    "an odd charset with 200": (
        http_reply(200, b"oops \xff", content_type="text/plain; charset=rot13"),
        "not a JSON array of rows",
    ),
    "no gzip": (
        http_reply(200, b"[]", content_encoding="gzip"),
        "No reply from 127.0.0.1: ",
    ),
}
ONLY_FIRST = {"a count that is no number", "no count", "a count that is too low"}
PLACES = {"first": 0, "middle": 2, "last": 4}
ROWS = sample_videos(40, seed=3)


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "TIMEOUT", httpx.Timeout(0.3))


@pytest.mark.usefixtures("patience")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", FAULTS)
def test_a_passing_fault_costs_one_request_and_nothing_else(
    name: str,
    place: str,
    serve: Serve,
    extract: Extract,
    waits: list[float],
    capsys: pytest.CaptureFixture[str],
) -> None:
    if name in ONLY_FIRST:
        place = "first"
    undisturbed = serve(ROWS, max_rows=10)
    assert extract(undisturbed) == 0
    clean = Path("training-data.json").read_bytes()
    Path("training-data.json").unlink()
    clean_lines = capsys.readouterr().err.splitlines()

    fault, words = FAULTS[name]
    server = serve(ROWS, max_rows=10)
    server.faults[PLACES[place]] = fault
    assert extract(server) == 0

    assert Path("training-data.json").read_bytes() == clean
    assert len(undisturbed.requests) == 5
    assert len(server.requests) == 6
    assert (
        server.requests[PLACES[place]].path == server.requests[PLACES[place] + 1].path
    )
    lines = capsys.readouterr().err.splitlines()
    [line] = [line for line in lines if "Trying again" in line]
    assert words in line
    wait = 7 if name == "429" else 1
    assert line.endswith(
        f", after {10 * PLACES[place]} rows. Trying again in {wait} s."
    )
    assert waits == [wait]
    assert len(lines) == len(clean_lines) + 1


@pytest.mark.parametrize("place", PLACES)
def test_connection_refused_while_the_server_restarts(
    place: str,
    serve: Serve,
    extract: Extract,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server = serve(ROWS, max_rows=10)
    server.faults[PLACES[place]] = lambda sock: server.stop()
    waits = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            server.start()

    monkeypatch.setattr(script, "sleep", wait)
    assert extract(server) == 0
    assert waits == [1, 2, 4]
    assert capsys.readouterr().err.count("Connection refused") == 2
    assert len(server.requests) == 6


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("0", 1),  # as a real PostgREST says while its database restarts
        ("0.5", 1),
        ("7", 7),
        ("60", 60),
        ("3600", 60),
        ("-5", 1),
        ("soon", 1),
        ("Fri, 16 Jan 2026 21:07:04 GMT", 1),
        ("Fri, 16 Jan 2026 21:07:04", 1),
        ("Fri, 16 Jan 2099 21:07:04 GMT", 60),
    ],
)
def test_retry_after_is_obeyed_up_to_a_minute(
    header: str, wait: float, serve: Serve, extract: Extract, waits: list[float]
) -> None:
    server = serve(ROWS)
    server.faults[0] = http_reply(503, retry_after=header)
    assert extract(server) == 0
    assert waits == [wait]


def test_the_waits_grow_and_begin_anew_with_each_page(
    serve: Serve, extract: Extract, waits: list[float]
) -> None:
    server = serve(ROWS, max_rows=10)
    for number in (0, 1, 2, 3, 5, 6, 7, 8):
        server.faults[number] = http_reply(503)
    assert extract(server) == 0
    assert waits == [1, 2, 4, 8, 1, 2, 4, 8]


def test_retry_after_is_a_date(
    serve: Serve,
    extract: Extract,
    waits: list[float],
) -> None:
    at = datetime.now(UTC) + timedelta(seconds=20)
    server = serve(ROWS)
    server.faults[0] = http_reply(429, retry_after=format_datetime(at, usegmt=True))
    assert extract(server) == 0
    assert 15 < waits[0] <= 20


def test_a_number_longer_than_python_reads_by_default(
    serve: Serve, extract: Extract
) -> None:
    server = serve(ROWS)
    ids = {"platform": "tiktok", "platform_video_id": "1"}
    row = {"id": "1", "views": 9, "duration_seconds": 9} | ids | {"likes": 0}
    other = json.dumps(row | {"id": "2", "platform_video_id": "2"})
    body = f"[{json.dumps(row)[:-2]}{'9' * 5000}}}, {other}]"
    server.faults[0] = http_reply(200, body.encode(), content_range="0-1/2")
    server.faults[1] = http_reply(200, b"[]")
    assert extract(server) == 0
    assert len(server.requests) == 2


@pytest.mark.parametrize("fault", [http_reply(503), http_reply(520), reset])
def test_a_server_that_is_down_is_asked_five_times(
    fault: Fault,
    serve: Serve,
    extract: Extract,
    waits: list[float],
    capsys: pytest.CaptureFixture[str],
) -> None:
    server = serve(ROWS)
    server.default_fault = fault
    assert extract(server) == 1
    assert len(server.requests) == 5
    assert waits == [1, 2, 4, 8]
    assert ", after 0 rows and 5 attempts." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fault", "advice"),
    [
        (http_reply(429), "The server is asked too often. Run again"),
        (http_reply(500, b'{"code": "57014"}'), "The query took longer than the data"),
        (http_reply(408), "Is SUPABASE_URL right, and this machine online?"),
    ],
)
def test_the_advice_when_a_passing_fault_stays(
    fault: Fault,
    advice: str,
    serve: Serve,
    extract: Extract,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server = serve(ROWS)
    server.default_fault = fault
    assert extract(server) == 1
    assert f" and 5 attempts.\n{advice}" in capsys.readouterr().err


def test_a_reply_that_comes_in_pieces_is_whole(serve: Serve, extract: Extract) -> None:
    """Chunked and compressed, as from a gateway."""
    body = gzip.compress(json.dumps([]).encode())
    chunks = b"".join(b"%x\r\n%s\r\n" % (1, body[i : i + 1]) for i in range(len(body)))
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: "
        b"chunked\r\nContent-Encoding: gzip\r\n\r\n"
    )
    server = serve(ROWS)
    server.faults[1] = lambda sock: sock.sendall(head + chunks + b"0\r\n\r\n")
    assert extract(server) == 0
    assert len(server.requests) == 2


def test_timeouts_are_set_and_longer_than_a_query_may_take() -> None:
    client = script.connect("http://127.0.0.1:9", "key")
    timeout = client.session.timeout
    assert timeout == script.TIMEOUT
    assert 8 < timeout.read <= 60
    assert 0 < timeout.connect <= timeout.read / 2
    assert not client.session.follow_redirects
