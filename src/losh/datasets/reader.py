"""What every dataset's reader gives to the stages: videos, expressions, frames, masks.

Nothing after it knows the dataset.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from losh.datasets.listing import FileListing
from losh.media.decoding import read_bytes

FETCH_AGAIN = "Fetch the published file again"


@dataclass(frozen=True)
class Video:
    """One video of a dataset."""

    video: str
    """Published id; may hold any character that a file name may."""
    split: str
    """train, or as the publication calls it: test, valid, val, testA, testB, valid_u."""
    media: Path
    """The video file, or the folder of its frames."""
    frame_names: tuple[str, ...]
    """Names without suffix of all frames that a complete release has, in order, so that an index
    means one frame whatever files are missing; empty for a video file.
    """
    annotated: tuple[int, ...]
    """0-based indices of the frames that should have masks."""
    masked: int | None = None
    """How many frames, from the first, the one file of the video's masks covers (JHMDB-Sentences):
    windows stay within them. None: no such limit.
    """
    unions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Instance id -> the instances that it stands for together (MeViS: a sentence of several
    objects). It has masks of its own, their union.
    """


@dataclass(frozen=True)
class Expression:
    """One referring expression; a row of expressions.csv."""

    split: str
    video: str
    expression_id: str
    """Unique within (video, expression_set)."""
    instance: str
    """Id of the referred instance; empty where it is not public."""
    text: str
    short_text: str = ""
    """The published short text; empty where there is none."""
    expression_set: str = ""
    """Refer-DAVIS17's annotator and view; else empty."""


@dataclass(frozen=True)
class Inventory:
    """Which videos the publication lists and which are there, for the download stage's report."""

    listed: dict[str, str]
    """Video -> split, of every video that the publication's own tables name for the splits that we
    use.
    """
    present: frozenset[str]
    """Videos with media in the folders that hold them, listed or not."""
    unused: frozenset[str] = frozenset()
    """Videos that the publication ships and leaves out of the splits that we use."""
    unknown: frozenset[str] = frozenset()
    """Videos that expressions name and no table lists."""
    release: str = ""
    """Which of several releases it is, where that can be told (MeViS)."""


class FrameReader(Protocol):
    """Frames and masks of videos: all that packing one needs."""

    @property
    def name(self) -> str:
        """Of the dataset."""

    @property
    def protocol(self) -> str:
        """a2d, youtube_vos, davis, refcoco or mevis."""

    @property
    def mend(self) -> str:
        """What to do about a JPEG of `frames` that does not decode."""

    def frames(self, video: Video) -> Iterator[tuple[bytes | np.ndarray, str]]:
        """Yield the frames in order, each with its file's name for errors.

        A frame is its JPEG bytes as published, or decoded, uint8 [H, W, 3] RGB.

        Raises:
            UserError: a frame is missing, or a frame or the video does not decode; the message
                names the file.
        """
        ...

    def masks(self, video: Video, frame: int) -> dict[str, np.ndarray]:
        """Return instance id -> bool [H, W] of one annotated frame (0-based).

        Instances without a pixel are included as empty masks, and pixels that count for nobody as
        the mask of id VOID.

        Raises:
            UserError: the annotation is missing, truncated or of a wrong shape; the message names
                the file.
        """
        ...

    def mask_place(self, video: Video, frame: int) -> str:
        """Say for messages where the masks of one annotated frame lie.

        That is their file and, if it holds several frames, the frame.
        """
        ...


def read_jpegs(video: Video) -> Iterator[tuple[bytes, str]]:
    """Yield the JPEGs of a video's folder as they are, each with its path for errors."""
    for name in video.frame_names:
        path = video.media / f"{name}.jpg"
        yield read_bytes(path), str(path)


class DatasetReader(FrameReader, Protocol):
    """A dataset in its published layout.

    Readers open files lazily and hold no handle between calls.
    """

    @property
    def listing(self) -> FileListing:
        """The files of the source folder."""

    @property
    def kind(self) -> str:
        """The word that params.yaml has for the layout."""

    @property
    def frame_suffix(self) -> str:
        """Of the frames' files; empty where a video is one file."""

    def videos(self) -> list[Video]:
        """Return all videos of the splits that we use, sorted by (split, video)."""
        ...

    def expressions(self) -> list[Expression]:
        """Return all expressions, in the published order.

        Slips that the publication is known for are already mended.
        """
        ...

    def annotation_files(self, video: Video) -> list[Path]:
        """Return the files that should hold the video's masks, without duplicates."""
        ...

    def inventory(self) -> Inventory:
        """Return what the publication lists against what is there."""
        ...
