"""Stage train_data: which artefacts train.datasets names, for DVC to watch.

Usage: python stages/train_data.py
"""

import sys
from pathlib import Path

# The package is found from this very file, so that an experiment in another folder runs its own
# code.
sys.path[0] = str(Path(__file__).resolve().parents[1] / "src")

from losh.runtime.stage import run_stage
from losh.train.dataset_digests import describe_train_data

if __name__ == "__main__":
    run_stage(
        lambda params: describe_train_data(params.train.datasets, Path("data/train_data.json"))
    )
