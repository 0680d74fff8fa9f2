"""Stage check: all of params.yaml and the files that it names, before any other stage runs.

Usage: python stages/check.py
"""

import sys
from pathlib import Path

# The package is found from this very file, so that an experiment in another folder runs its own
# code.
sys.path[0] = str(Path(__file__).resolve().parents[1] / "src")

from losh.check.check import check_inputs
from losh.runtime.stage import run_stage

if __name__ == "__main__":
    run_stage(check_inputs)
