"""The streams and their joint mask in one video, side by side, so that they play in step."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from losh.media.drawing import overlay
from losh.media.resizing import resize_frame
from losh.own_video.legend import colour_of, legend
from losh.own_video.masked_frame import MaskedFrame
from losh.own_video.video_writer import VideoWriter

PANEL = 480
"""Longest side of one picture, pixels."""
COLOURS = {"long": colour_of(1), "short": colour_of(2), "joint": colour_of(0)}
"""RGB; the joint mask has the overlay's colour."""
GAP = 4
"""Pixels between two pictures."""


class SideBySide:
    """Draws of each frame what each stream alone masks, and the joint mask.

    A strip below names them.
    """

    def __init__(self, writer: VideoWriter, names: Mapping[str, str]) -> None:
        """Take a writer, and what stands below each picture: long, short, joint, or long alone."""
        self.writer, self.names = writer, names
        self.size: tuple[int, int] | None = None
        self.strip: np.ndarray | None = None

    def add(self, t: int, found: MaskedFrame, time: float) -> None:
        """Write one frame, of one sentence."""
        if found.streams is None:
            raise ValueError("the streams' masks were not asked for")
        size = self.size = self.size or panel_size(*found.frame.image.shape[:2])
        frame = resize_frame(found.frame.image, size)
        masks = found.streams[0] if len(self.names) == 1 else [*found.streams[0], found.masks[0]]
        panels = [
            overlay(frame, _resized(mask, size), COLOURS[name])
            for name, mask in zip(self.names, masks, strict=True)
        ]
        gap = np.zeros((size[0], GAP, 3), np.uint8)
        picture = np.concatenate(
            [part for panel in panels for part in (panel, gap)][:-1],
            1,
        )
        if self.strip is None:
            # Twice the picture's height: the page shows the wide video small.
            texts = [f"{name}: {text}" for name, text in self.names.items()]
            colours = [COLOURS[name] for name in self.names]
            self.strip, _ = legend(texts, picture.shape[1], 2 * size[0], colours)
        self.writer.write(np.concatenate([picture, self.strip]), found.frame)


def panel_size(height: int, width: int) -> tuple[int, int]:
    """Return (height, width) of a picture whose longest side becomes `PANEL`, even sides."""
    scale = PANEL / max(height, width)
    return max(2, 2 * round(height * scale / 2)), max(2, 2 * round(width * scale / 2))


def _resized(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(mask.astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR) > 0.5
