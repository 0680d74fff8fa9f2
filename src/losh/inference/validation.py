"""Validation within training: the overlap of the best query's masks on held-out videos."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import torch

from losh.clips.samples import Sample
from losh.frames import FrameStore
from losh.inference.forward import score_windows
from losh.inference.overlap import Overlap
from losh.inference.streams import to_original
from losh.inference.text_features import TextFeatures
from losh.media.resizing import InputSize
from losh.model.losh import LoSh

BATCH = 8


class Group(Protocol):
    """The processes that share the work."""

    rank: int
    world: int

    def gather(self, value: object) -> list:
        """The value of every process."""


def validate(
    model: LoSh,
    texts: TextFeatures,
    samples: list[Sample],
    root: Path,
    config: dict[str, Any],
    dtype: torch.dtype,
    processes: Group,
) -> dict[str, float]:
    """Mean and overall IoU and precisions of the long stream (as released) on `samples`; each is
    scored once, whatever the number of processes.

    A sample with several annotated frames counts once a frame in which its instance is seen.
    """
    stores = {
        name: FrameStore(root / "frames" / name) for name in {sample.dataset for sample in samples}
    }
    overlap = Overlap()
    mine = samples[processes.rank :: processes.world]
    size = InputSize.of_config(config)
    for batch, _, masks in score_windows(
        model, texts, mine, root, size, BATCH, dtype, "long", best_only=True
    ):
        for (clip, sample), probabilities in zip(batch.samples(), masks, strict=True):
            for k, position in enumerate(sample.annotated):
                truth = (
                    stores[sample.dataset]
                    .masks(sample.video, sample.window[position])
                    .get(sample.instance)
                )
                if truth is None or not truth.any():
                    continue
                prediction = (
                    to_original(probabilities[k, 0], 0.5, clip.frames.shape[1:3], truth.shape)
                    .cpu()
                    .numpy()
                )
                overlap.add(f"{sample.dataset}/{sample.sample_id}/{k}", prediction, truth)
    total = Overlap()
    for part in processes.gather(overlap):
        total.merge(part)
    return total.scores()
