"""A tiny MeViS in its published layout, quirks included."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from losh.testing.drawn_clip import QUERIES, SIZE, draw_clip, write_jpegs

BOTH = "the two shapes that come towards each other"
NOBODY = "the blue triangle that jumps"


def make_mevis(
    root: Path,
    train: int = 3,
    valid_u: int = 2,
    valid: int = 1,
    num_frames: int = 7,
    size: tuple[int, int] = SIZE,
    empty: bool = False,
) -> Path:
    """Write `train`, `valid_u` and `valid` videos; `valid` has no masks and names no objects.

    Each video has a sentence for either shape, two for both of them, of which one repeats the
    words of the other, and with `empty` one without objects. In the first video of train the
    square leaves and returns; the second has three frames, fewer than a window. Frames are listed
    backwards, masks follow their sorted names.
    """
    for split, count in (("train", train), ("valid_u", valid_u), ("valid", valid)):
        if not count:
            continue
        videos: dict[str, Any] = {}
        masks: dict[str, list] = {}
        for number in range(count):
            video = f"{split.replace('_', '')}{number:06x}"
            length = min(3, num_frames) if split == "train" and number == 1 else num_frames
            first = split == "train" and number == 0
            absent = {1: set(range(2, max(3, length - 2)))} if first else {}
            clip = draw_clip(number, length, size, absent)
            names = [f"{t:05d}" for t in range(length)]
            write_jpegs(root / split / "JPEGImages" / video, clip, names)
            keys = {one: 10 * number + one for one in (1, 2)}
            masks |= {str(keys[one]): _codes(clip.objects == one) for one in keys}
            sentences = [(QUERIES[1], [1]), (QUERIES[2], [2]), (BOTH, [1, 2]), (BOTH, [2, 1])]
            sentences += [(NOBODY, [])] if empty else []
            videos[video] = {
                "frames": names[::-1],
                "expressions": {
                    str(i): {"exp": text} | ({} if split == "valid" else _objects(objects, keys))
                    for i, (text, objects) in enumerate(sentences)
                },
            }
        (root / split / "meta_expressions.json").write_text(json.dumps({"videos": videos}))
        if split != "valid":
            (root / split / "mask_dict.json").write_text(json.dumps(masks))
    return root


def _objects(objects: list[int], keys: dict[int, int]) -> dict[str, list[int]]:
    return {"obj_id": [one - 1 for one in objects], "anno_id": [keys[one] for one in objects]}


def _codes(masks: np.ndarray) -> list[dict[str, Any] | None]:
    """Masks bool [T, H, W] -> compressed run-length codes, None where there is no pixel."""
    found: list[dict[str, Any] | None] = []
    for mask in masks:
        code = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        shown = {"size": list(code["size"]), "counts": code["counts"].decode()}
        found.append(shown if mask.any() else None)
    return found
