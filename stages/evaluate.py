"""Stage evaluate: score the trained model on a dataset. Usage: python stages/evaluate.py NAME"""

import sys
from pathlib import Path

# The package is found from this very file, so that an experiment in another folder runs its own
# code.
sys.path[0] = str(Path(__file__).resolve().parents[1] / "src")

from losh.errors import friendly
from losh.evaluate.evaluation import evaluate
from losh.runtime.distributed import relaunch
from losh.runtime.stage import run_dataset_stage

if __name__ == "__main__":
    friendly(relaunch)(__file__, sys.argv[1:])
    run_dataset_stage(lambda params, name: evaluate(name, params.evaluate, flow=params.flow))
