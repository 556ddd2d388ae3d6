"""A Supabase project's REST endpoint on this machine, for the table `scraped_videos`.

    with LocalSupabase(rows) as supabase:
        client = create_client(supabase.url, KEY)

It serves what the script asks for, and what a script that errs would: rows come in
random order unless one is asked for, a page ends at the server's cap, archived rows
come unless they are left out. What it does not know (other tables, filters, ...) gets
status 400 and a message that says so, which is safer than an answer half right. The
errors are those of a real PostgREST, replayed from postgrest-replies.json, and
test_local_supabase.py holds the rows' replies to that file byte for byte.

A test can read the requests, change the rows between two of them, and have faults
instead of replies. A fault is a function that gets the connected socket and does with
it what it likes; http_reply, recorded, reset, cut_off and hang make or are faults.
"""

import json
import random
import re
import select
import socket
import struct
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, urlsplit

Row = dict[str, Any]
Fault = Callable[[socket.socket], None]

KEY = "sb_secret_local"
JSON_TYPE = "application/json; charset=utf-8"
RECORDED = {
    reply["name"]: reply
    for reply in json.loads(
        Path(__file__).with_name("postgrest-replies.json").read_text(encoding="utf-8")
    )["replies"]
}
UUID_FORM = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SERVED = re.compile(
    "(select=.+|limit=[0-9]+|offset=[0-9]+|order=id.(asc|desc)"
    "|archived_at=is.null|id=(gt|gte|lt|lte)[.].+)"
)


class Request(NamedTuple):
    """A request that came.

    `place` is the quarter of the ids that it asks for, 0 to 3 (0 if it names no end),
    and how many requests for that quarter came before it.
    """

    path: str
    query: dict[str, list[str]]
    headers: Message
    place: tuple[int, int]


# --- Replies and faults


