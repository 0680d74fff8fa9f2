"""What a command takes, for the scripts that fill the README's tables."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path


def measured(command: list[str], where: Path = Path()) -> tuple[float, float]:
    """Seconds, and the largest resident set in MB of any process of a Python command (without the interpreter), run in the folder `where`.

    Raises:
        CalledProcessError: it failed; with what it printed.
    """
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1"}
    began = time.monotonic()
    with (where / "measured.log").open("w+") as log:
        process = subprocess.Popen([sys.executable, *command], cwd=where, env=environment, stdout=log, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)  # the usage of the process and of those that it waited for
        seconds = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        log.seek(0)
        output = log.read()
    (where / "measured.log").unlink()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, output)
    return seconds, usage.ru_maxrss / 1024
