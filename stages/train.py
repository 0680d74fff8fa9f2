"""Stage train: one command for one CPU, one GPU or many. Usage: python stages/train.py

It runs in one process for each visible GPU, or without a GPU in two that share the cores, but in
no more than the batch has clips; LOSH_PROCESSES asks for another number. Under a cluster's own
torchrun (`torchrun --nnodes ... stages/train.py`) its processes are used. None of this changes what
is learnt: train.batch_size is global.
"""

import sys
from pathlib import Path

# The package is found from this very file, so that an experiment in another folder runs its own
# code.
sys.path[0] = str(Path(__file__).resolve().parents[1] / "src")

from losh.errors import friendly
from losh.params import load_params
from losh.runtime.distributed import relaunch
from losh.runtime.stage import run_stage
from losh.train.training import divisible_into_clips, train

if __name__ == "__main__":
    # Without a GPU two processes of one thread each train faster on two cores than one of two
    # threads: small operations do not divide well.
    friendly(
        lambda: relaunch(
            __file__,
            sys.argv[1:],
            on_cpu=2,
            work=divisible_into_clips(load_params().train.batch_size),
        )
    )()
    run_stage(lambda params: train(params, Path("data/model"), Path("metrics")))
