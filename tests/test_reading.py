"""Reading: every row once, whatever the server's page size and whoever writes."""

import gc
import io
import json
import os
import random
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from conftest import ROOT, written
from local_supabase import KEY, LocalSupabase
from sample_videos import sample_videos

import extract_training_data as script

Serve = Callable[..., LocalSupabase]
Extract = Callable[..., int]
ARCHIVED = "2026-02-14T09:00:00+00:00"


def queries(server: LocalSupabase) -> list[dict[str, list[str]]]:
    """Return the parameters of each request."""
    return [parse_qs(urlsplit(request.path).query) for request in server.requests]


def row(number: int, **columns: Any) -> dict[str, Any]:
    """Return a usable row whose id and video ID end in `number`."""
    base = sample_videos(1)[0]
    ids = {"id": str(uuid.UUID(int=number)), "platform_video_id": f"{number:019}"}
    usable = {"views": 100, "duration_seconds": 20, "archived_at": None}
    return base | ids | usable | columns


def durations(limit: int = 180) -> list[int]:
    """Return the durations in the file, in order: what tells rows apart in it."""
    data = written()
    vectors = data["trainSet"]["features"] + data["testSet"]["features"]
    return sorted(round(vector[6] * limit) for vector in vectors)


def test_a_page_is_1000_rows_in_the_order_of_id(serve: Serve, extract: Extract) -> None:
    server = serve(1500)
    assert extract(server) == 0
    for query in queries(server):
        assert query["limit"] == ["1000"]
        assert query["order"] == ["id.asc"]
        assert query["archived_at"] == ["is.null"]
        assert "offset" not in query


def test_each_page_begins_after_the_last_id_seen(
    serve: Serve, extract: Extract
) -> None:
    server = serve([row(number) for number in range(1, 8)], max_rows=3)
    assert extract(server) == 0
    after = [query.get("id") for query in queries(server)]
    assert after == [None, *([f"gt.{uuid.UUID(int=n)}"] for n in (3, 6, 7))]


def test_nothing_is_fetched_but_the_columns_that_are_used(
    serve: Serve, extract: Extract
) -> None:
    server = serve(10)
    assert extract(server) == 0
    for query in queries(server):
        assert sorted(query["select"][0].split(",")) == [
            "bookmarks:metadata->bookmarks",
            "comments",
            "description",
            "duration_seconds",
            "followers:metadata->followers",
            "hashtags",
            "id",
            "likes",
            "platform",
            "platform_video_id",
            "shares",
            "sound_name",
            "uploaded_at:metadata->uploaded_at",
            "views",
        ]


def test_only_the_first_request_asks_for_the_count(
    serve: Serve, extract: Extract
) -> None:
    server = serve(10, max_rows=4)
    assert extract(server) == 0
    prefer = [request.headers.get("Prefer") for request in server.requests]
    assert prefer == ["count=exact", None, None, None]


def test_a_short_page_is_not_the_end(serve: Serve, extract: Extract) -> None:
    server = serve([row(n, duration_seconds=n) for n in range(1, 101)], max_rows=7)
    assert extract(server) == 0
    assert durations() == list(range(1, 101))
    assert len(server.requests) == 16  # 14 full pages, one of 2 rows, the empty one


