"""Stage download: put a dataset in data/raw/<name>. Usage: python stages/download.py NAME"""

import sys
from pathlib import Path

# The package is found from this very file, so that an experiment in another folder runs its own
# code.
sys.path[0] = str(Path(__file__).resolve().parents[1] / "src")

from losh.download import download
from losh.runtime.stage import run_dataset_stage

if __name__ == "__main__":
    run_dataset_stage(
        lambda params, name: download(name, params.datasets[name], Path("data/raw") / name)
    )
