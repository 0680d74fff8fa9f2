"""A tiny folder of one's own data, in every form that it may have (docs/own_data.md)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from losh.testing.dataset_fixtures import write_palette, write_video
from losh.testing.drawn_clip import Clip, draw_clip

FRAMES = 4
NAMES = ("walk", "ride", "jump")
ROWS = (
    "video,expression,object,split,short",
    "walk,the red square moving right,1,train,the red square",
    "walk,the green disc,2,train,",
    'ride,"the red square, which moves",1,test,',
    "jump.mp4,a green disc that moves left,,test,",
)


def make_own_folder(root: Path, every: int = 1) -> Path:
    """Write a folder; only each `every`-th frame has masks.

    `walk` is a file with indexed PNGs; `ride` frames 1.jpg, 2.png, 10.jpg, 11.jpg with run lengths,
    one of them as a list; `jump` a file with black and white PNGs of object 2.
    """
    clips = {name: clip_of(name) for name in NAMES}
    shown = range(0, FRAMES, every)
    (root / "videos" / "ride").mkdir(parents=True)
    for name in ("walk", "jump"):
        write_video(root / "videos" / f"{name}.mp4", clips[name].frames)
        (root / "masks" / name).mkdir(parents=True)
    names = ("1.jpg", "2.png", "10.jpg", "11.jpg")
    for name, frame in zip(names, clips["ride"].frames, strict=True):
        Image.fromarray(frame).save(root / "videos" / "ride" / name, quality=95)
    for t in shown:
        write_palette(root / "masks" / "walk" / f"{t:05d}.png", clips["walk"].objects[t])
        white = Image.fromarray(np.uint8(255) * (clips["jump"].objects[t] == 2))
        white.save(root / "masks" / "jump" / f"{t}.png")
    stems = [name.split(".")[0] for name in names]
    write_runs(root / "masks" / "ride.json", {stems[t]: clips["ride"].objects[t] for t in shown})
    write_rows(root, *ROWS)
    return root


def write_rows(root: Path, *lines: str) -> None:
    """Write expressions.csv."""
    (root / "expressions.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_runs(path: Path, frames: dict[str, np.ndarray]) -> None:
    """Write the run lengths of objects 1 (as text) and 2 (as a list); `frames` holds indices."""
    written = {}
    for key, indices in frames.items():
        code = coco_mask.encode(np.asfortranarray((indices == 1).astype(np.uint8)))
        column = (indices == 2).T.ravel()
        edges = np.flatnonzero(np.diff(np.r_[False, column])) if column.any() else np.array([], int)
        lengths = np.diff(np.r_[0, edges, column.size]).tolist()
        written[key] = {
            "1": {"size": code["size"], "counts": code["counts"].decode()},
            "2": {"size": list(indices.shape), "counts": lengths},
        }
    path.write_text(json.dumps(written))


def clip_of(name: str) -> Clip:
    """Return what `make_own_folder` drew."""
    return draw_clip(NAMES.index(name), FRAMES)
