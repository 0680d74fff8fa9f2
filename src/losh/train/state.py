"""The state of a training that goes on after a kill: saved whole or not at all, read safely."""

from __future__ import annotations

import signal
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from losh.errors import UserError
from losh.runtime.environment import seconds
from losh.runtime.files import atomic_write
from losh.runtime.torch_files import UNREADABLE, load_tensors, reason_of

SAVE_EVERY = 180.0
"""Seconds between saves within an epoch, unless LOSH_SAVE_EVERY gives others: what a kill without
warning costs at most.
"""


@dataclass
class Progress:
    """Where a training stands.

    Plain numbers, strings, lists and dicts alone, so that weights_only loading takes it.
    """

    epoch: int = 0
    step: int = 0
    """Steps done in this epoch."""
    sums: dict[str, float] = field(default_factory=dict)
    """Sums of the loss terms over this epoch's steps so far."""
    skipped: int = 0
    """Steps skipped because the loss was not finite."""
    history: list[dict[str, float]] = field(default_factory=list)
    """One row per epoch: loss terms, rates, validation scores."""
    best_epoch: int = -1
    best_score: float = -1.0


def save_state(path: Path, progress: Progress, **parts: Any) -> None:
    """Save the progress and the state_dicts of `parts`, atomically."""
    with atomic_write(path) as part:
        torch.save(
            {
                "progress": asdict(progress),
                **{name: value.state_dict() for name, value in parts.items()},
            },
            part,
        )


def load_state(path: Path, **parts: Any) -> Progress:
    """Load what save_state saved into `parts`; returns the progress."""
    try:
        state = load_tensors(path)
        for name, value in parts.items():
            value.load_state_dict(state[name])
        return Progress(**state["progress"])
    except (*UNREADABLE, TypeError) as error:
        raise _unusable(path, error) from None


def saved_step(path: Path) -> tuple[int, int] | None:
    """Return the epoch and step that a saved state has reached; None where there is none.

    Raises:
        UserError: it cannot be read.
    """
    if not path.exists():
        return None
    try:
        progress = load_tensors(path, mmap=True)["progress"]
        return progress["epoch"], progress["step"]
    except (*UNREADABLE, TypeError) as error:
        raise _unusable(path, error) from None


def _unusable(path: Path, error: Exception) -> UserError:
    return UserError(
        f"{path} cannot be resumed from ({reason_of(error)})", "Remove it to start afresh"
    )


class StopRequest:
    """Whether SIGTERM or SIGINT has asked to stop.

    The loop looks at it between steps, where the state is whole.
    """

    def __init__(self) -> None:
        self.signal = 0
        self._old = {
            number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)
        }

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = number

    def restore(self) -> None:
        """Give the signals back to whoever had them."""
        for number, handler in self._old.items():
            signal.signal(number, handler)


class Clock:
    """Says when it is time to save again."""

    def __init__(self) -> None:
        self._every = seconds("LOSH_SAVE_EVERY", SAVE_EVERY)
        self._last = time.monotonic()

    def is_due(self) -> bool:
        """Return True at most once in that many seconds."""
        if time.monotonic() - self._last < self._every:
            return False
        self._last = time.monotonic()
        return True


class TrainableWeights:
    """A model seen through its trainable parameters, with state_dict and load_state_dict.

    Buffers need no place: ours are constants (frozen BatchNorm, position indices).
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def state_dict(self) -> dict[str, Tensor]:
        """Name -> trainable parameter."""
        return {
            name: parameter.detach()
            for name, parameter in self.model.named_parameters()
            if parameter.requires_grad
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Copy `state` into the model; the names must be exactly those of state_dict."""
        own = self.state_dict()
        if own.keys() != state.keys():
            raise KeyError(
                f"{sorted(own.keys() ^ state.keys())[:3]} are in one of model and state only"
            )
        for name, parameter in own.items():
            parameter.copy_(state[name])
