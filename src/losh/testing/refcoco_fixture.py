"""A tiny RefCOCO, RefCOCO+ or RefCOCOg in its published layout, quirks included."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from losh.datasets.refcoco import LAYOUTS, SPLITS
from losh.testing.drawn_clip import SHORT, SIZE, draw_clip

CROWD, WITHOUT_AREA = 80, 81
"""Objects of the first training image that are left out as published: a crowd, and one whose box
has no area.
"""


def make_refcoco(
    root: Path,
    kind: str = "refcoco",
    train: int = 3,
    held_out: int = 1,
    size: tuple[int, int] = SIZE,
    missing: int = 1,
) -> Path:
    """Write `train` images for training, `held_out` for each other split.

    Each has a square, of two polygons, and a disc, with two sentences each. The second image is
    grey; the first has the objects CROWD and WITHOUT_AREA besides; each has an object that no
    sentence means. A reference's file_name is no image's. `missing` further training images are
    referred to, but not there, and one is there that nothing refers to.
    """
    folder = root / "coco" / Path(LAYOUTS[kind].parts["refs"].path).parent.name
    images_folder = root / "coco" / "train2014"
    for path in (folder, images_folder):
        path.mkdir(parents=True, exist_ok=True)
    counts = {split: train if split == "train" else held_out for split in SPLITS[kind]}
    places = [(split, True) for split, count in counts.items() for _ in range(count)]
    places += [("train", False)] * missing
    refs: list[dict[str, Any]] = []
    table: dict[str, list] = {"images": [], "annotations": [], "categories": [{"id": 1}]}
    for number, (split, there) in enumerate(places):
        image_id = 1000 + number
        name = f"COCO_train2014_{image_id:012d}.jpg"
        table["images"].append(
            {"id": image_id, "file_name": name, "height": size[0], "width": size[1]}
        )
        annotations = _annotations(image_id, number, size)
        if number == 0:
            annotations += _left_out(image_id, size)
        table["annotations"] += annotations
        for one in annotations:
            if one["category_id"]:  # those of 0 are what no sentence means
                refs.append(_ref(one, split, name, len(refs)))
        if there:
            _write_image(images_folder / name, number, size, grey=number == 1)
    _write_image(images_folder / "COCO_train2014_000000999999.jpg", 7, size, grey=False)
    split_by = "umd" if kind == "refcocog" else "unc"
    # Protocol 2, as Python 2 wrote it.
    (folder / f"refs({split_by}).p").write_bytes(pickle.dumps(refs, protocol=2))
    (folder / "instances.json").write_text(json.dumps(table))
    # What ReferFormer's script makes of them; not read.
    (folder / f"instances_{folder.name}_train.json").write_text("{}")
    return root


def _write_image(path: Path, number: int, size: tuple[int, int], grey: bool) -> None:
    frame = draw_clip(number, 1, size).frames[0]
    picture = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) if grey else frame[:, :, ::-1]
    path.write_bytes(cv2.imencode(".jpg", picture)[1].tobytes())


def _annotations(image_id: int, number: int, size: tuple[int, int]) -> list[dict[str, Any]]:
    objects = draw_clip(number, 1, size).objects[0]
    rows, columns = np.nonzero(objects == 1)
    left, right, top, bottom = columns.min(), columns.max() + 1, rows.min(), rows.max() + 1
    middle = (left + right) // 2
    # A polygon runs along the pixels' edges.
    halves = [[a, top, b, top, b, bottom, a, bottom] for a, b in ((left, middle), (middle, right))]
    disc = cv2.findContours(
        (objects == 2).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )[0][0]
    polygons = {1: halves, 2: [(disc + 0.5).reshape(-1).tolist()]}
    found = [
        _annotation(10 * number + one, image_id, one, polygons[one], objects == one)
        for one in (1, 2)
    ]
    return [*found, {**found[0], "id": 10 * number + 3, "category_id": 0}]


def _annotation(
    object_id: int, image_id: int, category: int, polygons: list, mask: np.ndarray
) -> dict[str, Any]:
    rows, columns = np.nonzero(mask)
    box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
    return {
        "id": object_id,
        "image_id": image_id,
        "category_id": category,
        "segmentation": [[float(value) for value in polygon] for polygon in polygons],
        "bbox": [float(value) for value in box],
        "area": float(mask.sum()),
        "iscrowd": 0,
    }


def _left_out(image_id: int, size: tuple[int, int]) -> list[dict[str, Any]]:
    crowd = {"size": list(size), "counts": [0, size[0] * size[1]]}
    rows = {"image_id": image_id, "category_id": 1, "area": 9.0}
    return [
        {**rows, "id": CROWD, "segmentation": crowd, "bbox": [0.0, 0.0, 9.0, 9.0], "iscrowd": 1},
        {
            **rows,
            "id": WITHOUT_AREA,
            "segmentation": [[1.0, 1.0, 5.0, 1.0, 3.0, 1.0]],
            "bbox": [1.0, 1.0, 4.0, 0.0],
            "iscrowd": 0,
        },
    ]


def _ref(annotation: dict[str, Any], split: str, name: str, number: int) -> dict[str, Any]:
    text = SHORT[annotation["category_id"]]
    sentences = [
        {"tokens": sent.split(), "raw": sent.title() + "!", "sent": sent, "sent_id": 2 * number + i}
        for i, sent in enumerate((text, f"{text} on the left"))
    ]
    return {
        "ref_id": number,
        "ann_id": annotation["id"],
        "image_id": annotation["image_id"],
        "category_id": annotation["category_id"],
        "split": split,
        "file_name": name.replace(".jpg", f"_{annotation['id']}.jpg"),
        "sent_ids": [one["sent_id"] for one in sentences],
        "sentences": sentences,
    }