def test_archived_rows_are_not_read(serve: Serve, extract: Extract) -> None:
    rows = [row(n, duration_seconds=n) for n in range(1, 21)]
    rows[4]["archived_at"] = rows[15]["archived_at"] = ARCHIVED
    assert extract(serve(rows)) == 0
    assert durations() == [n for n in range(1, 21) if n not in (5, 16)]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file for 1,200 made-up videos, as a person makes it: by the script itself."""
    with LocalSupabase(sample_videos(1200)) as server:
        return run_script(server, tmp_path_factory.mktemp("reference"), "0")


def run_script(server: LocalSupabase, folder: Path, hash_seed: str) -> bytes:
    """Run a copy of the script in a process of its own and return the file."""
    shutil.copy(ROOT / "extract_training_data.py", folder)
    shutil.copy(ROOT / "calibration-baseline.json", folder)
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONHASHSEED": hash_seed,
        "SOURCE_DATE_EPOCH": "1771266144",
        "SUPABASE_URL": server.url,
        "SUPABASE_SECRET_KEY": KEY,
    }
    command = [sys.executable, "extract_training_data.py"]
    subprocess.run(command, cwd=folder, env=environ, check=True, capture_output=True)
    return (folder / "training-data.json").read_bytes()


@pytest.mark.parametrize("cap", [1, 7, 999, 1000])
def test_the_same_file_whatever_the_page_size(
    cap: int, serve: Serve, extract: Extract, reference: bytes
) -> None:
    assert extract(serve(1200, max_rows=cap)) == 0
    assert Path("training-data.json").read_bytes() == reference


def test_the_same_file_for_other_ids_in_another_order(
    serve: Serve, extract: Extract, reference: bytes
) -> None:
    rows = sample_videos(1200)
    random.Random(5).shuffle(rows)
    for number, video in enumerate(rows):
        video["id"] = str(uuid.uuid5(uuid.NAMESPACE_OID, str(number)))
    assert extract(serve(rows)) == 0
    assert Path("training-data.json").read_bytes() == reference


def test_the_same_file_for_another_hash_seed(reference: bytes, tmp_path: Path) -> None:
    with LocalSupabase(sample_videos(1200)) as server:
        assert run_script(server, tmp_path, "12345") == reference


def test_rows_inserted_and_archived_between_pages_lose_and_double_nothing(
    serve: Serve, extract: Extract
) -> None:
    """Between pages, one row comes before the last id and one behind it; one goes."""
    server = serve([row(10 * n, duration_seconds=n) for n in range(1, 101)], max_rows=9)

    def write(request: int) -> None:
        if request in range(1, 10):
            after = queries(server)[-1]["id"][0].removeprefix("gt.")
            last = uuid.UUID(after).int
            server.rows.append(row(last - 1, duration_seconds=150))  # too late
            server.rows.append(row(last + 1, duration_seconds=160))  # in time
            read = [r for r in server.rows if r["id"] < after and not r["archived_at"]]
            random.choice(read)["archived_at"] = ARCHIVED
            random.shuffle(server.rows)

    server.before_reply = write
    assert extract(server) == 0
    assert durations() == [*range(1, 101), *[160] * 9]


def test_updates_while_it_reads_lose_and_double_nothing(
    serve: Serve, extract: Extract
) -> None:
    server = serve([row(n, duration_seconds=n) for n in range(1, 151)], max_rows=20)

    def update(request: int) -> None:
        for video in random.sample(server.rows, 30):
            server.rows.remove(video)  # Postgres moves an updated row
            server.rows.append(video | {"views": 200})

    server.before_reply = update
    assert extract(server) == 0
    assert durations() == list(range(1, 151))


def test_a_video_that_comes_under_a_new_id_is_taken_once(
    serve: Serve, extract: Extract, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve([row(n, duration_seconds=n) for n in range(1, 31)], max_rows=10)

    def replace(request: int) -> None:
        if request == 1:
            server.rows.append(server.rows.pop(0) | {"id": str(uuid.UUID(int=99))})

    server.before_reply = replace
    assert extract(server) == 0
    assert durations() == list(range(1, 31))
    assert "Dropped: 1 duplicated." in capsys.readouterr().err


def test_fewer_rows_than_counted_is_an_error(
    serve: Serve, extract: Extract, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve([row(n) for n in range(1, 1202)])
    server.before_reply = lambda request: server.rows.pop() if request == 1 else None
    assert extract(server) == 1
    error = capsys.readouterr().err
    assert "Read 1,200 rows, fewer than the 1,201 counted at the start.\n" in error
    assert "run again when that is over" in error
    assert max(map(len, error.splitlines())) <= 80
    assert not Path("training-data.json").exists()


def test_more_rows_than_counted_is_fine(serve: Serve, extract: Extract) -> None:
    server = serve([row(n) for n in range(1, 31)], max_rows=10)

    def insert(request: int) -> None:
        if request == 1:
            server.rows += [row(31), row(32)]

    server.before_reply = insert
    assert extract(server) == 0
    assert len(durations()) == 32


@pytest.mark.parametrize("disorder", ["descending", "again and again"])
def test_a_server_that_does_not_obey_is_caught(
    disorder: str,
    serve: Serve,
    extract: Extract,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = serve([row(n) for n in range(1, 31)], max_rows=10)
    answer = server.answer
    replaced = {
        "descending": ("id.asc", "id.desc"),
        "again and again": ("id=gt.", "description=neq."),
    }[disorder]

    def disobey(request: Any) -> Any:
        return answer(request._replace(path=request.path.replace(*replaced)))

    monkeypatch.setattr(server, "answer", disobey)
    assert extract(server) == 1
    assert "not in the order of their ids" in capsys.readouterr().err


@pytest.mark.parametrize("rows", [1, 10, 12345])
def test_a_log_has_a_handful_of_lines_of_progress(
    rows: int, serve: Serve, extract: Extract, capsys: pytest.CaptureFixture[str]
) -> None:
    extract(serve([row(n) for n in range(1, rows + 1)], max_rows=100))
    lines = [line for line in capsys.readouterr().err.splitlines() if "rows/s" in line]
    assert len(lines) == min(5, -(-rows // 100))
    assert f"{rows:,} of {rows:,} rows, " in lines[-1]
    assert "\r" not in "".join(lines)


class Terminal(io.StringIO):
    """A stream that says it is a terminal, and shows what stands on it in the end."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True

    def screen(self) -> list[str]:
        lines = []
        for line in self.getvalue().split("\n"):
            shown = ""
            for text in line.split("\r"):
                shown = text + shown[len(text) :]
            lines.append(shown.rstrip())
        return lines


