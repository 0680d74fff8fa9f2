"""Overlays of the best, the middling and the worst cases: people look before they read."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from losh.evaluate.outputs.table import ExpressionRow, worst_first
from losh.evaluate.protocols.setup import Result
from losh.frames import FrameStore
from losh.media.drawing import caption, outline, overlay
from losh.media.resizing import resize_mask
from losh.runtime.files import atomic_write

TRUTH = (64, 255, 64)
"""Green: the true mask. The prediction is tinted red."""


def draw_cases(store: FrameStore, result: Result, count: int, out: Path) -> None:
    """Write up to `count` overlays as JPEG: a third worst, a third median, a third best cases.

    File names begin with the quality.
    """
    # Rows without a prediction may be without a score: their masks are not public.
    rows = worst_first(row for row in result.rows if row.key in result.predictions)
    for row in _spread(rows, count):
        shown = result.predictions[row.key]
        t, frame = shown.frame, store.frame(row.video, shown.frame)
        predicted = coco_mask.decode(shown.scored).astype(bool)
        picture = overlay(frame, resize_mask(predicted, frame.shape[:2]))
        truth = true_mask(store, row, t)
        if truth is not None:
            picture = outline(picture, resize_mask(truth, frame.shape[:2]), TRUTH)
        height, width = picture.shape[:2]
        # Small frames are shown larger, or the caption could not be read.
        scale = max(1, round(360 / height))
        picture = cv2.resize(
            picture, (width * scale, height * scale), interpolation=cv2.INTER_CUBIC
        )
        picture = caption(picture, f"{row.quality:.2f}  {row.text}")
        name = f"{row.quality:.3f}_{_plain(row.video)}_{t:05d}_{_plain(row.expression_id)}.jpg"
        with atomic_write(out / name) as part:
            cv2.imwrite(str(part), picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])


def true_mask(store: FrameStore, row: ExpressionRow, t: int) -> np.ndarray | None:
    """Return the true mask of a row's object in frame t, bool [H, W]; None where none is public."""
    known = str(t) in store.videos[row.video]["instances"]
    return store.masks(row.video, t).get(row.instance) if known else None


def _spread(rows: list[ExpressionRow], count: int) -> list[ExpressionRow]:
    if len(rows) <= count:
        return rows
    third = max(1, count // 3)
    middle = (len(rows) - third) // 2
    best = count - 2 * third
    return (rows[:third] + rows[middle : middle + third] + (rows[-best:] if best > 0 else []))[
        :count
    ]


def _plain(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in name)[:60]
