"""Faults that last: one message that names the cause and what to do, and no harm."""

import json
import math
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from local_supabase import KEY, LocalSupabase, http_reply
from sample_videos import sample_videos

import extract_training_data as script

Serve = Callable[..., LocalSupabase]
Extract = Callable[..., int]
EARLIER = b"an earlier training set"
SECRET = "sb_secret_do_not_show_me"


@pytest.fixture
def fails(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    waits: list[float],
) -> Callable[..., str]:
    """Run the script, see that it fails and does no harm, and return what it says."""

    def run(exit_code: int, url: str, key: str, *options: str) -> str:
        Path("training-data.json").write_bytes(EARLIER)
        for name, value in (("SUPABASE_URL", url), ("SUPABASE_SECRET_KEY", key)):
            if value:
                monkeypatch.setenv(name, value)
        before = sorted(os.listdir())
        assert script.main(options) == exit_code
        output = capsys.readouterr()
        assert output.out == ""
        assert "Traceback" not in output.err
        assert "\n\n" not in output.err
        if len(key) > 5:
            assert key not in output.err
        assert Path("training-data.json").read_bytes() == EARLIER
        assert sorted(os.listdir()) == before
        assert re.search(r"^Error: \S", output.err, re.MULTILINE)
        assert output.err.endswith("\nNothing was written.\n")
        return output.err

    return run


Fails = Callable[..., str]

# --- Settings


@pytest.mark.parametrize(
    ("url", "key", "missing"),
    [
        ("", "", "SUPABASE_URL and SUPABASE_SECRET_KEY."),
        ("", SECRET, "SUPABASE_URL."),
        ("https://abcdefgh.supabase.co", "", "SUPABASE_SECRET_KEY."),
        ("  ", SECRET, "SUPABASE_URL."),
    ],
)
def test_settings_that_are_missing(
    url: str, key: str, missing: str, fails: Fails, home: Path
) -> None:
    message = fails(2, url, key)
    assert (
        f"Not set, neither in the environment nor in .env.local or .env:\n{missing}\n"
        in message
    )
    assert (
        f"a copy of .env.example, which says where to find it, as\n{home}/.env"
        in message
    )


@pytest.mark.parametrize(
    "url",
    [
        "abcdefgh.supabase.co",
        "https://",
        "https:///rest",
        "//abcdefgh.supabase.co",
        "ftp://abcdefgh.supabase.co",
        "postgresql://postgres:secret@db.abcdefgh.supabase.co:5432/postgres",
        "https://me:secret@abcdefgh.supabase.co",
        "https://:secret@abcdefgh.supabase.co",
        "https://abc defgh.supabase.co",
        "https://abcdefgh\u2026.supabase.co",
        "https://abcdefgh.supabase.co:port",
        "https://abcdefgh.supabase.co:99999",
        "https://abcdefgh.supabase.co:0",
        "https://[::1",
        "https://a..b",
        "https://xn--",
        "https://999.999.999.999",
        f"https://{'a' * 64}.co",
        "https://a\\b",
        "https://abcdefgh.supabase.co?apikey=1",
        "https://abcdefgh.supabase.co/#settings",
        SECRET,
    ],
)
def test_a_url_that_is_none(url: str, fails: Fails) -> None:
    message = fails(2, url, SECRET)
    assert "SUPABASE_URL is no URL that looks like https://abcdefgh" in message
    assert "secret@" not in message


@pytest.mark.parametrize(
    "key", [f"{SECRET} # mine", f"{SECRET}\n{SECRET}", "schlüssel", "https://abc.co"]
)
def test_a_key_that_is_none(key: str, fails: Fails) -> None:
    message = fails(2, "https://abcdefgh.supabase.co", key)
    assert "SUPABASE_SECRET_KEY is no key: it has spaces" in message


@pytest.mark.parametrize("name", [".env.local", ".env"])
def test_settings_that_are_no_text(name: str, fails: Fails, home: Path) -> None:
    (home / name).write_bytes("SUPABASE_URL=x".encode("utf-16"))
    message = fails(2, "https://abcdefgh.supabase.co", SECRET)
    assert f"{home / name} can't be read, or is not text in UTF-8" in message


