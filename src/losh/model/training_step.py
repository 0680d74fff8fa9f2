"""A batch's losses as one module: what DistributedDataParallel wraps.

Matching and refining lie inside, because a pipeline may use its own weights to refine the matched
queries (SgMg), and those weights must take part in the wrapped forward pass.
"""

from __future__ import annotations

from torch import Tensor, nn

from losh.model.criterion import Counts, Criterion
from losh.model.losh import Text
from losh.model.structures import ClipFlow, Clips, Targets


class TrainingStep(nn.Module):
    """LoSh (or its compiled form) and its criterion."""

    def __init__(self, model: nn.Module, criterion: Criterion) -> None:
        super().__init__()
        self.model = model
        self.criterion = criterion

    def forward(
        self,
        clips: Clips,
        long: Text,
        short: Text,
        targets: list[Targets],
        flow: ClipFlow | None,
        counts: Counts,
    ) -> dict[str, Tensor]:
        """Return the losses of a (micro-)batch, see `Criterion`; `counts` are the whole step's."""
        return self.criterion(self.model(clips, long, short), targets, flow, counts)
