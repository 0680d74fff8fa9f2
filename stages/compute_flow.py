"""Stage compute_flow: RAFT flow around annotated frames of a dataset.

Usage: python stages/compute_flow.py NAME
"""

import sys
from pathlib import Path

# The package is found from this very file, so that an experiment in another folder runs its own
# code.
sys.path[0] = str(Path(__file__).resolve().parents[1] / "src")

from losh.flow.compute import compute_flow
from losh.runtime.stage import run_dataset_stage

if __name__ == "__main__":
    run_dataset_stage(
        lambda params, name: compute_flow(
            Path("data/frames") / name, Path("data/flow") / name, params.flow, Path("scratch")
        )
    )
