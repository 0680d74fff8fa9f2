"""Which samples make which step: the same for one device or many, and after any resume."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from losh.clips.dataset import ClipRequest
from losh.errors import UserError


class GlobalBatches:
    """The batches of an epoch, cut so that each process takes its part of every global batch.

    An epoch is a permutation of all items (windows with their expressions); with sampling weights,
    as many draws with replacement, the dataset first. Everything follows from (seed, epoch), so a
    resumed run or another number of processes sees the same global batches.

    Args:
        dataset_of: the dataset of each item.
        keep_last: keep an incomplete last batch; else it is left out, unless it is the only one.
            Where it has fewer items than there are processes, the epoch's first ones fill it up to
            their number, as PyTorch's DistributedSampler does.
    """

    def __init__(
        self,
        dataset_of: list[str],
        batch_size: int,
        seed: int,
        weights: dict[str, float] | None = None,
        rank: int = 0,
        world: int = 1,
        keep_last: bool = False,
    ) -> None:
        if batch_size < world:
            raise UserError(
                f"train.batch_size is {batch_size}, but there are {world} processes",
                "Give each at least one clip",
            )
        self.dataset_of = np.array(dataset_of)
        self.asked, self.batch_size = batch_size, min(batch_size, len(dataset_of))
        if self.batch_size < world:
            raise UserError(
                f"there are {len(dataset_of)} training samples for {world} processes",
                "Use fewer processes (LOSH_PROCESSES=1)",
            )
        self.seed, self.weights, self.rank, self.world = seed, weights, rank, world
        self.keep_last = keep_last

    @property
    def notice(self) -> str | None:
        """What to say where train.batch_size is more than there is."""
        if self.asked == self.batch_size:
            return None
        return (
            f"train.batch_size is {self.asked}, but there are {self.batch_size} windows to train "
            f"on: a step takes all {self.batch_size}"
        )

    @property
    def steps(self) -> int:
        """Optimiser steps per epoch."""
        full, rest = divmod(len(self.dataset_of), self.batch_size)
        return full + int(self.keep_last and rest > 0)

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[list[ClipRequest]]:
        """Return this process's part of each step's global batch, from `first_step` on."""
        order = self._permutation(epoch)
        for step in range(first_step, self.steps):
            first = step * self.batch_size
            count = min(self.batch_size, len(order) - first)
            places = range(first, first + max(count, self.world))
            yield [
                ClipRequest(int(order[p % len(order)]), (self.seed, epoch, p))
                for p in places[self.rank :: self.world]
            ]

    def _permutation(self, epoch: int) -> np.ndarray:
        rng = np.random.default_rng((self.seed, epoch))
        if self.weights is None:
            return rng.permutation(len(self.dataset_of))
        names = sorted(self.weights)
        share = np.array([self.weights[name] for name in names])
        picks = rng.choice(len(names), size=len(self.dataset_of), p=share / share.sum())
        order = np.empty(len(picks), np.int64)
        for i, name in enumerate(names):
            members = np.flatnonzero(self.dataset_of == name)
            wanted = int((picks == i).sum())
            # Whole permutations in a row, so that no sample repeats before all of its dataset were
            # seen.
            rounds = [rng.permutation(members) for _ in range(-(-wanted // len(members)))]
            order[picks == i] = np.concatenate(rounds)[:wanted] if rounds else []
        return order
