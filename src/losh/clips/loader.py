"""Clips from a data set, loaded by processes of their own beside a network."""

from __future__ import annotations

import signal
from collections.abc import Generator, Sequence

import torch
from torch.utils.data import DataLoader

from losh.clips.dataset import ClipDataset, ClipRequest, LoadedClip
from losh.errors import UserError
from losh.runtime.machine import loader_workers


def load_batches(
    dataset: ClipDataset,
    batches: Sequence[list[int]] | Sequence[list[ClipRequest]],
    device: torch.device,
) -> Generator[list[LoadedClip | UserError]]:
    """Load batches ahead of the network, by as many processes as suit the device.

    Args:
        dataset: where the clips come from.
        batches: the clips of each batch, in order.
        device: the network's.
    """
    workers = loader_workers(device)
    loader = DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=list,
        multiprocessing_context="fork" if workers else None,
    )
    # Slurm and systemd send SIGTERM to all processes of a job. One that loads would die of it, and
    # the training, which is about to save its state, of the missing batch. A forked process begins
    # with what is blocked here; it ends with its parent: PyTorch's workers look after it every 5
    # seconds.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        loaded = iter(loader)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    yield from loaded
