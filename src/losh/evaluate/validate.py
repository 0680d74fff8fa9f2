"""Validation within training: the overlap of the best query's masks on held-out videos."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import torch

from losh.clips.samples import Sample
from losh.clips.text import Texts
from losh.evaluate.forward import score_windows
from losh.evaluate.overlap import Overlap
from losh.frames import FrameStore
from losh.model.inference import to_original
from losh.model.losh import LoSh

BATCH = 8


class Group(Protocol):
    """The processes that share the work."""

    rank: int
    world: int

    def gather(self, value: object) -> list:
        """The value of every process."""


def validate(model: LoSh, texts: Texts, samples: list[Sample], root: Path, config: dict[str, Any], dtype: torch.dtype, processes: Group) -> dict[str, float]:
    """Mean and overall IoU and precisions of the long stream (as released) on `samples`; each is scored once, whatever the number of processes.

    Samples with several annotated frames count with their frames' summed areas.
    """
    stores = {name: FrameStore(root / "frames" / name) for name in {sample.dataset for sample in samples}}
    overlap = Overlap()
    mine = samples[processes.rank :: processes.world]
    size = (config["short_side"], config["long_side"])
    for batch, _, masks in score_windows(model, texts, mine, root, size, BATCH, dtype, "long", best_only=True):
        for clip, probabilities in zip(batch.loaded, masks, strict=True):
            for k, position in enumerate(clip.sample.annotated):
                t = clip.sample.window[position]
                truth = stores[clip.sample.dataset].masks(clip.sample.video, t).get(clip.sample.instance)
                if truth is None or not truth.any():
                    continue
                prediction = to_original(probabilities[k, 0], 0.5, clip.frames.shape[1:3], truth.shape).cpu().numpy()
                overlap.add(f"{clip.sample.dataset}/{clip.sample.sample_id}/{k}", prediction, truth)
    total = Overlap()
    for part in processes.gather(overlap):
        total.merge(part)
    return total.scores()
