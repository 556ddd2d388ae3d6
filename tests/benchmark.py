"""How long the script takes, and how much memory, beside the least that it could take.

    python tests/benchmark.py [ROWS [MILLISECONDS]]

Serves that many made-up rows (200,000 if not told) from another process, encoded
beforehand, over a line with that round-trip time (0). Then it runs, in turn and three
times each, a bare loop that only fetches the rows page by page through the same client,
and the script: whole processes, with the start of Python and its imports.
"""

import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from bisect import bisect_right
from multiprocessing.connection import Connection
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from urllib.parse import parse_qsl, urlsplit

from local_supabase import KEY, encode, rows_reply
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


def serve(count: int, delay: float, port: Connection) -> None:
    """Serve `count` rows on a free port, and tell which; for a process of its own."""
    rng = random.Random(1)
    ids = [f"{i * 2**32 // count:08x}-0000-4000-8000-{i:012x}" for i in range(count)]
    rows = [
        encode(sample_video(rng, i) | {"id": ids[i]}, COLUMNS) for i in range(count)
    ]

    class Handler(StreamRequestHandler):
        disable_nagle_algorithm = True

        def handle(self) -> None:
            while request := self.rfile.readline():
                counted = False
                while header := self.rfile.readline().strip():
                    counted = counted or header.lower() == b"prefer: count=exact"
                start, end, limit = 0, count, PAGE_SIZE
                query = urlsplit(request.split()[1].decode()).query
                for name, text in parse_qsl(query):
                    if name == "id" and text.startswith("gt."):
                        start = bisect_right(ids, text.removeprefix("gt."))
                    elif name == "id":
                        end = bisect_right(ids, text.removeprefix("lte."))
                    elif name == "limit":
                        limit = int(text)
                page = rows[start : min(end, start + limit)]
                time.sleep(delay)
                self.request.sendall(rows_reply(page, count if counted else None))

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        port.send(server.server_address[1])
        server.serve_forever()


def measure(command: list[str], url: str) -> tuple[float, int]:
    """Run a whole process; return its seconds and its peak of memory in bytes."""
    settings = {"SUPABASE_URL": url, "SUPABASE_SECRET_KEY": KEY}
    no_proxy = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    environ = os.environ | settings | no_proxy
    line = [sys.executable, *command]
    with tempfile.TemporaryDirectory() as folder:
        started, quiet = time.perf_counter(), subprocess.DEVNULL
        process = subprocess.Popen(line, cwd=folder, env=environ, stdout=quiet)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
    if status:
        raise SystemExit(f"{command} failed")
    return seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def compare(count: int, delay: float) -> tuple[float, float, int]:
    """Return the median seconds of the bare loop and the script, and its peak memory."""
    here, there = multiprocessing.Pipe()
    server = multiprocessing.Process(
        target=serve, args=(count, delay, there), daemon=True
    )
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
    milliseconds = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
    bare, script, memory = compare(count, milliseconds / 1000)
    _, _, least = compare(FEW, 0)
    print(f"{count:,} rows over {milliseconds:g} ms, medians of {RUNS} runs")
    print(f"bare loop  {bare:7.2f} s  {count / bare:9,.0f} rows/s")
    print(f"script     {script:7.2f} s  {count / script:9,.0f} rows/s")
    print(f"ratio      {script / bare:7.2f}")
    print(f"memory     {memory / 1e6:7.0f} MB at the peak")
    print(f"a row      {(memory - least) / count:7.0f} bytes more than at {FEW:,} rows")


if __name__ == "__main__":
    main()
