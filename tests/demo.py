"""Run the script without a Supabase project.

    python tests/demo.py

Serves 2,500 made-up videos as Supabase would, on this machine only, and runs
extract_training_data.py on them, unchanged, with the options given here. It leaves
training-data.demo.json in the current folder: made-up rows are nothing to train on.
"""

import os
import subprocess
import sys
from pathlib import Path

from local_supabase import KEY, LocalSupabase
from sample_videos import sample_videos

SCRIPT = Path(__file__).resolve().parent.parent / "extract_training_data.py"


def main() -> int:
    """Run the script against the local endpoint and return its exit code."""
    with LocalSupabase(sample_videos(2500, seed=1)) as server:
        settings = {
            "SUPABASE_URL": server.url,
            "SUPABASE_SECRET_KEY": KEY,
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",  # which wins where both are set
        }
        options = ["--output", "training-data.demo.json", *sys.argv[1:]]
        command = [sys.executable, str(SCRIPT), *options]
        print("These 2,500 videos are made up: there is nothing to learn from them.\n")
        sys.stdout.flush()  # before the script prints its report
        try:
            return subprocess.call(command, env=os.environ | settings)
        except KeyboardInterrupt:
            return 130  # the script has said so


if __name__ == "__main__":
    sys.exit(main())
