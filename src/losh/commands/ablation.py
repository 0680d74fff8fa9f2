"""The ablation of the method's parts: queued as DVC experiments, then shown as a table."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import yaml

from losh.errors import UserError

ROWS = {
    "mttr": [
        "model.short_stream=false",
        "model.cross_attention=false",
        "train.losses.consistency=0.0",
    ],
    "mttr-short": [
        "model.cross_attention=false",
        "train.losses.intersection=0.0",
        "train.losses.consistency=0.0",
    ],
    "intersection": ["model.cross_attention=false", "train.losses.consistency=0.0"],
    "cross-attention": ["train.losses.intersection=0.0", "train.losses.consistency=0.0"],
    "consistency": ["model.cross_attention=false", "train.losses.intersection=0.0"],
    "losh": [],
}
"""Row -> what it changes: the base pipeline alone, with the short stream, then each part added
alone, then all of LoSh.
"""

PREFIX = "ablation"
NUMBERS = ("mean_iou", "overall_iou", "precision_at_50", "map_all_queries", "map_best_query")


def queue(seeds: list[int], changes: list[str]) -> None:
    """Queue every row with every seed; `dvc queue start` runs them, one after the other."""
    for seed in seeds:
        for name, values in ROWS.items():
            arguments = [f"train.seed={seed}", *values, *changes]
            _dvc(
                "exp",
                "run",
                "--queue",
                "--name",
                f"{PREFIX}-{name}-{seed}",
                *(part for value in arguments for part in ("-S", value)),
            )
    print(
        f"queued {len(ROWS) * len(seeds)} experiments. Run them with `dvc queue start`, look "
        f"with `dvc queue status`, then `losh ablation show`"
    )


def show() -> None:
    """Print the finished rows as a table, every dataset's scores, a seed a row."""
    names = [line.strip() for line in _dvc("exp", "list", "--name-only", capture=True).splitlines()]
    found = [name for name in names if name.startswith(f"{PREFIX}-")]
    if not found:
        raise UserError(
            "no finished experiment of the ablation is here",
            "Run `losh ablation queue` and `dvc queue start`",
        )
    print(
        "| row | seed | dataset | "
        + " | ".join(NUMBERS)
        + " |\n"
        + "|---" * (3 + len(NUMBERS))
        + "|"
    )
    order = {name: i for i, name in enumerate(ROWS)}
    for name in sorted(
        found, key=lambda n: (order.get(n.split("-", 1)[1].rsplit("-", 1)[0], 99), n)
    ):
        row, seed = name.removeprefix(f"{PREFIX}-").rsplit("-", 1)
        for dataset in _datasets():
            scores = json.loads(_git("show", f"{_ref(name)}:metrics/eval/{dataset}.json"))
            print(
                f"| {row} | {seed} | {dataset} | "
                + " | ".join(f"{scores[key]:.3f}" if key in scores else "" for key in NUMBERS)
                + " |"
            )


def _datasets() -> list[str]:
    return list(yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))["datasets"])


def _ref(name: str) -> str:
    """Return the git reference that DVC keeps an experiment under."""
    references = _git("for-each-ref", "--format=%(refname)", f"refs/exps/*/*/{name}").split()
    if not references:
        raise UserError(f"the experiment {name} has no reference in git", "Run `dvc exp list`")
    return references[-1]


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout


def _dvc(*arguments: str, capture: bool = False) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], capture_output=capture, text=True
    )
    if done.returncode:
        raise UserError(
            f"`dvc {' '.join(arguments[:3])} ...` failed",
            (done.stderr or "").strip().splitlines()[-1]
            if capture and done.stderr
            else "See above",
        )
    return done.stdout or ""
