"""A Supabase project's REST endpoint on this machine, for the table `scraped_videos`.

    with LocalSupabase(rows) as supabase:
        client = create_client(supabase.url, KEY)

It serves what the script asks for: pages of rows that are not archived, in the order of
their ids, above an id, up to another, or both; and their exact count, beside one row.
Anything else gets status 400 and a message that says so, which is safer than a partly
right answer. The errors are those of a real PostgREST, replayed from
data/postgrest-replies.json, and test_local_supabase.py holds the pages to that file
byte for byte.

A test can read the requests, change the rows between two of them, and have faults
instead of replies. A fault is a function that gets the connected socket and may do
anything with it; http_reply, recorded, reset, cut_off, over_broken_tls and hang make or
are faults.
"""

import json
import os
import re
import select
import socket
import ssl
import struct
import sys
import threading
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
DATA = Path(__file__).with_name("data")
CERTIFICATE = DATA / "self-signed.pem"  # with its key, for localhost and 127.0.0.1
REASONS = {status.value: status.phrase for status in HTTPStatus}
UUID_FORM = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SERVED = re.compile(
    "(select=.+|archived_at=is.null|id=(gt|lte)[.].*|order=id.asc|limit=[0-9]+)"
)
REPLIES: dict[str, dict[str, Any]] = {
    reply["name"]: reply
    for name in ("postgrest-replies.json", "replies-by-hand.json")
    for reply in json.loads((DATA / name).read_text(encoding="utf-8"))["replies"]
}


class Request(NamedTuple):
    """A request that came."""

    path: str
    query: dict[str, list[str]]
    headers: Message

    @property
    def counted(self) -> bool:
        """Whether it asks for the exact count."""
        return self.headers.get("prefer") == "count=exact"

    @property
    def above(self) -> str | None:
        """The id above which it asks for rows, or None."""
        return self.bound("gt.")

    @property
    def up_to(self) -> str | None:
        """The id up to which it asks for rows, or None."""
        return self.bound("lte.")

    def bound(self, operator: str) -> str | None:
        """Return the id that follows an operator, or None if it is not asked for."""
        for text in self.query.get("id", []):
            if text.startswith(operator):
                return text.removeprefix(operator)
        return None


# --- Replies and faults


