"""The local endpoint answers as the real server did, and fails as it is told to."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection, HTTPResponse, IncompleteRead, RemoteDisconnected
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from local_supabase import (
    COLUMNS,
    KEY,
    LocalSupabase,
    Row,
    cut_off,
    hang,
    http_reply,
    reset,
)
from postgrest import CountMethod
from supabase import ClientOptions, create_client

RECORDINGS = {
    recording["name"]: recording
    for recording in json.loads(
        (Path(__file__).parent / "postgrest-replies.json").read_text(encoding="utf-8")
    )["replies"]
}
NOT_ARCHIVED = 7389  # rows, when the replies were recorded
SECURED = "row-level security hides every row"
KEYS = {  # to send, where it is not the secret key
    "expired token": "expired",
    "token with a bad signature": "forged",
    "role may not read the table": "powerless",
    SECURED: "publishable",
    "gateway: wrong API key": "wrong",
}
ROLES = {KEYS[name]: name for name in KEYS if name != "gateway: wrong API key"}
OPTIONS: dict[str, dict[str, Any]] = {  # of the server, where they are not the table's
    "server cap below the asked limit": {"max_rows": 2},
    "server cap below the asked limit, exact count": {"max_rows": 2},
    SECURED: {"table": "items", "columns": {"id": "bigint"}, "rows": [{"id": 11}]},
}
FAULTS_ONLY = {  # what the endpoint sends only as a fault
    "statement timeout",
    "database is down 0",
    "database is down 1",
    "database is down 2",
    "gateway: upstream is down",
}
SERVED = sorted(RECORDINGS.keys() - FAULTS_ONLY)


def row(number: int, **columns: Any) -> Row:
    """Return a row whose id ends in `number`; what is not given is null."""
    return dict.fromkeys(COLUMNS) | {"id": str(UUID(int=number))} | columns


def recorded_rows() -> list[Row]:
    """Return the six rows that the recordings show."""
    rows = []
    for name in ("first page, exact count", "next page by key"):
        for video in json.loads(RECORDINGS[name]["response"]["body"]):
            metadata = {
                key: video.pop(key) for key in ("bookmarks", "followers", "uploaded_at")
            }
            # The recorded not.is.null passes over those that are null: they are absent.
            known = {key: value for key, value in metadata.items() if value is not None}
            rows.append(row(0, **video, metadata=known))
    return rows


@pytest.fixture(scope="module")
def table() -> list[Row]:
    """The table as it was recorded, but for archived rows in front and made-up ones."""
    rows = [row(n, archived_at="2026-02-14T09:00:00+00:00") for n in range(5)]
    rows += recorded_rows()
    rows += [row((1 << 120) + n) for n in range(NOT_ARCHIVED - 6)]
    return rows


@pytest.fixture
def small() -> Iterator[LocalSupabase]:
    """An endpoint with ten rows."""
    with LocalSupabase([row(n, views=n) for n in range(10)]) as supabase:
        yield supabase


def address(supabase: LocalSupabase) -> tuple[str, int]:
    """Return the host and port of an endpoint."""
    host, _, port = supabase.url.removeprefix("http://").partition(":")
    return host, int(port)


def connect(supabase: LocalSupabase) -> HTTPConnection:
    """Return a connection that opens with the first request."""
    return HTTPConnection(*address(supabase), timeout=5)


def ask(
    connection: HTTPConnection, path: str, key: str = KEY, **headers: str
) -> tuple[HTTPResponse, bytes]:
    """Send a GET with the key and return the reply and its body."""
    headers |= {"apikey": key, "Authorization": f"Bearer {key}"}
    connection.request("GET", path, headers=headers)
    reply = connection.getresponse()
    return reply, reply.read()


def fetch(supabase: LocalSupabase, query: str) -> Any:
    """Return the decoded body of the reply to a query."""
    with closing(connect(supabase)) as connection:
        return json.loads(ask(connection, f"/rest/v1/scraped_videos?{query}")[1])


def numbers(rows: list[Row]) -> list[int]:
    """Return the numbers that the rows were made with."""
    return [UUID(found["id"]).int for found in rows]


# --- As the real server


def test_every_recording_is_served_or_a_fault() -> None:
    assert FAULTS_ONLY | KEYS.keys() | OPTIONS.keys() <= RECORDINGS.keys()
    assert len(SERVED) + len(FAULTS_ONLY) == len(RECORDINGS) == 23


@pytest.mark.parametrize("name", SERVED)
def test_recorded_reply(name: str, table: list[Row]) -> None:
    request, expected = RECORDINGS[name]["request"], RECORDINGS[name]["response"]
    assert request["method"] == "GET"
    headers = {"Prefer": request["prefer"]} if "prefer" in request else {}
    options = {"rows": table, "roles": ROLES} | OPTIONS.get(name, {})
    with LocalSupabase(**options) as supabase, closing(connect(supabase)) as connection:
        reply, body = ask(connection, request["path"], KEYS.get(name, KEY), **headers)
    assert reply.status == expected["status"]
    assert reply.getheader("Content-Range") == expected["headers"].get("content-range")
    assert json.loads(body) == json.loads(expected["body"])
    assert body == expected["body"].encode()
    sent = {header.lower(): text for header, text in reply.getheaders()}
    assert sent == {"content-length": f"{len(body)}"} | expected["headers"]


@pytest.mark.parametrize("name", sorted(FAULTS_ONLY))
def test_recorded_reply_as_a_fault(name: str, small: LocalSupabase) -> None:
    expected = RECORDINGS[name]["response"]
    body, reason = expected["body"].encode(), expected["reason"]
    headers = expected["headers"]
    small.default_fault = http_reply(expected["status"], body, reason, **headers)
    with closing(connect(small)) as connection:
        reply, received = ask(connection, "/rest/v1/scraped_videos?select=id&limit=1")
    assert (reply.status, reply.reason, received) == (expected["status"], reason, body)
    assert (
        headers.items() <= {h.lower(): text for h, text in reply.getheaders()}.items()
    )


def test_the_real_client_reads_it(table: list[Row]) -> None:
    found: list[Any] = []
    with LocalSupabase(table) as supabase, httpx.Client() as http:
        query = (
            create_client(supabase.url, supabase.key, ClientOptions(httpx_client=http))
            .table("scraped_videos")
            .select("id,views,saved:metadata->bookmarks", count=CountMethod.exact)
            .is_("archived_at", None)
            .order("id")
        )
        for number in range(8):
            page = query.range(number * 1000, number * 1000 + 999).execute()
            assert page.count == NOT_ARCHIVED
            found += page.data
    assert [f["id"] for f in found] == [r["id"] for r in table if not r["archived_at"]]
    assert found[0]["saved"] == 4855


def test_no_order_gives_another_order_each_time(small: LocalSupabase) -> None:
    orders = [numbers(fetch(small, "select=id")) for _ in range(5)]
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert len(set(map(tuple, orders))) > 1


def test_equals_come_in_another_order_each_time(small: LocalSupabase) -> None:
    orders = [numbers(fetch(small, "order=platform")) for _ in range(5)]
    assert len(set(map(tuple, orders))) > 1


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("views=gte.7&order=views.desc", [9, 8, 7]),
        ("views=gt.7&order=views.asc", [8, 9]),
        ("views=lt.2&order=id", [0, 1]),
        ("views=lte.2&views=neq.1&order=id", [0, 2]),
        ("views=eq.4", [4]),
        ("views=not.lt.9", [9]),
        ("id=gt.00000000-0000-0000-0000-000000000008&order=id", [9, 10, 11]),
        ("id=eq.0000000000000000000000000000000A", [10]),
        ("views=is.null&order=id", [10, 11]),
        ("views=not.is.null&order=id.desc&limit=1", [9]),
        ("order=views.desc,id.desc&limit=3", [11, 10, 9]),
        ("order=views,id&offset=9", [9, 10, 11]),
        ("archived_at=lt.2026-01-01T00:00:00Z", [10]),
        ("metadata->a=is.null&views=is.null", [10]),  # JSON null is not null
        ("metadata->>a=is.null&views=is.null&order=id", [10, 11]),
        ("metadata->b=gt.9", [10]),  # as numbers
        ("metadata->>b=gt.9", []),  # as text
        ('metadata->>c=eq.{"d":+[1,+"%C3%A9"]}', [11]),
        ("limit=0", []),
    ],
)
def test_filters_and_orders(
    query: str, expected: list[int], small: LocalSupabase
) -> None:
    small.rows += [
        row(10, archived_at="2025-12-31T23:30:00+00:00", metadata={"b": 10}),
        row(
            11,
            archived_at="2026-01-01T00:30:00+00:00",
            metadata={"a": None, "c": {"d": [1, "é"]}},
        ),
    ]
    assert numbers(fetch(small, query)) == expected


def test_select_names_and_nests(small: LocalSupabase) -> None:
    small.rows[:] = [row(1, metadata={"a": {"b": 1.5}, "n": None, "t": "é"})]
    query = "select=id,n:id,metadata->a,x:metadata->a->>b,metadata->n,metadata->>t"
    one = str(UUID(int=1))
    values = {"id": one, "n": None, "a": {"b": 1.5}, "x": "1.5", "t": "é"}
    assert fetch(small, query) == [values]
    assert fetch(small, "select=*") == small.rows


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("id=is_after.x", "PGRST100"),
        ("id=7", "PGRST100"),
        ("order=id.up", "PGRST100"),
        ("views=gt.many", "22P02"),
        ("metadata->a=gt.many", "22P02"),
        ("archived_at=gt.then", "22007"),
        ("order=veiws", "42703"),
        ("archived=is.null", "42703"),
    ],
)
def test_wrong_queries_are_refused(query: str, code: str, small: LocalSupabase) -> None:
    assert fetch(small, query)["code"] == code


@pytest.mark.parametrize(
    "query",
    [
        "select=id::text",
        "select=id,author(name)",
        "or=(id.is.null,views.gt.1)",
        "id=in.(1,2)",
        "views=is.true",
        "hashtags=eq.x",
        "limit=-1",
        "order=id.nullsfirst",
    ],
)
def test_what_is_not_served_says_so(query: str, small: LocalSupabase) -> None:
    assert "does not serve" in fetch(small, query)["message"]


@pytest.mark.parametrize("headers", [{"Range": "0-1"}, {"Accept": "text/csv"}])
def test_headers_not_served(headers: dict[str, str], small: LocalSupabase) -> None:
    with closing(connect(small)) as connection:
        reply, body = ask(connection, "/rest/v1/scraped_videos", **headers)
    assert reply.status == 400 and b"does not serve" in body


def test_the_cap_limits_every_page(small: LocalSupabase) -> None:
    small.max_rows = 3
    for query in ("order=id", "order=id&limit=5"):
        assert numbers(fetch(small, query)) == [0, 1, 2]
    assert numbers(fetch(small, "order=id&limit=2")) == [0, 1]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": f"Bearer {KEY}"},
        {"apikey": KEY},
        {"apikey": KEY, "Authorization": "Bearer wrong"},
        {"apikey": "wrong", "Authorization": f"Bearer {KEY}"},
    ],
)
def test_a_request_without_the_key_is_refused(
    headers: dict[str, str], small: LocalSupabase
) -> None:
    with closing(connect(small)) as connection:
        connection.request("GET", "/rest/v1/scraped_videos", headers=headers)
        reply = connection.getresponse()
        assert reply.status == 401
        assert json.load(reply)["message"] == "Invalid API key"


def test_an_unknown_role_is_an_error() -> None:
    with pytest.raises(ValueError, match="superuser"):
        LocalSupabase([], roles={"key": "superuser"})


@pytest.mark.parametrize("path", ["//rest/v1/scraped_videos", "/scraped_videos"])
def test_other_paths_are_not_found(path: str, small: LocalSupabase) -> None:
    with closing(connect(small)) as connection:
        assert ask(connection, path)[0].status == 404


def test_other_methods_are_not_allowed(small: LocalSupabase) -> None:
    headers = {"apikey": KEY, "Authorization": f"Bearer {KEY}"}
    with closing(connect(small)) as connection:
        connection.request("POST", "/rest/v1/scraped_videos", b"{}", headers)
        assert connection.getresponse().status == 405


# --- For tests


def test_requests_are_kept_as_sent(small: LocalSupabase) -> None:
    path = "/rest/v1/scraped_videos?select=id%2Cviews&limit=1"
    with closing(connect(small)) as connection:
        for _ in range(3):
            ask(connection, path, Prefer="count=exact")
            assert connection.sock is not None  # kept alive
    assert [request.path for request in small.requests] == [path] * 3
    assert small.requests[2].method == "GET"
    assert small.requests[2].headers["pReFeR"] == "count=exact"


def test_before_reply_changes_the_rows_in_time(small: LocalSupabase) -> None:
    def archive(number: int) -> None:
        small.rows[number]["archived_at"] = "2026-02-14T09:00:00+00:00"

    small.before_reply = archive
    assert numbers(fetch(small, "archived_at=is.null&order=id&limit=2")) == [1, 2]
    assert numbers(fetch(small, "archived_at=is.null&order=id&limit=2")) == [2, 3]


def test_stop_and_start(small: LocalSupabase) -> None:
    url = small.url
    for _ in range(3):
        idle = connect(small)
        ask(idle, "/rest/v1/scraped_videos")
        small.stop()
        assert idle.sock.recv(1) == b""  # ended
        idle.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address(small), timeout=5)
        small.start()
        assert small.url == url
        assert len(fetch(small, "select=id")) == 10


def test_faults_go_by_the_number_of_the_request(small: LocalSupabase) -> None:
    small.faults = {1: http_reply(503, b"down", retry_after="7", content_type="a/b")}
    with closing(connect(small)) as connection:
        statuses = []
        for _ in range(3):
            reply, body = ask(connection, "/rest/v1/scraped_videos")
            statuses.append(reply.status)
            if reply.status == 503:
                assert (reply.reason, body) == ("Service Unavailable", b"down")
                assert reply.getheader("Retry-After") == "7"
                assert reply.getheader("Content-Type") == "a/b"
    assert statuses == [200, 503, 200]


def test_the_default_fault_is_for_the_others(small: LocalSupabase) -> None:
    small.faults = {1: http_reply(418)}
    small.default_fault = http_reply(502)
    with closing(connect(small)) as connection:
        assert [ask(connection, "/")[0].status for _ in range(3)] == [502, 418, 502]


def test_the_connection_closes_after_a_fault(small: LocalSupabase) -> None:
    small.default_fault = http_reply(200, b"[]")
    with socket.create_connection(address(small), timeout=5) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        received = b"".join(iter(lambda: sock.recv(100), b""))
    assert received == (
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n[]"
    )


def test_reset(small: LocalSupabase) -> None:
    small.default_fault = reset
    with (
        closing(connect(small)) as connection,
        pytest.raises(ConnectionResetError) as caught,
    ):
        ask(connection, "/rest/v1/scraped_videos")
    assert caught.type is ConnectionResetError  # RemoteDisconnected is one, too


@pytest.mark.parametrize("body", [b"[1, 2, 3]", b"0123"])
def test_cut_off(body: bytes, small: LocalSupabase) -> None:
    small.default_fault = cut_off(body)
    with (
        closing(connect(small)) as connection,
        pytest.raises(IncompleteRead) as caught,
    ):
        ask(connection, "/rest/v1/scraped_videos")
    assert caught.value.partial == body[: len(body) // 2]


def test_hang_says_nothing_for_so_long(small: LocalSupabase) -> None:
    small.default_fault = hang(0.2)
    started = time.monotonic()
    with closing(connect(small)) as connection, pytest.raises(RemoteDisconnected):
        ask(connection, "/rest/v1/scraped_videos")
    assert 0.2 <= time.monotonic() - started < 2


def test_hang_ends_when_the_server_stops(small: LocalSupabase) -> None:
    small.default_fault = hang(60)
    with closing(connect(small)) as connection:
        connection.request("GET", "/rest/v1/scraped_videos")
        while not small.requests:
            time.sleep(0.001)
        small.stop()
        with pytest.raises(RemoteDisconnected):
            connection.getresponse()
