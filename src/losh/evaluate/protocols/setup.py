"""What every protocol's evaluation works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from losh.evaluate.report.table import ExpressionRow
from losh.frames import FrameStore
from losh.inference.text_features import TextFeatures
from losh.media.resizing import InputSize
from losh.model.losh import LoSh
from losh.params import EvaluateParams
from losh.runtime.distributed import Processes


@dataclass
class EvaluationSetup:
    """One dataset, one model, one process."""

    model: LoSh
    texts: TextFeatures
    config: dict[str, Any]
    """Saved with the model: window, short_side, long_side, resize_filter."""
    store: FrameStore
    root: Path
    params: EvaluateParams
    dtype: torch.dtype
    processes: Processes
    out: Path

    @property
    def input_size(self) -> InputSize:
        """How frames become the network's input."""
        return InputSize.of_config(self.config)


Picture = Callable[[], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""Makes the frame uint8 [H, W, 3], the prediction and the truth, bool [H, W], when it is asked for.
"""


@dataclass
class Result:
    """What a protocol's evaluation gives: of one process, then of all."""

    metrics: dict[str, Any]
    rows: list[ExpressionRow]
    skipped: list[str] = field(default_factory=list)
    predictions: dict[tuple, Any] = field(default_factory=dict)
    """Row key -> (frame index, RLE of the predicted mask), for pictures."""

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
