"""The protocols of Refer-YouTube-VOS and MeViS.

They are the submission, and local scores where masks are public.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from losh.evaluate.metrics.j_and_f import mean_scores
from losh.evaluate.protocols.davis import ObjectScore
from losh.runtime.files import add_to_zip, atomic_write


@dataclass(frozen=True)
class Submission:
    """What a benchmark's server takes."""

    folder: str
    """Above the videos, with its slash; empty where they lie at the top level."""
    split: str | None
    """The one split that it scores; None: all that are evaluated."""

    def takes(self, split: str) -> bool:
        """Whether the server scores the expressions of a split."""
        return self.split in (None, split)


SUBMISSIONS = {"youtube_vos": Submission("Annotations/", None), "mevis": Submission("", "valid")}


class SubmissionWriter:
    """Writes the masks of expressions into a submission zip, frame by frame.

    Entries are `<folder><video>/<expression>/<frame>.png`, 8-bit grey, 0 or 255.

    The same masks in the same order give the same bytes. Memory is flat but for the zip's own list
    of entries (some 500 bytes each, written at its end). Use as a context manager: the file appears
    when the block ends well.
    """

    def __init__(self, path: Path, folder: str = "Annotations/") -> None:
        self.path, self.folder = path, folder
        self._stack = ExitStack()
        self._names: set[str] = set()

    def __enter__(self) -> SubmissionWriter:
        with ExitStack() as stack:
            part = stack.enter_context(atomic_write(self.path))
            # Stored: PNGs are compressed already.
            self._zip = stack.enter_context(zipfile.ZipFile(part, "w", zipfile.ZIP_STORED))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        return self._stack.__exit__(kind, error, trace)

    def add(self, video: str, expression: str, frame: str, mask: np.ndarray) -> None:
        """Add the mask (bool `[H, W]`) of one frame, by its published name.

        Raises:
            ValueError: the frame was added before, or a name would leave the folder.
        """
        name = self.folder + entry_name(video, expression, frame)
        if name in self._names:
            raise ValueError(f"{name} was added twice")
        self._names.add(name)
        add_to_zip(self._zip, name, png_of(mask))


def entry_name(video: str, expression: str, frame: str) -> str:
    """Return the name of a frame's PNG below the submission's folder.

    ValueError for names that are not plain.
    """
    for part in (video, expression, frame):
        if not part or part in (".", "..") or "/" in part or "\\" in part:
            raise ValueError(f"{part!r} cannot be part of a submission's path")
    return f"{video}/{expression}/{frame}.png"


def png_of(mask: np.ndarray) -> bytes:
    """Return a mask (bool `[H, W]`) as an 8-bit grey PNG of 0 and 255."""
    # Run lengths suit masks: smaller than level 6's, and faster. Both are given, lest another
    # OpenCV's defaults change the bytes.
    options = [
        cv2.IMWRITE_PNG_COMPRESSION,
        1,
        cv2.IMWRITE_PNG_STRATEGY,
        cv2.IMWRITE_PNG_STRATEGY_RLE,
    ]
    done, data = cv2.imencode(".png", mask.astype(np.uint8) * 255, options)
    if not done:
        raise ValueError(f"a mask of shape {mask.shape} cannot be written as PNG")
    return data.tobytes()


def merge_submissions(parts: Iterable[Path], path: Path) -> None:
    """Join the submissions of several devices into one, ordered by name, one entry at a time.

    The bytes do not depend on how the samples were shared out. An entry that several have (a
    sampler's padding) is taken once.
    """
    with ExitStack() as stack:
        archives = [stack.enter_context(zipfile.ZipFile(part)) for part in sorted(parts)]
        where = {name: archive for archive in reversed(archives) for name in archive.namelist()}
        target = stack.enter_context(
            zipfile.ZipFile(stack.enter_context(atomic_write(path)), "w", zipfile.ZIP_STORED)
        )
        for name in sorted(where):
            add_to_zip(target, name, where[name].read(name))


def local_scores(expressions: Sequence[ObjectScore]) -> dict[str, float]:
    """Return `j`, `f` and `j_and_f` over expressions.

    Each is the mean over an expression's frames with ground truth (gathered by `RunningJF`).

    J and F are DAVIS's, as the evaluation server's were.
    """
    return mean_scores([score.j for score in expressions], [score.f for score in expressions])
