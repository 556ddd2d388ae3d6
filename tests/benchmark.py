"""How long the script takes, and how much memory, beside the least that it could take.

    python tests/benchmark.py [ROWS]

Serves that many made-up rows (200,000 if not told) from another process, as bytes that
are ready to be sent, so that the server is not what is measured. Then it runs, in turn
and three times each, a bare loop that only fetches the same pages through the same
client, and the script: whole processes, with the start of Python and its imports.
"""

import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from email.message import Message
from multiprocessing.connection import Connection
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from urllib.parse import parse_qs, urlencode, urlsplit

from local_supabase import KEY, LocalSupabase, Request, raw_reply
from sample_videos import sample_video

SCRIPT = Path(__file__).resolve().parent.parent / "extract_training_data.py"
sys.path.insert(0, str(SCRIPT.parent))

from extract_training_data import COLUMNS, PAGE_SIZE, TABLE

RUNS = 3
FEW = 1000  # rows, whose memory is taken for that of Python and its packages
BARE_LOOP = f"""
import os
from supabase import create_client

client = create_client(os.environ["SUPABASE_URL"], os.environ["SUPABASE_SECRET_KEY"])
rows = client.table("{TABLE}").select("{COLUMNS}", count="exact")
page = rows.is_("archived_at", None).order("id").limit({PAGE_SIZE}).execute().data
while page:
    rows = client.table("{TABLE}").select("{COLUMNS}").gt("id", page[-1]["id"])
    page = rows.is_("archived_at", None).order("id").limit({PAGE_SIZE}).execute().data
"""


def prepare(count: int) -> dict[str, bytes]:
    """Return each page of `count` rows as it is sent, by the filter that asks for it."""
    rng = random.Random(1)
    pages, after = {}, ""
    query = urlencode({"select": COLUMNS, "order": "id.asc"})
    headers = Message()
    headers["apikey"], headers["authorization"] = KEY, f"Bearer {KEY}"
    for start in range(0, count + PAGE_SIZE, PAGE_SIZE):
        rows = [
            sample_video(rng, i) for i in range(start, min(start + PAGE_SIZE, count))
        ]
        for i, row in enumerate(rows, start):
            row |= {"id": f"{i:08x}-0000-4000-8000-000000000000", "archived_at": None}
        request = Request("GET", f"/rest/v1/{TABLE}?{query}", headers)
        reply = LocalSupabase(rows).answer(request)
        reply.headers["content-range"] = f"0-{len(rows) - 1}/{count}"
        pages[after] = raw_reply(reply)
        after = f"gt.{rows[-1]['id']}" if rows else ""
    return pages


def serve(count: int, port: Connection) -> None:
    """Serve `count` rows on a free port, and tell which; for a process of its own."""
    pages = prepare(count)

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            while request := self.rfile.readline():
                while self.rfile.readline().strip():
                    pass  # the headers
                query = parse_qs(urlsplit(request.split()[1].decode()).query)
                self.request.sendall(pages[query.get("id", [""])[0]])

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        port.send(server.server_address[1])
        server.serve_forever()


def measure(command: list[str], url: str) -> tuple[float, int]:
    """Run a whole process; return its seconds and its peak of memory in bytes."""
    environ = os.environ | {"SUPABASE_URL": url, "SUPABASE_SECRET_KEY": KEY}
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=folder,
            env=environ,
            stderr=subprocess.DEVNULL,
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
    if status:
        raise SystemExit(f"{command} failed")
    return seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def compare(count: int) -> tuple[float, float, int]:
    """Return the median seconds of the bare loop and the script, and its peak memory."""
    here, there = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(count, there), daemon=True)
    server.start()
    there.close()  # so that the end of the server would end the waiting
    url = f"http://127.0.0.1:{here.recv()}"
    bare, script = [], []
    for _ in range(RUNS):
        bare.append(measure(["-c", BARE_LOOP], url))
        script.append(measure([str(SCRIPT)], url))
    server.terminate()
    bare_seconds = statistics.median(seconds for seconds, _ in bare)
    script_seconds = statistics.median(seconds for seconds, _ in script)
    return bare_seconds, script_seconds, max(memory for _, memory in script)


def main() -> None:
    """Compare at the number of rows asked for, and the memory with that at 1,000."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    bare, script, memory = compare(count)
    _, _, least = compare(FEW)
    print(f"{count:,} rows, medians of {RUNS} runs")
    print(f"bare loop  {bare:7.2f} s  {count / bare:9,.0f} rows/s")
    print(f"script     {script:7.2f} s  {count / script:9,.0f} rows/s")
    print(f"ratio      {script / bare:7.2f}")
    print(f"memory     {memory / 1e6:7.0f} MB at the peak")
    print(f"a row      {(memory - least) / count:7.0f} bytes more than at {FEW:,} rows")


if __name__ == "__main__":
    main()
