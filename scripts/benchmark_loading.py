"""How many windows per second a training's own loader gives, a part of `scripts/benchmark.py`."""

from __future__ import annotations

import itertools
import statistics
import time
from pathlib import Path
from types import SimpleNamespace

from losh.errors import UserError
from losh.params import Params

STEPS = 60  # batches of a turn
HEADER = """\
| loading | loader processes | windows per second |
|---|---|---|"""


def what_is_loaded(params: Params, root: Path, with_flow: bool) -> SimpleNamespace:
    """Return what a training's loader reads of its trainer: clips, their order and the device.

    They are made as `losh.train.training` makes them; validation videos are among them.

    Raises:
        UserError: frames, expressions or flow are missing; with the command that makes them.
    """
    from losh.augmentation.augmented_clips import AugmentedClips
    from losh.clips.sampler import GlobalBatches
    from losh.clips.samples import group_samples
    from losh.media.resizing import InputSize
    from losh.runtime.machine import pick_device
    from losh.train.split import load_train_samples

    train = params.train
    samples, _ = load_train_samples(train.datasets, root, train.augmentation.clips == "sparse")
    groups = group_samples(samples, train.expressions_per_window)
    size = InputSize(train.short_side, train.long_side, train.resize_filter)
    dataset = AugmentedClips(root, groups, size, train.flip, train.augmentation, with_flow)
    batches = GlobalBatches([group[0].dataset for group in groups], train.batch_size, train.seed)
    return SimpleNamespace(dataset=dataset, batches=batches, device=pick_device())


def rate(loaded: SimpleNamespace, epoch: int) -> float:
    """Return windows per second of an epoch's first batches.

    The clock starts with the first batch, which waits for the loader's processes.

    Raises:
        UserError: there is no second batch, or a clip cannot be read.
    """
    from losh.clips.dataset import readable
    from losh.clips.loader import load_batches

    batches = load_batches(loaded.dataset, list(loaded.batches.epoch(epoch)), loaded.device)
    next(batches)
    began = time.perf_counter()
    windows = sum(len(readable(batch)) for batch in itertools.islice(batches, STEPS))
    seconds = time.perf_counter() - began
    batches.close()
    if not windows:
        raise UserError("an epoch has one batch, too few to measure")
    return windows / seconds


def loading_table(params: Params, turns: int, root: Path = Path("data")) -> str:
    """Return the Markdown table of loading rates: medians, with and without flow by turns.

    Each turn is another epoch's order; the first is not counted. Where data is missing its row says
    which command makes it.
    """
    from losh.runtime.machine import loader_workers, pick_device

    missing: dict[bool, str] = {}
    loaded: dict[bool, SimpleNamespace] = {}
    rates: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(turns + 1):
        for with_flow in [kind for kind in rates if kind not in missing]:
            try:
                if turn == 0:
                    loaded[with_flow] = what_is_loaded(params, root, with_flow)
                rates[with_flow].append(rate(loaded[with_flow], turn))
            except UserError as error:
                missing[with_flow] = f"not measured: {error}"
    names, lines = ", ".join(params.train.datasets), [HEADER]
    for with_flow, found in rates.items():
        result = missing.get(with_flow) or f"{statistics.median(found[1:]):.1f}"
        kind = "with flow" if with_flow else "without flow"
        lines.append(f"| {names}, {kind} | {loader_workers(pick_device())} | {result} |")
    return "\n".join(lines)
