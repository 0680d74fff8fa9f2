"""Stage parse_text: the short expression of each long one of a dataset.

Usage: python stages/parse_text.py NAME
"""

import sys
from pathlib import Path

# The package is found from this very file, so that an experiment in another folder runs its own
# code.
sys.path[0] = str(Path(__file__).resolve().parents[1] / "src")

from losh.runtime.stage import run_dataset_stage
from losh.short_text.parse import parse_text

if __name__ == "__main__":
    raw, short_text = Path("data/raw"), Path("data/short_text")
    run_dataset_stage(
        lambda params, name: parse_text(
            raw / name / "expressions.csv", short_text / f"{name}.csv", params.short_text
        )
    )
