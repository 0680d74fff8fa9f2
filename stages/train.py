"""Stage train: one command for one CPU, one GPU or many. Usage: python stages/train.py

One process a visible GPU is started through torchrun; LOSH_PROCESSES asks for another number. Under a cluster's own torchrun
(`torchrun --nnodes ... stages/train.py`) its processes are used. None of this changes what is learnt: train.batch_size is global.
"""

import sys
from pathlib import Path

# The package is found from this very file, so that an experiment in another folder runs its own code.
sys.path[0] = str(Path(__file__).resolve().parents[1] / "src")

from losh.distributed import relaunch
from losh.errors import friendly
from losh.stage import run_stage
from losh.train.run import train

if __name__ == "__main__":
    friendly(relaunch)(__file__, sys.argv[1:])
    run_stage(lambda params: train(params, Path("data/model"), Path("metrics")))
