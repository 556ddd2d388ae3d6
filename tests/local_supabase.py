"""A Supabase project's REST endpoint on this machine, for one table of plain dicts.

    with LocalSupabase(rows) as supabase:
        client = create_client(supabase.url, supabase.key)

It answers as the real server does: postgrest-replies.json holds replies of a real
PostgREST, and test_local_supabase.py holds this one to them, byte for byte. So a wrong
request gets a wrong answer or an error here, too: rows come in random order unless one
is asked for, a page ends at the server's cap, and JSON null is not SQL's null.

What real PostgREST serves but this does not (embedding, casts, `or`, `in`, ranges in
headers, ...) gets status 400 and a message that says so. Of the errors, those that no
recording shows have the real status and code, but not the exact wording.

A test can count and read the requests, change the rows between two of them, and have
faults instead of replies. A fault is a function that gets the connected socket and
does with it what it likes; http_reply, reset, cut_off and hang make or are faults.
"""

import json
import operator
import random
import re
import select
import socket
import struct
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from difflib import get_close_matches
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from types import TracebackType
from typing import Any, NamedTuple, NoReturn, Self
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

Row = dict[str, Any]
Fault = Callable[[socket.socket], None]
Read = Callable[[Row], Any]  # a column or JSON path of a row; None is SQL's null

KEY = "sb_secret_local"
COLUMNS = {  # name: type in Postgres
    "id": "uuid",
    "platform": "text",
    "platform_video_id": "text",
    "video_url": "text",
    "author": "text",
    "author_url": "text",
    "description": "text",
    "views": "bigint",
    "likes": "bigint",
    "shares": "bigint",
    "comments": "bigint",
    "sound_name": "text",
    "sound_url": "text",
    "hashtags": "text[]",
    "duration_seconds": "integer",
    "category": "text",
    "metadata": "jsonb",
    "archived_at": "timestamp with time zone",
    "created_at": "timestamp with time zone",
    "updated_at": "timestamp with time zone",
}
ROLES = (  # what `roles` can make of a key; named as the recordings are
    "expired token",
    "token with a bad signature",
    "role may not read the table",
    "row-level security hides every row",
)
ROOT = "/rest/v1/"
JSON_TYPE = "application/json; charset=utf-8"
JSON_NULL = object()  # null in a jsonb, which is not null for SQL

COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "neq": operator.ne,
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
UNSERVED_OPERATORS = re.compile(
    r"(like|ilike|match|imatch|in|isdistinct|cs|cd|ov|sl|sr|nxr|nxl|adj"
    r"|(fts|plfts|phfts|wfts)(\(\w+\))?|\w+\((any|all)\))"
)
UNSERVED_PARAMETERS = re.compile(r"(not\.)?(and|or)|columns|on_conflict|.*\..*")
PATH = r"\w+(?:->>?\w+)*"
SELECTED = re.compile(rf"(?:(\w+):)?({PATH})")
ORDERED = re.compile(rf"({PATH})(?:\.(asc|desc))?")


class Request(NamedTuple):
    """A request that came: `path` as sent, query included; `headers` in any case."""

    method: str
    path: str
    headers: Message


class Reply(NamedTuple):
    """What the endpoint answers."""

    status: int
    headers: dict[str, str]
    body: bytes


class Refusal(Exception):
    """A reply other than rows."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply)
        self.reply = reply


# --- Faults


def http_reply(
    status: int, body: bytes = b"", reason: str = "", **headers: str
) -> Fault:
    """Answer with this, and close. An underscore in a header's name is a hyphen."""
    named = {name.replace("_", "-").lower(): text for name, text in headers.items()}
    raw = raw_reply(Reply(status, {"connection": "close"} | named, body), reason)
    return lambda sock: sock.sendall(raw)


