"""The local endpoint answers as the real server did, and refuses what it doesn't know."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from local_supabase import KEY, RECORDED, LocalSupabase, Row, hang, recorded

NOT_ARCHIVED = 7389  # rows, when the replies were recorded
COLUMNS = [
    "id",
    "platform_video_id",
    "description",
    "views",
    "likes",
    "shares",
    "comments",
    "sound_name",
    "hashtags",
    "duration_seconds",
    "metadata",
    "archived_at",
]
PAGES = [
    *["first page, exact count", "next page by key", "offset past the end"],
    *["past the end by key", "past the end by key, exact count"],
    *["a range of ids, exact count", "the rest of a range"],
    *["past the end of a range", "past the end of a range, exact count"],
    *["server cap below the asked limit"],
    *["server cap below the asked limit, exact count"],
]
ERRORS = ["unknown column", "unknown table", "malformed uuid in a filter"]
TABLE = "/rest/v1/scraped_videos"


def recorded_rows() -> Iterator[Row]:
    """Yield the six rows that the recordings show, as they are in the table."""
    for name in ("first page, exact count", "next page by key"):
        for row in json.loads(RECORDED[name]["response"]["body"]):
            keys = ("bookmarks", "followers", "uploaded_at")
            metadata = {key: row.pop(key) for key in keys}
            yield dict.fromkeys(COLUMNS) | row | {"metadata": metadata}


@pytest.fixture(scope="module")
def supabase() -> Iterator[LocalSupabase]:
    """The table as it was recorded, but for an archived row and made-up ones."""
    rows = list(recorded_rows())
    for number in range(NOT_ARCHIVED - 6):
        made_up = str(uuid.UUID(int=(1 << 120) + number))
        rows.append(dict.fromkeys(COLUMNS) | {"id": made_up})
    rows.append(rows[0] | {"id": str(uuid.UUID(int=5)), "archived_at": "2026-02-14"})
    with LocalSupabase(rows) as server:
        yield server


def ask(
    server: LocalSupabase, path: str, key: str = KEY, **more: Any
) -> httpx.Response:
    """Send a GET with the key and return the reply."""
    headers = {"apikey": key, "authorization": f"Bearer {key}"} | more
    return httpx.get(server.url + path, headers=headers, trust_env=False)


@pytest.mark.parametrize("name", [*PAGES, *ERRORS, "gateway: wrong API key"])
def test_a_reply_is_the_recorded_one(name: str, supabase: LocalSupabase) -> None:
    request, expected = RECORDED[name]["request"], RECORDED[name]["response"]
    more = {"prefer": request["prefer"]} if "prefer" in request else {}
    supabase.max_rows = 2 if "server cap" in name else 1000
    key = "another" if name.startswith("gateway") else KEY
    reply = ask(supabase, request["path"], key, **more)
    assert (reply.status_code, reply.reason_phrase) == (
        expected["status"],
        expected["reason"],
    )
    assert reply.content == expected["body"].encode()
    length = {"content-length": str(len(reply.content))}
    assert dict(reply.headers) == expected["headers"] | length


@pytest.mark.parametrize("name", RECORDED)
def test_every_recorded_reply_can_be_a_fault(name: str) -> None:
    expected = RECORDED[name]["response"]
    with LocalSupabase([]) as server:
        server.default_fault = recorded(name)
        reply = ask(server, TABLE)
    assert reply.status_code == expected["status"]
    assert reply.content == expected["body"].encode()
    assert expected["headers"].items() - reply.headers.items() <= {
        ("content-length", expected["headers"].get("content-length"))
    }


@pytest.mark.parametrize(
    "query",
    [
        "views=gt.5",
        "order=views.asc",
        "archived_at=not.is.null",
        "id=in.(1,2)",
        "or=(id.is.null)",
        "limit=many",
    ],
)
def test_what_it_does_not_know_is_refused(query: str, supabase: LocalSupabase) -> None:
    reply = ask(supabase, f"{TABLE}?select=id&{query}")
    assert reply.status_code == 400
    assert reply.json()["message"].startswith("local_supabase.py does not serve ")


def test_without_an_order_the_rows_come_in_any(supabase: LocalSupabase) -> None:
    supabase.max_rows = 1000
    first = [ask(supabase, f"{TABLE}?select=id&limit=1").json()[0] for _ in range(9)]
    assert len({row["id"] for row in first}) > 1


def test_archived_rows_come_unless_they_are_left_out(supabase: LocalSupabase) -> None:
    query = f"{TABLE}?select=id&order=id.asc&limit=1"
    assert ask(supabase, query).json() == [{"id": str(uuid.UUID(int=5))}]
    assert (
        ask(supabase, f"{query}&archived_at=is.null").json()
        != ask(supabase, query).json()
    )


def test_a_json_path_keeps_the_type_with_one_arrow_only(
    supabase: LocalSupabase,
) -> None:
    query = "?select=a:metadata->bookmarks,b:metadata->>bookmarks&order=id.desc&limit=1"
    row = dict.fromkeys(COLUMNS) | {"id": "f" * 8, "metadata": {"bookmarks": 7}}
    with LocalSupabase([row]) as server:
        assert ask(server, TABLE + query).json() == [{"a": 7, "b": "7"}]


def test_a_fault_comes_at_its_place_and_the_server_can_stop_and_start() -> None:
    last = "7fffffff-ffff-ffff-ffff-ffffffffffff"
    query = f"{TABLE}?select=id&id=lte.{last}"
    with LocalSupabase([]) as server:
        server.faults[1, 1] = recorded("database crashed")
        assert [ask(server, query).status_code for _ in range(3)] == [200, 400, 200]
        assert [request.place for request in server.requests] == [
            (1, 0),
            (1, 1),
            (1, 2),
        ]
        server.stop()
        with pytest.raises(httpx.ConnectError):
            ask(server, query)
        server.start()
        assert ask(server, query).status_code == 200
        server.default_fault = hang(0.1)
        with pytest.raises(httpx.RemoteProtocolError):
            ask(server, query)
