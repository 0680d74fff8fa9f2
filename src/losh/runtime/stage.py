"""What every script in stages/ shares.

Typed parameters, one line for a user's mistake, exit codes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from losh.errors import UserError, friendly
from losh.params import Params, load_params
from losh.runtime.machine import keep_freed_memory
from losh.runtime.measured import measuring

BACK = "`dvc checkout` brings back outputs of before"
"""DVC removes a stage's outputs before it runs the stage; they are still in its cache."""


def run_stage(work: Callable[[Params], object]) -> None:
    """Run a stage that takes no argument, with the parameters of params.yaml."""

    @friendly
    def main() -> None:
        keep_freed_memory()
        try:
            params = load_params()
            with measuring(stage_name(sys.argv)):
                work(params)
        except UserError as error:
            raise UserError(str(error), BACK) from None

    main()


def run_dataset_stage(work: Callable[[Params, str], object]) -> None:
    """Run a per-dataset stage: the only argument is the dataset's name in params.yaml."""

    def main(params: Params) -> None:
        name = sys.argv[1] if len(sys.argv) == 2 else ""
        if name not in params.datasets:
            raise UserError(
                f"{sys.argv[0]} takes the name of a dataset of params.yaml "
                f"({', '.join(params.datasets)}), not {name!r}"
            )
        work(params, name)

    run_stage(main)


def stage_name(argv: list[str]) -> str:
    """As DVC calls the stage that runs `python stages/evaluate.py NAME`: `evaluate@NAME`."""
    return "@".join([Path(argv[0]).stem, *argv[1:2]])
