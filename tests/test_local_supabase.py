"""The local endpoint answers as the real server did, and refuses what it doesn't know."""

import json
import ssl
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from local_supabase import (
    CERTIFICATE,
    KEY,
    REPLIES,
    LocalSupabase,
    Row,
    hang,
    recorded,
)

NOT_ARCHIVED = 7389  # rows, when the replies were recorded
PAGES = [
    "first page, exact count",
    "next page by key",
    "past the end by key",
    "the rest of a range",
    "past the end of a range",
    "server cap below the asked limit",
]
TABLE = "/rest/v1/scraped_videos"
PAGE = f"{TABLE}?select=id&archived_at=is.null&order=id.asc&limit=9"


def recorded_rows() -> Iterator[Row]:
    """Yield the six rows that the recordings show, as they are in the table."""
    for name in ("first page, exact count", "next page by key"):
        for row in json.loads(REPLIES[name]["response"]["body"]):
            keys = ("bookmarks", "followers", "uploaded_at")
            metadata = {key: row.pop(key) for key in keys}
            yield row | {"metadata": metadata, "archived_at": None}


@pytest.fixture(scope="module")
def supabase() -> Iterator[LocalSupabase]:
    """The table as it was recorded, but for an archived row and made-up ones."""
    rows = list(recorded_rows())
    for number in range(NOT_ARCHIVED - 6):
        made_up = str(uuid.UUID(int=(1 << 120) + number))
        rows.append({"id": made_up, "archived_at": None})
    rows.append(rows[0] | {"id": str(uuid.UUID(int=5)), "archived_at": "2026-02-14"})
    with LocalSupabase(rows[::-1]) as server:
        yield server


def ask(
    server: LocalSupabase, path: str, key: str = KEY, **more: Any
) -> httpx.Response:
    """Send a GET with the key and return the reply."""
    headers = {"apikey": key, "authorization": f"Bearer {key}"} | more
    return httpx.get(server.url + path, headers=headers, trust_env=False)


def assert_recorded(reply: httpx.Response, name: str) -> None:
    """See that a reply is the recorded one, to the last byte of its body."""
    expected = REPLIES[name]["response"]
    status = (reply.status_code, reply.reason_phrase)
    assert status == (expected["status"], expected["reason"])
    assert reply.content == expected["body"].encode()
    length = {"content-length": str(len(reply.content))}
    assert dict(reply.headers) == expected["headers"] | length


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_the_recorded_one(name: str, supabase: LocalSupabase) -> None:
    request = REPLIES[name]["request"]
    more = {"prefer": request["prefer"]} if "prefer" in request else {}
    supabase.max_rows = 2 if "server cap" in name else 1000
    path = request["path"].replace("->>", "->")  # the same for text, which it was
    assert_recorded(ask(supabase, path, **more), name)


def test_the_errors_are_the_recorded_ones(supabase: LocalSupabase) -> None:
    assert_recorded(ask(supabase, PAGE.replace("videos", "video")), "unknown table")
    assert_recorded(ask(supabase, f"{PAGE}&id=gt.abc"), "malformed uuid in a filter")
    assert_recorded(ask(supabase, PAGE, key="another"), "gateway: wrong API key")


def test_every_reply_of_the_files_can_be_a_fault() -> None:
    with LocalSupabase([]) as server:
        for name, reply in REPLIES.items():
            server.fault_for = lambda request, name=name: recorded(name)  # type: ignore[misc]
            got, expected = ask(server, TABLE), reply["response"]
            assert got.status_code == expected["status"]
            assert got.content == expected["body"].encode()
            headers = expected["headers"] | {"content-length": str(len(got.content))}
            assert headers.items() <= dict(got.headers).items()


@pytest.mark.parametrize(
    "path",
    [
        f"{PAGE}&views=gt.5",
        PAGE.replace("id.asc", "views.asc"),
        PAGE.replace("&order=id.asc", ""),
        PAGE.replace("&archived_at=is.null", ""),
    ],
)
def test_what_the_script_never_asks_for_is_refused(
    path: str, supabase: LocalSupabase
) -> None:
    reply = ask(supabase, path)
    assert reply.status_code == 400
    assert reply.json()["message"].startswith("local_supabase.py does not serve ")


def test_a_fault_comes_instead_of_a_reply_and_the_server_can_stop_and_start() -> None:
    with LocalSupabase([]) as server:
        faults = {2: recorded("database crashed"), 5: hang(0.1)}
        server.fault_for = lambda request: faults.get(len(server.requests))
        assert [ask(server, PAGE).status_code for _ in range(3)] == [200, 400, 200]
        assert [request.counted for request in server.requests] == [False] * 3
        server.stop()
        with pytest.raises(httpx.ConnectError):
            ask(server, PAGE)
        server.start()
        assert ask(server, PAGE).status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            ask(server, PAGE)


def test_it_speaks_https_with_a_certificate_that_nobody_trusts() -> None:
    with LocalSupabase([], secure=True) as server:
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            ask(server, PAGE)
        trusting = ssl.create_default_context(cafile=CERTIFICATE)
        reply = httpx.get(server.url + PAGE, verify=trusting, trust_env=False)
        assert reply.status_code == 401