def raw_reply(
    status: int, headers: dict[str, str], body: bytes, reason: str = ""
) -> bytes:
    """Return the bytes of a reply; the reason is the status's own if none is given."""
    if not reason:
        with suppress(ValueError):
            reason = HTTPStatus(status).phrase
    lines = [f"HTTP/1.1 {status} {reason}", f"content-length: {len(body)}"]
    lines += [f"{name}: {text}" for name, text in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def rows_reply(
    rows: Sequence[bytes], offset: int = 0, total: int | None = None
) -> bytes:
    """Return the reply with a page of encoded rows; `total` if it was asked for."""
    extent = f"{offset}-{offset + len(rows) - 1}" if rows else "*"
    headers = {
        "content-type": JSON_TYPE,
        "content-range": f"{extent}/{'*' if total is None else total}",
        "vary": "Accept, Prefer, Range",
    }
    if total is not None:
        headers["preference-applied"] = "count=exact"
    status = 206 if total is not None and len(rows) < total else 200
    return raw_reply(status, headers, b"[" + b", \n ".join(rows) + b"]")


def http_reply(
    status: int, body: bytes = b"", reason: str = "", **headers: str
) -> Fault:
    """Answer with this, and close. An underscore in a header's name is a hyphen."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    raw = raw_reply(status, {"connection": "close"} | named, body, reason)
    return lambda sock: sock.sendall(raw)


def replay(name: str, **more_headers: str) -> bytes:
    """Return a recorded reply of the real server."""
    reply = RECORDED[name]["response"]
    headers = {n: text for n, text in reply["headers"].items() if n != "content-length"}
    body = reply["body"].encode()
    return raw_reply(reply["status"], headers | more_headers, body, reply["reason"])


def recorded(name: str) -> Fault:
    """Answer as the real server did when it was recorded."""
    return lambda sock: sock.sendall(replay(name, connection="close"))


def reset(sock: socket.socket) -> None:
    """Reset the connection before any byte of a reply."""
    # Lingering for 0 seconds makes close() reset. The file descriptor is closed itself,
    # because sock.close() waits for the files made from the socket.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    socket.close(sock.detach())


def cut_off(body: bytes) -> Fault:
    """Announce `body` with status 200, but close after the first half of it."""
    raw = raw_reply(200, {"content-type": JSON_TYPE}, body)
    return lambda sock: sock.sendall(raw[: len(raw) - (len(body) + 1) // 2])


def hang(seconds: float) -> Fault:
    """Say nothing for so long, or until the server stops or the client gives up."""

    def wait(sock: socket.socket) -> None:
        select.select([sock], [], [], seconds)  # the end of the connection is readable

    return wait


# --- Rows


def encode(row: Row, select: str) -> bytes:
    """Return a row as the server writes it. Raises KeyError for an unknown column."""
    values = {}
    for item in select.split(","):
        name, _, path = item.rpartition(":")
        column, arrow, key = re.fullmatch(r"(\w+)(->>?)?(\w+)?", path).groups()  # type: ignore[union-attr]
        value = (row[column] or {}).get(key) if arrow else row[column]
        if arrow == "->>" and value is not None and not isinstance(value, str):
            value = json.dumps(value)
        values[name or key or column] = value
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()


def answer(rows: list[Row], max_rows: int, request: Request) -> bytes:
    """Return what the real server would reply, or a refusal that names the gap."""
    query = request.query
    for name, texts in query.items():
        for text in texts:
            if not SERVED.fullmatch(f"{name}={text}"):
                problem = f"local_supabase.py does not serve {name}={text}"
                return raw_reply(400, {}, json.dumps({"message": problem}).encode())
    if "archived_at" in query:
        rows = [row for row in rows if row["archived_at"] is None]
    for text in query.get("id", []):
        operator, _, bound = text.partition(".")
        if not UUID_FORM.fullmatch(bound):
            return replay("malformed uuid in a filter")
        keep = {
            "gt": str.__gt__,
            "gte": str.__ge__,
            "lt": str.__lt__,
            "lte": str.__le__,
        }
        rows = [row for row in rows if keep[operator](row["id"], bound)]
    if "order" in query:
        descending = query["order"] == ["id.desc"]
        rows = sorted(rows, key=lambda row: row["id"], reverse=descending)
    else:  # SQL promises none
        rows = random.sample(rows, len(rows))
    offset = int(query.get("offset", ["0"])[0])
    limit = min(int(query.get("limit", [str(max_rows)])[0]), max_rows)
    try:
        page = [
            encode(row, query["select"][0]) for row in rows[offset : offset + limit]
        ]
    except KeyError:
        return replay("unknown column")
    counted = "count=exact" in request.headers.get("prefer", "")
    return rows_reply(page, offset, len(rows) if counted else None)


# --- The endpoint


class LocalSupabase:
    """The endpoint, listening on a free port of 127.0.0.1 inside a `with`.

    rows: the table, a dict a row, each with every column. Kept, not copied: what a
        test changes is there for the next request.
    max_rows: the most rows in a reply, whatever limit is asked for (db-max-rows).
    key: the key that it takes.

    url: like http://127.0.0.1:45678, the same after stop() and start().
    requests: every request so far, those that got a fault included.
    before_reply: called with each request before it gets its reply or fault.
    faults: by the place of a request, what it gets instead of a reply; the connection
        is closed after it.
    default_fault: what every request gets that `faults` has nothing for.
    """

    def __init__(self, rows: list[Row], max_rows: int = 1000, key: str = KEY) -> None:
        self.rows = rows
        self.max_rows = max_rows
        self.key = key
        self.url = ""
        self.requests: list[Request] = []
        self.before_reply: Callable[[Request], object] = lambda request: None
        self.faults: dict[tuple[int, int], Fault] = {}
        self.default_fault: Fault | None = None
        self._places: Counter[int] = Counter()
        self._lock = threading.Lock()
        self._port = 0  # any free one
        self._server: Server | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen; after stop(), on the same port."""
        self._server = Server(self, self._port)
        self._port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self._port}"
        loop = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        loop.daemon = True
        loop.start()

    def stop(self) -> None:
        """Refuse connections from now on, and end those there are."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server.end_connections()
            self._server = None

    def handle(self, path: str, headers: Message, sock: socket.socket) -> bool:
        """Reply to a request, or do its fault. Return whether a reply was sent."""
        url = urlsplit(path)
        query = parse_qs(url.query, keep_blank_values=True)
        ends = [text[4:] for text in query.get("id", []) if text.startswith("lte.")]
        quarter = int(ends[0][0], 16) // 4 if ends else 0
        with self._lock:
            request = Request(path, query, headers, (quarter, self._places[quarter]))
            self._places[quarter] += 1
            self.requests.append(request)
            self.before_reply(request)
            rows = self.rows[:]
        if fault := self.faults.get(request.place, self.default_fault):
            fault(sock)
            return False
        authorization = headers["apikey"], headers["authorization"]
        if authorization != (self.key, f"Bearer {self.key}"):
            sock.sendall(replay("gateway: wrong API key"))
        elif url.path != "/rest/v1/scraped_videos":
            sock.sendall(replay("unknown table"))
        else:
            sock.sendall(answer(rows, self.max_rows, request))
        return True


class Server(ThreadingTCPServer):
    """Accepts the connections, each of which gets a thread."""

    allow_reuse_address = True  # so that start() works right after stop()
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, supabase: LocalSupabase, port: int) -> None:
        self.supabase = supabase
        self.connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), Connection)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection, and note it."""
        sock, address = super().get_request()
        self.connections.add(sock)
        return sock, address

    def shutdown_request(self, request: Any) -> None:
        """Close a connection, and forget it."""
        self.connections.discard(request)
        super().shutdown_request(request)

    def end_connections(self) -> None:
        """End every connection; its thread then closes it."""
        for sock in list(self.connections):
            with suppress(OSError):  # it has ended already
                sock.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print what went wrong, unless the client has just gone away."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class Connection(BaseHTTPRequestHandler):
    """Takes the requests of one connection, one after the other."""

    protocol_version = "HTTP/1.1"  # keeps the connection open
    disable_nagle_algorithm = True
    server: Server

    def do_GET(self) -> None:
        """Hand on a request; other methods get the handler's own 501."""
        path = self.requestline.split()[1]  # self.path has leading slashes merged
        if not self.server.supabase.handle(path, self.headers, self.connection):
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
