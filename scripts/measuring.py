"""What a command takes, for the scripts that fill the README's tables."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

# A small process in between: Linux counts the memory that a process had before it became the
# command, and the caller may be large.
PROBE = """
import resource, subprocess, sys
code = subprocess.call([sys.executable, *sys.argv[1:]], stderr=subprocess.STDOUT)
print("\\n%d" % resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


def measured(command: list[str], where: Path = Path()) -> tuple[float, float]:
    """Run a Python command in the folder `where`; return its seconds and its peak memory.

    The memory is the largest resident set in MB of any process (without the interpreter).

    Raises:
        CalledProcessError: it failed; with what it printed.
    """
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "DVC_NO_ANALYTICS": "1",
    }
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *command],
        cwd=where,
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return time.monotonic() - began, int(done.stdout.splitlines()[-1]) / 1024
