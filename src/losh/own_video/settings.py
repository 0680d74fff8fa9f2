"""What a prediction needs besides frames and sentences; nothing slow is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from losh.errors import UserError

DEFAULT_MODEL = Path("data/model/model.safetensors")
"""What `make run` makes; the repository holds no trained model."""


@dataclass(frozen=True)
class Settings:
    """What a prediction needs besides the checkpoint; the defaults are those of params.yaml."""

    rule: Literal["long", "product", "intersection", "mean"] = "long"
    """How the two streams' masks become one, as evaluate.rule."""
    threshold: float = 0.5
    """A pixel belongs to the mask above this probability, 0 to 1."""
    chunk: int = 24
    """Frames at once; at least the checkpoint's window is taken."""
    mode: Literal["subject", "subject_with_position"] = "subject_with_position"
    """Of the short expression, as short_text.mode."""

    def __post_init__(self) -> None:
        if self.rule not in ("long", "product", "intersection", "mean"):
            raise UserError(f"rule is {self.rule!r}", "Take long, product, intersection or mean")
        if not 0 <= self.threshold <= 1:
            raise UserError(f"threshold is {self.threshold}", "Give a number from 0 to 1")
        if self.chunk < 1:
            raise UserError(f"chunk is {self.chunk}", "Give a number of frames, at least 1")
        if self.mode not in ("subject", "subject_with_position"):
            raise UserError(f"mode is {self.mode!r}", "Take subject or subject_with_position")


def check_model_file(path: Path) -> None:
    """Refuse a model file that is not there, before anything slow is imported or loaded.

    Raises:
        UserError: names the path and how to come by one.
    """
    if path.is_dir():
        raise UserError(
            f"{path} is a folder", f"Name the model file, such as {path / DEFAULT_MODEL.name}"
        )
    if not path.is_file():
        what = "no model has been trained here: " if path == DEFAULT_MODEL else ""
        raise UserError(
            f"{what}{path} is missing",
            "Make it with `make run` in a clone of the repository (half an hour on two cores), or "
            "give one: --model FILE, losh.load(FILE)",
        )