def test_settings_that_may_not_be_read(
    fails: Fails, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbid(path: Path, encoding: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(script, "dotenv_values", forbid)
    message = fails(2, "https://abcdefgh.supabase.co", SECRET)
    assert f"{home}/.env.local can't be read" in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALL_PROXY", "socks5://127.0.0.1:1080"),
        ("HTTPS_PROXY", f"foo://{SECRET}"),
        ("NO_PROXY", "[::1"),
        ("SSL_CERT_FILE", "/nowhere/ca.pem"),
    ],
)
def test_a_proxy_or_certificates_that_can_not_be_used(
    name: str, value: str, fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv(name, value)
    message = fails(2, "https://abcdefgh.supabase.co", SECRET)
    assert "The proxy or certificates set in the environment can't be used: " in message


def test_source_date_epoch_that_is_no_time(
    fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in ("yesterday", "1e9", "9" * 30, str(2**60)):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", text)
        message = fails(2, "https://abcdefgh.supabase.co", SECRET)
        assert "SOURCE_DATE_EPOCH must be whole seconds since 1970" in message


# --- The baseline


def baseline(changed: int = 3, **changes: Any) -> dict[str, Any]:
    """Return a good baseline, with a change to one tier."""
    tiers = [
        {"tier": tier, "weighted_score_threshold": {"min": tier / 10, "max": tier}}
        for tier in (1, 2, 3, 4, 5)
    ]
    tiers[changed - 1] |= changes
    return {"virality_tiers": tiers}


NO_LIST = (
    'it has no list "virality_tiers" in which each entry has\n'
    '"tier" and "weighted_score_threshold" with "min".\nRestore the file'
)


def threshold(low: Any, tier: int = 3) -> dict[str, Any]:
    return baseline(tier, weighted_score_threshold={"min": low, "max": 1})


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "No such file or directory"),
        ("", "it is not JSON"),
        ("{'virality_tiers': []}", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        (b"\xff\xfe{\0}\0", "it is not JSON"),
        ([], NO_LIST),
        ([1], NO_LIST),
        ({}, NO_LIST),
        ({"virality_tiers": {}}, "its tiers are []"),
        ({"virality_tiers": {"a": 1}}, NO_LIST),
        ({"virality_tiers": [1, 2, 3, 4, 5]}, NO_LIST),
        (baseline(tier=None), NO_LIST),
        (baseline(weighted_score_threshold={}), NO_LIST),
        (baseline(weighted_score_threshold=0.3), NO_LIST),
        (baseline(weighted_score_threshold=None), NO_LIST),
        (
            {"virality_tiers": baseline()["virality_tiers"][:4]},
            "its tiers are [1, 2, 3, 4]",
        ),
        ({"virality_tiers": []}, "its tiers are []"),
        (
            baseline(tier=4),
            "its tiers are [1, 2, 4, 4, 5] instead of 1 to 5, once each",
        ),
        (
            baseline(tier=2),
            "its tiers are [1, 2, 2, 4, 5] instead of 1 to 5, once each",
        ),
        (baseline(tier=6), "its tiers are [1, 2, 4, 5, 6]"),
        (
            threshold(0.2),
            "its thresholds [0.1, 0.2, 0.2, 0.4, 0.5] are not finite numbers that ascend",
        ),
        (threshold(0.1), "its thresholds [0.1, 0.2, 0.1, 0.4, 0.5]"),
        (threshold(0.4), "its thresholds [0.1, 0.2, 0.4, 0.4, 0.5]"),
        (threshold("0.3"), "its thresholds [0.1, 0.2, '0.3', 0.4, 0.5] are not finite"),
        (threshold(True), "its thresholds [0.1, 0.2, True, 0.4, 0.5]"),
        (threshold(None), "its thresholds [0.1, 0.2, None, 0.4, 0.5]"),
        (threshold(math.nan), "its thresholds [0.1, 0.2, nan, 0.4, 0.5]"),
        (threshold(math.inf, 5), "its thresholds [0.1, 0.2, 0.3, 0.4, inf]"),
        (threshold(-math.inf, 1), "its thresholds [-inf, 0.2, 0.3, 0.4, 0.5]"),
        (threshold([0.3]), "its thresholds [0.1, 0.2, [0.3], 0.4, 0.5]"),
    ],
)
@pytest.mark.parametrize("option", [True, False])
def test_a_baseline_that_is_wrong(
    content: Any, problem: str, option: bool, fails: Fails, home: Path
) -> None:
    """Named with --baseline, or beside the script."""
    path = Path("other.json") if option else home / "calibration-baseline.json"
    path.unlink(missing_ok=True)
    if content is not None:
        if not isinstance(content, str | bytes):
            content = json.dumps(content)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    options = ("--baseline", str(path)) if option else ()
    message = fails(2, "https://abcdefgh.supabase.co", SECRET, *options)
    assert f"The baseline {path}\ncan't be used: {problem}" in message
    assert "--baseline" in message


