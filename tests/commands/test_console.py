"""The console script leaves at once, and with all that an ordinary end leaves behind."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import atexit, losh.cli

class Slow:
    def __del__(self):
        print("taken apart")

kept = Slow()

def main():
    atexit.register(print, "said goodbye")
    print("worked")
    {end}

losh.cli.main = main
losh.cli.console()
"""


@pytest.mark.parametrize(
    ("end", "status", "told"),
    [
        ("pass", 0, ""),
        ("raise SystemExit", 0, ""),
        ("raise SystemExit(3)", 3, ""),
        ("raise SystemExit('no such thing')", 1, "no such thing"),
        ("raise ValueError('unforeseen')", 1, "ValueError: unforeseen"),
    ],
)
def test_the_status_and_the_output_are_those_of_an_ordinary_end(end, status, told):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(end=end)], capture_output=True, text=True
    )
    assert done.returncode == status
    assert done.stdout.splitlines() == ["worked", "said goodbye"]
    assert told in done.stderr and bool(done.stderr) == bool(told)
