"""A case as a row of small pictures: frames, truth, what each stream masked, optical flow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from losh.evaluate.outputs.pictures import TRUTH, true_mask
from losh.evaluate.outputs.table import ExpressionRow
from losh.evaluate.protocols.setup import ShownMask
from losh.flow.visual import flow_to_rgb
from losh.frames import FrameStore
from losh.inference.overlap import mask_iou
from losh.media.drawing import outline, overlay
from losh.media.resizing import resize_frame, resize_mask

LONG_SIDE = 320
"""Of a picture, in pixels."""
MASKS = {"long": "long stream", "short": "short stream", "joint": "joint mask"}
"""Mask -> what it is called on the page; predictions are tinted red."""
TINT = 0.6
"""Opacity of a mask; under masks frames are grey, since objects have every colour."""
STILL = 1.0
"""Pixels: flow that is nowhere longer does not get the full colour, or noise would look like
motion.
"""

Flow = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Two frames, uint8 [H, W, 3] RGB -> the flow between them, float [2, h, w] in px of the frames."""


@dataclass(frozen=True)
class Tile:
    """One picture of a strip."""

    name: str
    """Its file's: frame-1, truth, long, short, joint, flow."""
    label: str
    picture: np.ndarray
    """uint8 [h, w, 3] RGB."""
    iou: float | None = None
    """Of a predicted mask with the true one in this frame."""


def draw_strip(
    store: FrameStore, row: ExpressionRow, shown: ShownMask, flow: Flow | None
) -> list[Tile]:
    """Draw the pictures of a case, those that there are.

    Without a public mask there is no truth.
    """
    t = shown.frame
    frame = _small(store.frame(row.video, t))
    size = frame.shape[:2]
    truth = true_mask(store, row, t)
    grey = _grey(frame)
    tiles = [
        Tile(f"frame-{i}", f"frame {other}", _small(store.frame(row.video, other)))
        for i, other in enumerate(_moments(store, row.video, t), 1)
    ]
    if truth is not None:
        tiles.append(Tile("truth", "truth", overlay(grey, resize_mask(truth, size), TRUTH, TINT)))
    # What the rule makes of the streams is the one of the three that is not among the others.
    scored = next(name for name in ("joint", "long") if name not in shown.others)
    masks = shown.others | {scored: shown.scored}
    for name in (name for name in MASKS if name in masks):
        mask = coco_mask.decode(masks[name]).astype(bool)
        picture = overlay(grey, resize_mask(mask, size), opacity=TINT)
        iou = None
        if truth is not None:
            picture = outline(picture, resize_mask(truth, size), TRUTH)
            iou = mask_iou(mask, truth)
        label = MASKS[name]
        if name == scored:
            label = f"{label}, scored" if shown.others else "mask"
        tiles.append(Tile(name, label, picture, iou))
    return tiles + _flow_tile(store, row.video, t, flow)


def _moments(store: FrameStore, video: str, t: int) -> list[int]:
    """Return a stored frame about half a window before t, t, and one as much after it."""
    stored, span = store.videos[video]["stored"], max(1, store.index["window"] // 2)
    wanted = (t - span, t, t + span)
    return sorted(
        {min(stored, key=lambda other: (abs(other - moment), other)) for moment in wanted}
    )


def _flow_tile(store: FrameStore, video: str, t: int, flow: Flow | None) -> list[Tile]:
    other = next((o for o in (t + 1, t - 1) if o in store.videos[video]["stored"]), None)
    if flow is None or other is None:
        return []
    field = flow(store.frame(video, t), store.frame(video, other))
    longest = max(STILL, float(np.nanpercentile(np.hypot(*field), 99)))
    label = f"flow to frame {other} (full colour: {longest:.1f} px)"
    return [Tile("flow", label, _small(flow_to_rgb(field, longest)))]


def _small(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    scale = LONG_SIDE / max(height, width)
    return resize_frame(picture, (max(1, round(height * scale)), max(1, round(width * scale))))


def _grey(frame: np.ndarray) -> np.ndarray:
    return np.repeat(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)[:, :, None], 3, axis=2)