def test_a_baseline_that_is_a_folder(fails: Fails) -> None:
    message = fails(2, "https://abcdefgh.supabase.co", SECRET, "--baseline", ".")
    assert "can't be used: Is a directory" in message


# --- The output


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("nowhere/training-data.json", "No such file or directory"),
        ("training-data.json/training-data.json", "Not a directory"),
        (".", "--output . is a folder, a device or a circle of links."),
        ("/dev/full", "--output /dev/full is a folder, a device"),
        ("/dev/null", "--output /dev/null is a folder, a device"),
        ("/proc/training-data.json", "Can't write to the folder /proc: "),
    ],
)
def test_an_output_that_can_not_be_written(
    path: str, problem: str, fails: Fails
) -> None:
    message = fails(2, "https://abcdefgh.supabase.co", SECRET, "--output", path)
    assert problem in message
    assert "--output" in message


# --- The server


@pytest.mark.parametrize(
    ("role", "words", "advice"),
    [
        (
            "",
            "HTTP 401 Unauthorized: Invalid API key: Double check",
            "To copy it anew: Supabase dashboard",
        ),
        ("expired token", "JWT expired: PGRST303", "Is it this project's secret key?"),
        (
            "token with a bad signature",
            "PGRST301: None of the keys",
            "To copy it anew: Supabase dashboard",
        ),
        (
            "role may not read the table",
            "permission denied for table scraped_videos: 42501",
            "This key's role may not read the table: use the secret key.",
        ),
        (
            "row-level security hides every row",
            "The key sees no rows in scraped_videos that are not archived",
            "A publishable (anon) key may see none",
        ),
    ],
)
def test_a_key_that_may_not(
    role: str, words: str, advice: str, serve: Serve, fails: Fails
) -> None:
    server = serve(10, roles={SECRET: role} if role else None)
    message = fails(1, server.url, SECRET)
    assert words in message
    assert advice in message
    assert len(server.requests) == 1


def test_no_such_table(serve: Serve, fails: Fails) -> None:
    message = fails(1, serve(10, table="scraped_video").url, KEY)
    assert (
        "HTTP 404 Not Found: Could not find the table 'public.scraped_videos'"
        in message
    )
    assert "PGRST205" in message
    assert "Perhaps you meant the table 'public.scraped_video'" in message
    assert "Is SUPABASE_URL the project that holds the table scraped_videos?" in message


def test_no_such_column(serve: Serve, fails: Fails) -> None:
    rows = sample_videos(1)
    columns = {name: "text" for name in rows[0] if name != "sound_name"}
    message = fails(1, serve(rows, columns=columns).url, KEY)
    assert "column scraped_videos.sound_name does not exist: 42703" in message
    assert "The table lacks a column that the script reads; see README.md." in message


@pytest.mark.parametrize(
    ("status", "body", "words", "advice"),
    [
        (
            403,
            b'{"message":"Forbidden"}',
            "HTTP 403 Forbidden: Forbidden",
            "Use the secret key",
        ),
        (
            404,
            b"<html>not here</html>",
            "HTTP 404 Not Found, after",
            "Is SUPABASE_URL the",
        ),
        (400, b"what?", "HTTP 400 Bad Request: what?, after 0 rows", ""),
        (400, b"nope. ", "HTTP 400 Bad Request: nope, after 0 rows.\n", ""),
        (400, b"y" * 450, "y" * 450, ""),
        (304, b"", "HTTP 304 Not Modified, after 0 rows", ""),
        (418, b'["a", "b"]', ': ["a", "b"], after 0 rows', ""),
        (422, b'{"message": null, "hint": {"a": 1}}', ": {'a': 1}, after 0 rows", ""),
        (410, b"\xff\xfe", "HTTP 410", ""),
        (414, b"[" * 100_000, ": [[[", ""),
    ],
)
def test_other_refusals_are_final_at_once(
    status: int, body: bytes, words: str, advice: str, serve: Serve, fails: Fails
) -> None:
    server = serve(10)
    server.faults[0] = http_reply(status, body)
    message = fails(1, server.url, KEY)
    assert words in message
    assert advice in message
    if not advice:  # what is said of a server that is down would lead astray
        assert message.endswith(", after 0 rows.\nNothing was written.\n")
    assert len(message) < 700
    assert len(server.requests) == 1


def test_what_the_server_says_can_not_show_the_key_or_write_to_the_terminal(
    serve: Serve, fails: Fails
) -> None:
    server = serve(10, key=SECRET)
    for length in range(380, 480, 10):  # until the last key no longer fits
        text = f"\x1b[2Jno\r\nkey {SECRET}\u202e " + "x" * length + SECRET
        server.requests.clear()
        server.faults[0] = http_reply(400, json.dumps({"message": text}).encode())
        message = fails(1, server.url, SECRET)
        assert " [2Jno  key [key]  xxx" in message
        assert SECRET[:9] not in message


