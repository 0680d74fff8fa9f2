"""Stage report: one page of all that was measured. Usage: python stages/report.py"""

import sys
from pathlib import Path

# The package is found from this very file, so that an experiment in another folder runs its own
# code.
sys.path[0] = str(Path(__file__).resolve().parents[1] / "src")

from losh.report.page import write_report
from losh.runtime.stage import run_stage

if __name__ == "__main__":
    run_stage(lambda params: write_report(params, Path("metrics/report/index.html")))
