"""Validation within training: the overlap of the best query's masks on held-out videos."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from losh.clips.samples import Sample
from losh.frames import FrameStore
from losh.inference.forward import Predictor
from losh.inference.overlap import Overlap
from losh.model.structures import FrameSizes, size_of


class Group(Protocol):
    """The processes that share the work."""

    @property
    def rank(self) -> int:
        """Of this process."""

    @property
    def world(self) -> int:
        """The number of processes."""

    def gather(self, value: object) -> list:
        """Return the value of every process."""


def validate(
    predictor: Predictor, samples: list[Sample], root: Path, processes: Group
) -> dict[str, float]:
    """Compute mean and overall IoU and precisions of the best query on `samples`.

    Each is scored once, whatever the number of processes.

    A sample with several annotated frames counts once per frame in which its instance is seen.
    """
    names = {sample.dataset for sample in samples}
    stores = {name: FrameStore(root / "frames" / name) for name in names}
    overlap = Overlap()
    mine = samples[processes.rank :: processes.world]
    for batch, found in predictor.windows(mine, root, best_only=True):
        padded = size_of(batch.clips.frames.shape[-2:])
        for (clip, sample), prediction in zip(batch.samples(), found, strict=True):
            store = stores[sample.dataset]
            for k, position in enumerate(sample.annotated):
                truths = store.masks(sample.video, sample.window[position])
                truth = truths.get(sample.instance)
                if truth is None or not truth.any():
                    continue
                sizes = FrameSizes(padded, size_of(clip.frames.shape[1:3]), size_of(truth.shape))
                masks = predictor.masks(prediction, k, sizes, store.index["protocol"])
                overlap.add(f"{sample.dataset}/{sample.sample_id}/{k}", masks[0], truth)
    total = Overlap()
    for part in processes.gather(overlap):
        total.merge(part)
    return total.scores()
