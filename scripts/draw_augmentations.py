"""Draw docs/augmentation.png: one clip of MovingShapes, plain and with each augmentation.

    python scripts/draw_augmentations.py    (a minute on one core)

The annotated frame has its objects' outlines, the box of the referred one and, as arrows, the flow
to the frame on its right where that is its neighbour: all of them as the model gets them.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from losh.augmentation.augmented_clips import AugmentedClips  # noqa: E402
from losh.clips.dataset import FLOW_STRIDE, ClipRequest, LoadedClip  # noqa: E402
from losh.clips.samples import group_samples  # noqa: E402
from losh.download import download  # noqa: E402
from losh.errors import UserError  # noqa: E402
from losh.flow.compute import compute_flow  # noqa: E402
from losh.frames.extract import extract_frames  # noqa: E402
from losh.media.resizing import InputSize  # noqa: E402
from losh.params import (  # noqa: E402
    AugmentationParams,
    FramesParams,
    MovingShapesParams,
    load_params,
)
from losh.short_text.parse import parse_text  # noqa: E402
from losh.train.split import load_train_samples  # noqa: E402

NAME, FRAMES, CELL, MARGIN = "moving_shapes", 6, (150, 210), 250
CROP = {"probability": 1.0, "short_sides": [120], "sides": [80, 110], "final_short_sides": [96]}
COLOUR = {"probability": 0.5, "permutation": 0.5}
ROWS: list[tuple[str, float, dict[str, Any]]] = [  # title, flip, augmentation
    ("plain", 0.0, {}),
    ("flip", 1.0, {}),
    ("short_sides: [64]", 0.0, {"short_sides": [64]}),
    ("crop, keeps: some", 0.0, {"crop": CROP}),
    ("crop, keeps: whole", 0.0, {"crop": {**CROP, "keeps": "whole"}}),
    ("colour (ReferFormer)", 0.0, {"colour": COLOUR}),
    (
        "colour (SgMg)",
        0.0,
        {
            "colour": {
                "probability": 0.5,
                "contrast": 0.2,
                "saturation": 0.2,
                "hue": 0.0,
                "permutation": 0.2,
                "clip": "after_brightness",
            }
        },
    ),
    ("reverse", 0.0, {"reverse": 1.0}),
    ("clips: sparse, reach: 3", 0.0, {"clips": "sparse"}),
    ("clips: sparse, reach: 1", 0.0, {"clips": "sparse", "reach": 1}),
    ("all but colour", 1.0, {"clips": "sparse", "reach": 1, "reverse": 1.0, "crop": CROP}),
]


def prepare(root: Path) -> Path:
    """Run the stages before training on three generated videos; return data/."""
    params, data = load_params(ROOT / "params.yaml"), root / "data"
    shapes = params.datasets[NAME]
    assert isinstance(shapes, MovingShapesParams)
    few = shapes.model_copy(update={"train_videos": 3, "test_videos": 1})
    download(NAME, few, data / "raw" / NAME, root / "sources")
    kept: FramesParams = params.frames.model_copy(update={"window": FRAMES, "keep": "all"})
    extract_frames(data / "raw" / NAME, data / "frames" / NAME, kept, root / "scratch")
    compute_flow(data / "frames" / NAME, data / "flow" / NAME, params.flow, root / "scratch")
    sentences = data / "raw" / NAME / "expressions.csv"
    parse_text(sentences, data / "short_text" / f"{NAME}.csv", params.short_text)
    return data


def draw_row(title: str, clip: LoadedClip) -> np.ndarray:
    """One row of the sheet, uint8 RGB."""
    words = np.full((CELL[0], MARGIN, 3), 255, np.uint8)
    lines = [title, "", *wrapped(clip.long[0]), f"frames {list(clip.samples[0].window)}"]
    lines.append(f"{clip.frames.shape[2]} x {clip.frames.shape[1]} px")
    for i, line in enumerate(lines):
        place = (6, 18 + 16 * i)
        cv2.putText(words, line, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    cells = [words]
    for place, frame in enumerate(clip.frames.numpy()):
        large = cv2.resize(frame, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
        if place in clip.samples[0].annotated:
            large = draw_annotation(large, clip, clip.samples[0].annotated.index(place))
        scale = min(CELL[0] / large.shape[0], CELL[1] / large.shape[1])
        small = cv2.resize(large, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        cell = np.full((*CELL, 3), 255, np.uint8)
        cell[: small.shape[0], : small.shape[1]] = small
        cells.append(cv2.copyMakeBorder(cell, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=(255,) * 3))
    cells[0] = cv2.copyMakeBorder(words, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=(255,) * 3)
    return np.hstack(cells)


def draw_annotation(image: np.ndarray, clip: LoadedClip, k: int) -> np.ndarray:
    """Outlines, the referred instance's box, and the flow, on a frame twice its size."""
    image = image.copy()
    for index, masks in enumerate(clip.masks.numpy()):
        mask = np.asarray(
            cv2.resize(
                masks[k].astype(np.uint8), image.shape[1::-1], interpolation=cv2.INTER_NEAREST
            )
        )
        outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        own = index == clip.referred[0]
        cv2.drawContours(image, outlines, -1, (255, 255, 0) if own else (255, 255, 255), 1)
        if own and outlines:
            x, y, width, height = cv2.boundingRect(mask)
            cv2.rectangle(image, (x, y), (x + width - 1, y + height - 1), (255, 0, 0), 1)
    flow = clip.flow
    if flow is not None and flow["valid"][k, 1]:
        u, v = flow["forward"][k, 1]
        step = 2 * FLOW_STRIDE
        for row in range(1, u.shape[0], 3):
            for column in range(1, u.shape[1], 3):
                start = (int((column + 0.5) * step), int((row + 0.5) * step))
                end = (
                    int(start[0] + u[row, column] * step),
                    int(start[1] + v[row, column] * step),
                )
                cv2.arrowedLine(image, start, end, (0, 255, 255), 1, cv2.LINE_AA, tipLength=0.3)
    return image


def wrapped(text: str, width: int = 32) -> list[str]:
    """Break a sentence into lines."""
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = prepare(Path(folder))
        samples, _ = load_train_samples([NAME], data)
        sided = [s for s in samples if {"left", "right"} & set(s.long.split())]
        sample = (sided or samples)[0]
        rows = []
        for number, (title, flip, changes) in enumerate(ROWS):
            params = AugmentationParams.model_validate(changes)
            groups = group_samples([sample], 1)
            dataset = AugmentedClips(data, groups, InputSize(96, 576), flip, params, with_flow=True)
            clip = dataset[ClipRequest(0, (0, 0, number))]
            if isinstance(clip, UserError):
                raise clip
            rows.append(draw_row(title, clip))
    sheet = np.vstack(rows)
    # Colours of a palette: a third of the bytes.
    image = Image.fromarray(sheet).quantize(128, dither=Image.Dither.NONE)
    image.save(ROOT / "docs" / "augmentation.png", optimize=True)


if __name__ == "__main__":
    main()