def raw_reply(status: int, headers: dict[str, str], body: bytes) -> bytes:
    """Return the bytes of a reply."""
    reason = REASONS.get(status, "")
    lines = [f"HTTP/1.1 {status} {reason}", f"content-length: {len(body)}"]
    lines += [f"{name}: {text}" for name, text in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def rows_reply(rows: Sequence[bytes], total: int | None = None) -> bytes:
    """Return the reply with a page of encoded rows; `total` if it was asked for."""
    extent = f"0-{len(rows) - 1}" if rows else "*"
    headers = {
        "content-type": JSON_TYPE,
        "content-range": f"{extent}/{'*' if total is None else total}",
        "vary": "Accept, Prefer, Range",
    }
    if total is not None:
        headers["preference-applied"] = "count=exact"
    status = 206 if total is not None and len(rows) < total else 200
    return raw_reply(status, headers, b"[" + b", \n ".join(rows) + b"]")


def http_reply(status: int, body: bytes = b"", **headers: str) -> Fault:
    """Answer with this, and close. An underscore in a header's name is a hyphen."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    raw = raw_reply(status, {"connection": "close"} | named, body)
    return lambda sock: sock.sendall(raw)


def replay(name: str, **more_headers: str) -> bytes:
    """Return a recorded reply of the real server, or one that was written by hand."""
    reply = REPLIES[name]["response"]
    headers = {n: text for n, text in reply["headers"].items() if n != "content-length"}
    return raw_reply(reply["status"], headers | more_headers, reply["body"].encode())


def recorded(name: str) -> Fault:
    """Answer with the reply of this name, and close."""
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


def over_broken_tls(record: bytes) -> Fault:
    """Send bytes past the TLS layer: they are not what the client can decrypt."""

    def send(sock: socket.socket) -> None:
        with socket.socket(fileno=os.dup(sock.fileno())) as raw:
            raw.sendall(record)

    return send


def hang(seconds: float) -> Fault:
    """Send nothing for so long, or until the server stops or the client gives up."""

    def wait(sock: socket.socket) -> None:
        select.select([sock], [], [], seconds)  # the end of the connection is readable

    return wait


# --- Rows


def encode(row: Row, columns: str) -> bytes:
    """Return a row as the server writes it, null for a column that is not there."""
    values = {}
    for item in columns.split(","):
        name, _, source = item.rpartition(":")
        column, _, key = source.partition("->")
        value = row.get(column)
        values[name or column] = (value or {}).get(key) if key else value
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()


def gap(request: Request) -> str:
    """Return what a request asks for that is not served here, or ''."""
    for name, texts in request.query.items():
        for text in texts:
            if not SERVED.fullmatch(f"{name}={text}"):
                return f"{name}={text}"
    needed = ["select", "archived_at", "limit"]
    if not request.counted:
        needed.append("order")
    missing = [name for name in needed if name not in request.query]
    return f"a request without {missing[0]}" if missing else ""


def answer(rows: list[Row], max_rows: int, text_ids: bool, request: Request) -> bytes:
    """Return what the real server would reply, or a refusal that names the gap."""
    if gap(request):
        problem = f"local_supabase.py does not serve {gap(request)}"
        return raw_reply(400, {}, json.dumps({"message": problem}).encode())
    above, up_to = request.above, request.up_to
    for bound in (above, up_to):
        if bound is not None and not text_ids and not UUID_FORM.fullmatch(bound):
            return replay("malformed uuid in a filter")
    rows = sorted(
        (
            row
            for row in rows
            if row["archived_at"] is None
            and (above is None or row["id"] > above)
            and (up_to is None or row["id"] <= up_to)
        ),
        key=lambda row: row["id"],
    )
    page = rows[: min(int(request.query["limit"][0]), max_rows)]
    encoded = [encode(row, request.query["select"][0]) for row in page]
    return rows_reply(encoded, len(rows) if request.counted else None)


# --- The endpoint


class LocalSupabase:
    """The endpoint, listening on a free port of 127.0.0.1 inside a `with`.

    rows: the table, a dict a row, each with every column. Kept, not copied: what a
        test changes is there for the next request.
    max_rows: the most rows in a reply, whatever limit is asked for (db-max-rows).
    key: the key that it takes.
    text_ids: whether the ids are any text; otherwise they are uuids.
    secure: whether it speaks https, with a certificate that only SSL_CERT_FILE can
        make trusted. It then prefers HTTP/2, which it can't speak: a client that
        offers it fails.

    url: like http://127.0.0.1:45678, the same after stop() and start().
    requests: every request so far, those that got a fault included.
    before_reply: called with each request before it gets its reply or fault.
    fault_for: called with each request; the fault that it gets instead of a reply, or
        None. The connection is closed after a fault.
    """

    def __init__(
        self,
        rows: list[Row],
        max_rows: int = 1000,
        key: str = KEY,
        text_ids: bool = False,
        secure: bool = False,
    ) -> None:
        self.rows = rows
        self.max_rows = max_rows
        self.key = key
        self.text_ids = text_ids
        self.secure = secure
        self.url = ""
        self.requests: list[Request] = []
        self.before_reply: Callable[[Request], object] = lambda request: None
        self.fault_for: Callable[[Request], Fault | None] = lambda request: None
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
        self.url = f"http{'s' if self.secure else ''}://127.0.0.1:{self._port}"
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
        request = Request(path, parse_qs(url.query, keep_blank_values=True), headers)
        with self._lock:
            self.requests.append(request)
            self.before_reply(request)
            fault = self.fault_for(request)
            rows = self.rows[:]
        if fault:
            fault(sock)
            return False
        authorization = headers["apikey"], headers["authorization"]
        if authorization != (self.key, f"Bearer {self.key}"):
            sock.sendall(replay("gateway: wrong API key"))
        elif url.path != "/rest/v1/scraped_videos":
            sock.sendall(replay("unknown table"))
        else:
            sock.sendall(answer(rows, self.max_rows, self.text_ids, request))
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
        if self.supabase.secure:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE)
            context.set_alpn_protocols(["h2", "http/1.1"])
            # The connection's own thread shakes hands, when it reads for the first time.
            sock = context.wrap_socket(
                sock, server_side=True, do_handshake_on_connect=False
            )
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

    do_CONNECT = do_GET  # what a proxy is asked for a tunnel; only faults answer it

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