def test_a_terminal_has_one_line_of_progress_that_gives_way(
    serve: Serve, extract: Extract, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert extract(serve([row(n) for n in range(1, 51)], max_rows=10)) == 0
    for read in (10, 20, 30, 40, 50):
        assert f" \r{read} of 50 rows, " in terminal.getvalue()
    assert terminal.screen()[0] == "Read 50 rows, used 50."
    assert "rows/s" not in "\n".join(terminal.screen())
    assert "\x1b" not in terminal.getvalue()


def test_the_rows_a_second(
    serve: Serve,
    extract: Extract,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter([0.0, *(n / 2 for n in range(100))])
    monkeypatch.setattr(script, "monotonic", lambda: next(clock))
    assert extract(serve([row(n) for n in range(1, 11)], max_rows=5)) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["5 of 10 rows, 10 rows/s", "10 of 10 rows, 10 rows/s"]


def test_a_clock_that_stands_still(
    serve: Serve, extract: Extract, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one with a coarse tick does between two quick pages."""
    monkeypatch.setattr(script, "monotonic", lambda: 7.0)
    assert extract(serve(10)) == 0


def test_rows_that_come_while_it_reads_add_no_lines_to_a_log(
    serve: Serve, extract: Extract, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve([row(n) for n in range(1, 11)], max_rows=5)
    server.before_reply = lambda request: (
        server.rows.extend(row(n) for n in range(11, 101)) if request == 1 else None
    )
    assert extract(server) == 0
    assert capsys.readouterr().err.count("rows/s") == 2


def test_garbage_is_not_looked_for_in_the_modules(
    serve: Serve, extract: Extract
) -> None:
    gc.unfreeze()
    assert extract(serve(10)) == 0
    assert gc.get_freeze_count() > 10_000
    gc.unfreeze()


def test_what_a_row_holds_reaches_the_features(serve: Serve, extract: Extract) -> None:
    metadata = {
        "bookmarks": "25",
        "followers": 40,
        "uploaded_at": "2026-01-17T05:37:35Z",  # a Saturday
        "scraped_at": "2026-02-13T08:00:00Z",
    }
    other = {"bookmarks": None, "uploaded_at": 20260117}  # a number is no time
    rows = [row(1, metadata=metadata), row(2, metadata=other), row(3, metadata=None)]
    assert extract(serve(rows)) == 0
    data = written()
    vectors = data["trainSet"]["features"] + data["testSet"]["features"]
    picked = sorted([v[3], *v[10:]] for v in vectors)
    unknown = [0, 0, 0.5, 0, 0.5, 0.5]
    assert picked == [unknown, unknown, [0.25, 1, 0.1, 0.05, 1, 5 / 23]]
    assert json.dumps(data).count("2026-02-16T18:22:24.000Z") == 1