def test_a_redirect_is_an_error_and_takes_the_key_nowhere(
    serve: Serve, fails: Fails
) -> None:
    server, other = serve(10, key=SECRET), serve(10, key=SECRET)
    for status in (301, 302, 303, 307, 308):
        server.requests.clear()
        server.faults[0] = http_reply(
            status, location=f"{other.url}/rest/v1/scraped_videos"
        )
        message = fails(1, server.url, SECRET)
        assert f"HTTP {status} " in message
        assert f": redirected to {other.url}/rest" in message
        assert "The key was not sent there." in message
        assert len(server.requests) == 1
    assert other.requests == []


def test_a_host_that_does_not_exist(fails: Fails) -> None:
    message = fails(1, "https://no-such-host.invalid", SECRET)
    assert re.search(r"No reply from no-such-host.invalid: [A-Z]", message)  # no [Errno
    assert "after 0 rows and 5 attempts" in message
    assert "A paused project is restored" in message


def test_nobody_listens(fails: Fails) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    message = fails(1, f"http://127.0.0.1:{port}", SECRET)
    assert "No reply from 127.0.0.1: " in message
    assert "Connection refused, after 0 rows and 5 attempts." in message
    assert "Is SUPABASE_URL right, and this machine online?" in message
    assert "Errno" not in message


def test_something_else_answers(serve: Serve, fails: Fails) -> None:
    server = serve(10)
    server.default_fault = http_reply(200, b"<html>Welcome</html>")
    message = fails(1, server.url, KEY)
    assert "The reply is not a JSON array of rows, after 0 rows and 5 att" in message
    assert "Is SUPABASE_URL the project's own" in message


# --- The table


def test_an_empty_table(serve: Serve, fails: Fails) -> None:
    assert "The key sees no rows" in fails(1, serve([]).url, KEY)


def test_everything_is_archived(serve: Serve, fails: Fails) -> None:
    rows = sample_videos(10)
    for row in rows:
        row["archived_at"] = "2026-02-14T09:00:00+00:00"
    assert "no rows in scraped_videos that are not archived" in fails(
        1, serve(rows).url, KEY
    )


def test_a_status_line_or_count_that_holds_the_key(serve: Serve, fails: Fails) -> None:
    server = serve(10, key=SECRET)
    for reply in (
        f"{SECRET}\x1b[2J\r\n\r\n",
        f"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Range: */{SECRET}\r\n\r\n[]",
    ):
        server.default_fault = lambda sock, reply=reply: sock.sendall(reply.encode())
        message = fails(1, server.url, SECRET)
        assert "[key]" in message
        assert "\x1b" not in message


def test_an_id_that_no_url_can_hold(serve: Serve, fails: Fails) -> None:
    server = serve(10)
    body = json.dumps([{"id": "1" * 70_000}]).encode()
    server.faults[0] = http_reply(200, body, content_range="0-0/1")
    assert "too long, after 1 rows" in fails(1, server.url, KEY)


def test_the_waits_of_a_failed_run_are_those_of_the_contract(
    serve: Serve, fails: Fails, waits: list[float]
) -> None:
    server = serve(10)
    server.default_fault = http_reply(503)
    message = fails(1, server.url, KEY)
    assert "https://status.supabase.com shows outages." in message
    assert waits == [1, 2, 4, 8]


@pytest.mark.parametrize("usable", [0, 1])
def test_too_few_usable_videos(usable: int, serve: Serve, fails: Fails) -> None:
    rows = sample_videos(10)
    for number, row in enumerate(rows):
        row |= {
            "archived_at": None,
            "duration_seconds": 9,
            "views": int(number < usable),
        }
    message = fails(1, serve(rows).url, KEY)
    assert (
        f"Too few usable videos: {usable}. Dropped: {10 - usable} without views."
        in message
    )


def test_one_video_alone(serve: Serve, fails: Fails) -> None:
    row = sample_videos(1)[0] | {"archived_at": None, "duration_seconds": 9, "views": 9}
    message = fails(1, serve([row]).url, KEY)
    assert "Too few usable videos: 1. Dropped: none.\nTwo are needed, with" in message


def test_two_videos_are_enough(serve: Serve, extract: Extract) -> None:
    rows = sample_videos(2)
    for row in rows:
        row |= {"archived_at": None, "duration_seconds": 9, "views": 9}
    assert extract(serve(rows)) == 0
