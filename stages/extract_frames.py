"""Stage extract_frames: frames and masks of a dataset, one file per video.

Usage: python stages/extract_frames.py NAME
"""

import sys
from pathlib import Path

# The package is found from this very file, so that an experiment in another folder runs its own
# code.
sys.path[0] = str(Path(__file__).resolve().parents[1] / "src")

from losh.frames.extract import extract_frames
from losh.runtime.stage import run_dataset_stage

if __name__ == "__main__":
    run_dataset_stage(
        lambda params, name: extract_frames(
            Path("data/raw") / name, Path("data/frames") / name, params.frames
        )
    )
