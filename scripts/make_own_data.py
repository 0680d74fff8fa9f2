"""Make a folder of one's own data from MovingShapes clips, for the walk-through docs/own_data.md.

    python scripts/make_own_data.py FOLDER [--clips 10]

Every form that such a folder may have is in it: video files and a folder of frames, masks as
indexed PNGs and as COCO run lengths. Every frame has its masks; every fifth clip is for testing.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from losh.errors import UserError, friendly
from losh.moving_shapes.generate import clip_seed
from losh.moving_shapes.scene import RenderedClip, render_clip
from losh.moving_shapes.video import write_video

SEED = 2
"""Another than the default dataset's: none of its clips is among these."""
COLOURS = [(0, 0, 0), (230, 60, 60), (60, 200, 80), (70, 110, 240), (240, 200, 60), (200, 80, 220)]


def write_frames(folder: Path, frames: np.ndarray) -> None:
    """Write frames uint8 [T, H, W, 3] as 0.png, 1.png, ..., without zeros before the number."""
    folder.mkdir(parents=True)
    for t, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{t}.png")


def write_indexed(folder: Path, masks: np.ndarray) -> None:
    """Write masks bool [T, n, H, W] as one indexed PNG a frame: the value k + 1 is object k."""
    folder.mkdir(parents=True)
    for t, objects in enumerate(masks):
        values = (objects * np.arange(1, len(objects) + 1)[:, None, None]).max(axis=0)
        picture = Image.fromarray(values.astype(np.uint8), "P")
        picture.putpalette([channel for colour in COLOURS for channel in colour])
        picture.save(folder / f"{t}.png")


def write_runs(path: Path, masks: np.ndarray) -> None:
    """Write masks bool [T, n, H, W] as frame -> object -> COCO's run lengths, in one JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frames: dict[str, dict] = {}
    for t, objects in enumerate(masks):
        codes = [coco_mask.encode(np.asfortranarray(mask.astype(np.uint8))) for mask in objects]
        frames[str(t)] = {
            str(k): {"size": code["size"], "counts": code["counts"].decode()}
            for k, code in enumerate(codes, start=1)
        }
    path.write_text(json.dumps(frames), encoding="utf-8")


def rows_of(clip: RenderedClip, name: str, split: str) -> list[tuple[str, str, int, str]]:
    """Return the clip's rows of expressions.csv."""
    return [
        (name, one.text, k, split)
        for k, shape in enumerate(clip.objects, start=1)
        for one in shape.expressions
    ]


def make(root: Path, arguments: argparse.Namespace) -> None:
    """Write the whole folder.

    Raises:
        UserError: it is there already.
    """
    if root.exists():
        raise UserError(f"{root} is there already", "Remove it, or name another folder")
    rows = []
    (root / "videos").mkdir(parents=True)
    for index in range(arguments.clips):
        split = "test" if index % 5 == 4 else "train"
        seed = clip_seed(SEED, split, index)
        clip = render_clip(seed, arguments.frames, arguments.height, arguments.width)
        name = f"clip_{index}"
        if index % 5 == 1:
            write_frames(root / "videos" / name, clip.frames)
        else:
            write_video(root / "videos" / f"{name}.mp4", clip.frames)
        if index % 5 == 2:
            write_runs(root / "masks" / f"{name}.json", clip.masks)
        else:
            write_indexed(root / "masks" / name, clip.masks)
        rows += rows_of(clip, name, split)
    with (root / "expressions.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("video", "expression", "object", "split"))
        table.writerows(rows)
    print(f"wrote {root}: {arguments.clips} videos, {len(rows)} expressions")


@friendly
def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clips", type=int, default=10)
    parser.add_argument("--frames", type=int, default=16, help="of a clip")
    parser.add_argument("--height", type=int, default=96, help="px")
    parser.add_argument("--width", type=int, default=128, help="px")
    arguments = parser.parse_args()
    make(arguments.folder, arguments)


if __name__ == "__main__":
    main()
