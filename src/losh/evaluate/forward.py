"""Running the model on samples without gradients: the part that validation, evaluation and prediction share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from losh.clips.batch import Batch, make_batch
from losh.clips.dataset import ClipDataset, readable
from losh.clips.samples import Sample
from losh.clips.text import Texts
from losh.errors import UserError
from losh.machine import loader_workers
from losh.model.inference import Rule, masks_and_scores
from losh.model.interface import Clips, LoShOutput
from losh.model.losh import LoSh


@torch.no_grad()
def run_model(model: LoSh, texts: Texts, clips: Clips, long: list[str], short: list[str], dtype: torch.dtype) -> LoShOutput:
    """One forward pass in evaluation mode, in mixed precision where `dtype` is not float32."""
    model.eval()
    with torch.autocast(clips.frames.device.type, dtype, enabled=dtype != torch.float32):
        return model(clips, texts.inputs(long), texts.inputs(short))


def score_windows(
    model: LoSh, texts: Texts, samples: list[Sample], root: Path, size: tuple[int, int], batch_size: int, dtype: torch.dtype,
    rule: Rule, best_only: bool, skipped: list[str] | None = None,
) -> Iterator[tuple[Batch, Tensor, Tensor]]:  # fmt: skip
    """For each batch of samples: the batch, scores [B, K, N], mask probabilities [B, K, N or 1, H, W] at the network's size.

    Args:
        size: (short_side, long_side) of the network's input.
        best_only: only the best query's masks.
        skipped: gathers why samples cannot be read; None: the first such sample is an error.
    """
    device = texts.device
    if texts.frozen:
        texts.add(text for sample in samples for text in (sample.long, sample.short))
    workers = loader_workers(device)
    loader = DataLoader(
        ClipDataset(root, samples, *size), batch_size=batch_size, num_workers=workers, collate_fn=list,
        multiprocessing_context="fork" if workers else None,
    )  # fmt: skip
    for found in loader:
        loaded = readable(found, "stop" if skipped is None else "skip")
        if skipped is not None:
            skipped += [str(item) for item in found if isinstance(item, UserError)]
        if not loaded:
            continue
        batch = make_batch(loaded, device)
        output = run_model(model, texts, batch.clips, batch.long, batch.short, dtype)
        scores, masks = masks_and_scores(output, rule, best_only)
        yield batch, scores, masks
