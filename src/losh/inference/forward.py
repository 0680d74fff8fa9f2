"""Running the model on samples without gradients: the part that validation, evaluation and
prediction share.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from losh.clips.batches import Batch, make_batch
from losh.clips.dataset import ClipDataset, readable
from losh.clips.samples import Sample, group_samples
from losh.errors import UserError
from losh.inference.streams import Rule, masks_and_scores
from losh.inference.text_features import TextFeatures
from losh.media.resizing import InputSize
from losh.model.losh import LoSh
from losh.model.structures import Clips, LoShOutput
from losh.runtime.machine import loader_workers


@torch.no_grad()
def run_model(
    model: LoSh,
    texts: TextFeatures,
    clips: Clips,
    long: list[str],
    short: list[str],
    dtype: torch.dtype,
) -> LoShOutput:
    """One forward pass in evaluation mode, in mixed precision where `dtype` is not float32."""
    model.eval()
    with torch.autocast(clips.frames.device.type, dtype, enabled=dtype != torch.float32):
        return model(clips, texts.inputs(long), texts.inputs(short))


def score_windows(
    model: LoSh,
    texts: TextFeatures,
    samples: list[Sample],
    root: Path,
    size: InputSize,
    batch_size: int,
    dtype: torch.dtype,
    rule: Rule,
    best_only: bool,
    skipped: list[str] | None = None,
    by_window: bool = True,
) -> Iterator[tuple[Batch, Tensor, Tensor]]:
    """For each batch of E samples: the batch, scores [E, K, N], mask probabilities [E, K, N or 1,
    H, W] at the network's size.

    Args:
        size: of the network's input.
        best_only: only the best query's masks.
        skipped: gathers why samples cannot be read; None: the first such sample is an error.
        by_window: samples of one window are encoded once and together, so that batches do not
            follow the samples' order. Else each is a clip of its own, in the order given, as
            published: what a clip is padded to depends on the others in its batch.
    """
    device = texts.device
    if texts.frozen:
        texts.add(text for sample in samples for text in (sample.long, sample.short))
    workers = loader_workers(device)
    groups = group_samples(samples, batch_size) if by_window else [[one] for one in samples]
    loader = DataLoader(
        ClipDataset(root, groups, size),
        batch_sampler=_batches(groups, batch_size),
        num_workers=workers,
        collate_fn=list,
        multiprocessing_context="fork" if workers else None,
    )
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


def _batches(groups: list[list[Sample]], size: int) -> list[list[int]]:
    """Groups in order, as many at once as hold at most `size` samples, and the same number of
    annotated frames.
    """
    batches: list[list[int]] = []
    count, kind = 0, None
    for i, group in enumerate(groups):
        if not batches or count + len(group) > size or kind != len(group[0].annotated):
            batches.append([])
            count, kind = 0, len(group[0].annotated)
        batches[-1].append(i)
        count += len(group)
    return batches