def reset(sock: socket.socket) -> None:
    """Reset the connection before any byte of a reply."""
    # Lingering for 0 seconds makes close() reset. The file descriptor is closed itself,
    # because sock.close() waits for the files made from the socket.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    socket.close(sock.detach())


def cut_off(body: bytes) -> Fault:
    """Announce `body` with status 200, but close after the first half of it."""
    raw = raw_reply(Reply(200, {"content-type": JSON_TYPE}, body))
    return lambda sock: sock.sendall(raw[: len(raw) - (len(body) + 1) // 2])


def hang(seconds: float) -> Fault:
    """Say nothing for so long, or until the server stops or the client gives up."""

    def wait(sock: socket.socket) -> None:
        select.select([sock], [], [], seconds)  # the end of the connection is readable

    return wait


# --- The endpoint


class LocalSupabase:
    """The endpoint, listening on a free port of 127.0.0.1 inside a `with`.

    rows: the table, a dict a row, each with every column. Kept, not copied: what a
        test changes is there for the next request.
    key: the secret key, which sees every row.
    max_rows: the most rows in a reply, whatever limit is asked for (db-max-rows).
    table, columns: the table's name, and its columns with their types in Postgres.
    roles: more keys, each with what becomes of its requests, one of ROLES.

    url: like http://127.0.0.1:45678, the same after stop() and start().
    requests: every request so far, those that got a fault included.
    before_reply: called with a request's number, from 0, before it gets reply or fault.
    faults: by the number of the request, what it gets instead of a reply; the
        connection is closed after it.
    default_fault: what every request gets that `faults` has nothing for.
    """

    def __init__(
        self,
        rows: list[Row],
        *,
        key: str = KEY,
        max_rows: int = 1000,
        table: str = "scraped_videos",
        columns: Mapping[str, str] = COLUMNS,
        roles: Mapping[str, str] | None = None,
    ) -> None:
        self.rows = rows
        self.key = key
        self.max_rows = max_rows
        self.table = table
        self.columns = columns
        self.roles = roles or {}
        if unknown := set(self.roles.values()).difference(ROLES):
            raise ValueError(f"not in ROLES: {unknown}")
        self.url = ""
        self.requests: list[Request] = []
        self.before_reply: Callable[[int], None] | None = None
        self.faults: dict[int, Fault] = {}
        self.default_fault: Fault | None = None
        self._counting = threading.Lock()
        self._port = 0  # any free one
        self._server: Server | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Listen; after stop(), on the same port."""
        self._server = Server(self, self._port)
        self._port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self._port}"
        threading.Thread(
            target=self._server.serve_forever,
            args=(0.01,),  # seconds that stop() may wait
            daemon=True,
        ).start()

    def stop(self) -> None:
        """Refuse connections from now on, and end those there are."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server.end_connections()
            self._server = None

    def handle(self, request: Request, sock: socket.socket) -> bool:
        """Reply to the request, or do its fault. Return whether a reply was sent."""
        with self._counting:
            number = len(self.requests)
            self.requests.append(request)
        if self.before_reply:
            self.before_reply(number)
        if fault := self.faults.get(number, self.default_fault):
            fault(sock)
            return False
        sock.sendall(raw_reply(self.answer(request)))
        return True

    def answer(self, request: Request) -> Reply:
        """Return what the real server would reply."""
        try:
            role = self.authorize(request)
            url = urlsplit(request.path)
            if not url.path.startswith(ROOT):
                body = {"error": "requested path is invalid"}
                raise Refusal(Reply(404, {"content-type": JSON_TYPE}, dump(body)))
            if request.method != "GET":
                refuse(405, "PGRST117", f"Unsupported HTTP method: {request.method}")
            return self.select(
                url.path.removeprefix(ROOT),
                parse_qsl(url.query, keep_blank_values=True),
                request.headers,
                role,
            )
        except Refusal as refusal:
            return refusal.reply

    def authorize(self, request: Request) -> str | None:
        """Return the role of the request's key, None for the secret key's."""
        key = request.headers["apikey"]
        known = key == self.key or key in self.roles
        if not known or request.headers["authorization"] != f"Bearer {key}":
            body = {
                "message": "Invalid API key",
                "hint": "Double check your Supabase `anon` or `service_role` API key.",
            }
            raise Refusal(Reply(401, {"content-type": "application/json"}, dump(body)))
        role = self.roles.get(key)
        invalid = 'Bearer error="invalid_token", error_description='
        if role == "expired token":
            message = "JWT expired"
            refuse(401, "PGRST303", message, authenticate=f'{invalid}"{message}"')
        if role == "token with a bad signature":
            message = "No suitable key or wrong key type"
            details = "None of the keys was able to decode the JWT"
            refuse(401, "PGRST301", message, details, None, f'{invalid}"{message}"')
        return role

    def select(
        self,
        table: str,
        parameters: list[tuple[str, str]],
        headers: Message,
        role: str | None,
    ) -> Reply:
        """Return the page of rows that is asked for. Raises Refusal."""
        if table != self.table:
            hint = None
            if get_close_matches(table, [self.table]):
                hint = f"Perhaps you meant the table 'public.{self.table}'"
            message = f"Could not find the table 'public.{table}' in the schema cache"
            refuse(404, "PGRST205", message, hint=hint)
        if "range" in headers:
            not_served("the header Range")
        if headers["accept"] not in (None, "*/*", "application/json"):
            not_served(f"Accept: {headers['accept']}")

        fields = {name: read for name, read in self.fields("*")}
        orders: list[tuple[str, Read, bool]] = []
        limit, offset = self.max_rows, 0
        filters: list[Callable[[Row], bool]] = []
        for name, text in parameters:
            if name == "select":
                fields = dict(self.fields(text))
            elif name == "order":
                orders = [self.order(item.strip()) for item in text.split(",")]
            elif name == "limit":
                limit = min(natural(text), self.max_rows)
            elif name == "offset":
                offset = natural(text)
            else:
                filters.append(self.filter(name, text))
        if role == "role may not read the table":
            message = f"permission denied for table {self.table}"
            refuse(401, "42501", message, authenticate="Bearer")

        rows = [] if role == "row-level security hides every row" else self.rows[:]
        for keep in filters:
            rows = [row for row in rows if keep(row)]
        if not any(path == "id" for path, _, _ in orders):
            random.shuffle(rows)  # SQL promises no order, nor one among equals
        for _, read, descending in reversed(orders):
            nulls = [row for row in rows if read(row) is None]
            if nulls:
                rows = [row for row in rows if read(row) is not None]
            rows.sort(key=read, reverse=descending)
            rows = nulls + rows if descending else rows + nulls
        page = rows[offset : offset + limit]
        body = b", \n ".join(
            dump({name: read(row) for name, read in fields.items()}) for row in page
        )
        counted = "count=exact" in re.split(r"[,\s]+", headers.get("prefer", ""))
        return rows_reply(body, len(page), offset, len(rows) if counted else None)

    def field(self, path: str) -> tuple[Read, str]:
        """Return how to read a column or JSON path from a row, and its type."""
        column, *steps = re.split("(->>?)", path)
        arrows, keys = steps[::2], steps[1::2]
        if column not in self.columns:
            hint = None
            if near := get_close_matches(column, self.columns, n=1):
                meant = f'"{self.table}.{near[0]}"'
                hint = f"Perhaps you meant to reference the column {meant}."
            message = f"column {self.table}.{column} does not exist"
            refuse(400, "42703", message, hint=hint)
        if not arrows:
            return operator.itemgetter(column), self.columns[column]
        if "->>" in arrows[:-1] or any(key.isdigit() for key in keys):
            not_served(f"the JSON path {path}")
        if arrows[-1] == "->":
            return lambda row: json_at(row[column], keys), "jsonb"
        return lambda row: json_text(json_at(row[column], keys)), "text"

    def comparable(self, path: str) -> tuple[Read, str]:
        """Return the same as field(), but for values that compare as in Postgres."""
        read, kind = self.field(path)
        convert = CONVERSIONS.get(kind)
        if not convert:
            return read, kind

        def converted(row: Row) -> Any:
            value = read(row)
            return None if value is None else convert(value)

        return converted, kind

    def fields(self, text: str) -> list[tuple[str, Read]]:
        """Return the fields that a `select` asks for: names in the reply, and reads."""
        found = []
        for item in text.split(","):
            if item == "*":
                found += [(column, self.field(column)[0]) for column in self.columns]
            elif match := SELECTED.fullmatch(item.strip()):
                alias, path = match.groups()
                name = alias or re.split("->>?", path)[-1]
                found.append((name, self.field(path)[0]))
            else:
                not_served(f"select={text}")
        return found

    def order(self, text: str) -> tuple[str, Read, bool]:
        """Return the path that an item of `order` sorts by, its read, and whether desc."""
        match = ORDERED.fullmatch(text)
        if not match:
            if text.endswith((".nullsfirst", ".nullslast")):
                not_served(f"order={text}")
            refuse(400, "PGRST100", f'"failed to parse order ({text})"')
        path, direction = match.groups()
        return path, self.comparable(path)[0], direction == "desc"

    def filter(self, name: str, text: str) -> Callable[[Row], bool]:
        """Return whether a row passes the filter, like `views` and `gte.1000`."""
        if UNSERVED_PARAMETERS.fullmatch(name):
            not_served(f"{name}={text}")
        negated = text.startswith("not.")
        word, dot, operand = text.removeprefix("not.").partition(".")
        if UNSERVED_OPERATORS.fullmatch(word):
            not_served(f"{name}={text}")
        if not dot or word not in ("is", *COMPARISONS):
            message = f'"failed to parse filter ({text})" (line 1, column 1)'
            details = (
                f'unexpected "{text[:1]}" expecting "not" or operator (eq, gt, ...)'
            )
            refuse(400, "PGRST100", message, details)
        if word == "is":
            if operand.lower() != "null":
                not_served(f"{name}={text}")
            at, _ = self.field(name)
            return lambda row: (at(row) is None) != negated
        read, kind = self.comparable(name)
        bound, compare = parse(operand, kind), COMPARISONS[word]

        def passes(row: Row) -> bool:
            found = read(row)  # null is neither equal to anything nor unequal
            return found is not None and compare(found, bound) != negated

        return passes


# --- Values


def json_at(value: Any, keys: Sequence[str]) -> Any:
    """Return what jsonb has at the keys, JSON_NULL for its null, None for nothing."""
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            return None
        value = value[key]
    return JSON_NULL if value is None else value


def json_text(value: Any) -> str | None:
    """Return what ->> makes of a value in jsonb."""
    if value is None or value is JSON_NULL:
        return None
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def instant(text: str) -> datetime:
    """Return a timestamptz as what it is compared by."""
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def json_rank(value: Any) -> tuple[int, Any]:
    """Return what a value in jsonb is compared by: its kind first, null the lowest."""
    if value is JSON_NULL:
        return 0, None
    if isinstance(value, list | dict):
        return 4 + isinstance(value, dict), json.dumps(value)
    return (3 if isinstance(value, bool) else 1 if isinstance(value, str) else 2), value


CONVERSIONS: dict[str, Callable[[Any], Any]] = {  # others compare as they are
    "timestamp with time zone": instant,
    "jsonb": json_rank,
}


def parse(text: str, kind: str) -> Any:
    """Return a filter's operand, to compare a field with. Raises Refusal."""
    try:
        match kind:
            case "uuid":
                return str(UUID(text))
            case "bigint" | "integer":
                return int(text)
            case "text":
                return text
            case "timestamp with time zone":
                return instant(text)
            case "jsonb":
                value = json.loads(text)
                return json_rank(JSON_NULL if value is None else value)
    except ValueError:
        code = "22007" if kind.startswith("timestamp") else "22P02"
        if kind == "jsonb":
            refuse(400, code, "invalid input syntax for type json")
        refuse(400, code, f'invalid input syntax for type {kind}: "{text}"')
    not_served(f"comparing {kind}")


def natural(text: str) -> int:
    """Return a limit or offset."""
    if not re.fullmatch("[0-9]+", text):
        not_served(f"a limit or offset of {text}")
    return int(text)


# --- Replies


def without_json_null(value: object) -> None:
    """Let JSON_NULL become null."""
    if value is not JSON_NULL:
        raise TypeError(f"{value!r} can't be in a table")


ENCODER = json.JSONEncoder(
    ensure_ascii=False,
    separators=(",", ":"),
    check_circular=False,
    default=without_json_null,
)


def dump(value: object) -> bytes:
    """Return JSON as the server writes it."""
    return ENCODER.encode(value).encode()


def rows_reply(body: bytes, length: int, offset: int, total: int | None) -> Reply:
    """Return the reply with a page of so many rows; `total` is None if not asked for."""
    headers = {"content-type": JSON_TYPE, "vary": "Accept, Prefer, Range"}
    extent = f"{offset}-{offset + length - 1}" if length else "*"
    headers["content-range"] = f"{extent}/{'*' if total is None else total}"
    body, status = b"[" + body + b"]", 200
    if total is not None:
        headers["preference-applied"] = "count=exact"
        status = 206 if length < total else 200
        if offset > total:
            details = (
                f"An offset of {offset} was requested, but there are only {total} rows."
            )
            message = "Requested range not satisfiable"
            body, status = error_body("PGRST103", message, details, None), 416
    return Reply(status, headers, body)


def error_body(
    code: str | None, message: str, details: str | None, hint: str | None
) -> bytes:
    """Return the body of PostgREST's errors."""
    return dump({"code": code, "details": details, "hint": hint, "message": message})


def refuse(
    status: int,
    code: str,
    message: str,
    details: str | None = None,
    hint: str | None = None,
    authenticate: str = "",
) -> NoReturn:
    """Reply with an error of PostgREST or Postgres."""
    headers = {"content-type": JSON_TYPE, "proxy-status": f"PostgREST; error={code}"}
    if authenticate:
        headers["www-authenticate"] = authenticate
    raise Refusal(Reply(status, headers, error_body(code, message, details, hint)))


def not_served(what: str) -> NoReturn:
    """Reply that the real server may know this, but this one does not."""
    body = error_body(None, f"local_supabase.py does not serve {what}", None, None)
    raise Refusal(Reply(400, {"content-type": JSON_TYPE}, body))


def raw_reply(reply: Reply, reason: str = "") -> bytes:
    """Return the bytes of a reply; the reason is the status's own if none is given."""
    if not reason:
        with suppress(ValueError):
            reason = HTTPStatus(reply.status).phrase
    headers = {"content-length": f"{len(reply.body)}"} | reply.headers
    lines = [f"HTTP/1.1 {reply.status} {reason}"]
    lines += [f"{name}: {text}" for name, text in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + reply.body


# --- Connections


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
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Connection(BaseHTTPRequestHandler):
    """Takes the requests of one connection, one after the other."""

    protocol_version = "HTTP/1.1"  # keeps the connection open
    disable_nagle_algorithm = True
    server: Server

    def do_GET(self) -> None:
        """Hand on a request of any method."""
        path = self.requestline.split()[1]  # self.path has leading slashes merged
        request = Request(self.command, path, self.headers)
        replied = self.server.supabase.handle(request, self.connection)
        if not replied or self.command != "GET":  # a body may wait unread
            self.close_connection = True

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
