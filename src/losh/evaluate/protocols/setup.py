"""What every protocol's evaluation works with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from losh.clips.samples import Sample
from losh.evaluate.metrics.average_precision import Rle
from losh.evaluate.outputs.table import ExpressionRow
from losh.frames import FrameStore
from losh.inference.forward import Predictor
from losh.inference.text_features import TextFeatures
from losh.media.resizing import InputSize
from losh.model.losh import LoSh
from losh.params import EvaluateParams
from losh.runtime.distributed import Processes
from losh.runtime.machine import pick_precision


@dataclass
class EvaluationSetup:
    """One dataset, one model, one process."""

    predictor: Predictor
    store: FrameStore
    root: Path
    """The folder data/."""
    params: EvaluateParams
    processes: Processes
    out: Path

    @property
    def protocol(self) -> str:
        """The dataset's: a2d, youtube_vos, davis, refcoco or mevis."""
        return self.store.index["protocol"]


@dataclass(frozen=True)
class ShownMask:
    """What was predicted in the one frame of a row that pictures show."""

    frame: int
    """Its 0-based index."""
    scored: Rle
    """The mask that is scored."""
    others: dict[str, Rle]
    """Of `long`, `short` and `joint` those that are not scored; empty where there is one stream."""
    sample: Sample | None = None
    """What was predicted; None where it was the whole video."""


def predictor_of(
    network: LoSh,
    config: dict[str, Any],
    params: EvaluateParams,
    store: FrameStore,
    device: torch.device,
) -> Predictor:
    """Make the predictor of a model and its configuration, on the device.

    It has the parameters of evaluation.
    """
    folds = network.base.folds_text(store.index["protocol"], training=False)
    return Predictor(
        network,
        TextFeatures(network.text_encoder, device, fold=folds),
        InputSize.of_config(config),
        pick_precision(params.precision, device),
        params.rule,
        params.threshold,
        params.batch_size,
        params.order == "window",
    )


@dataclass
class Result:
    """What a protocol's evaluation gives: of one process, then of all."""

    metrics: dict[str, Any]
    rows: list[ExpressionRow]
    skipped: list[str] = field(default_factory=list)
    predictions: dict[tuple, ShownMask] = field(default_factory=dict)
    """By the row's key; for pictures."""

    @classmethod
    def empty(cls) -> Result:
        """Before the first sample."""
        return cls({}, [])

    def merge(self, other: Result) -> None:
        """Take over another process's rows; a row that both have counts once."""
        known = {row.key for row in self.rows}
        self.rows += [row for row in other.rows if row.key not in known]
        self.predictions = other.predictions | self.predictions
        self.skipped += other.skipped
