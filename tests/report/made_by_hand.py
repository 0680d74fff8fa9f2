"""A folder as the stages before `report` leave it, written by hand."""

from __future__ import annotations

import csv
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from losh.params import Params, check_params
from losh.report.dataset_section import Places
from losh.report.page import write_report
from losh.testing.tiny_training import TINY_SHAPES, tiny_raw

NASTY = 'a <b>man</b> & his "dog" that isn\'t </table> {{ red }}'
A2D = {
    "mean_iou": 0.6098,
    "mean_iou_interval": {"low": 0.5609, "high": 0.6604},
    "overall_iou": 0.5496,
    "precision_at_50": 0.646,
    "map_all_queries": 0.3687,
    "samples": 387,
    "skipped": 2,
}
LARGEST = {"mean_iou": 0.2558, "overall_iou": 0.1805, "precision_at_50": 0.2557}
JF = {"j": 0.5123, "f": 0.5341, "j_and_f": 0.5232}
SCORES: dict[str, dict[str, Any]] = {
    "moving_shapes": A2D
    | {
        "trivial": {"largest_object": LARGEST, "best_single_frame_guess": {"mean_iou": 0.7713}},
        "kinds": {
            "looks": {
                "samples": 243,
                "mean_iou": 0.7001,
                "mean_iou_interval": {"low": 0.6502, "high": 0.7503},
                "trivial": {"largest_object": 0.2004, "best_single_frame_guess": 0.9005},
            },
            "motion": {
                "samples": 1,
                "mean_iou": 0.3806,
                "trivial": {"largest_object": 0.2107, "best_single_frame_guess": 0.5008},
            },
        },
    },
    "a2d_sentences": A2D | {"trivial": {"largest_object": LARGEST}},
    "jhmdb_sentences": A2D,
    "refer_youtube_vos": JF | {"samples": 12, "skipped": 0},
    "refer_davis17": {
        "davis_unsupervised": {"annot1": JF, "mean": {key: v + 0.1 for key, v in JF.items()}},
        "per_expression": {"annot1": JF, "mean": {key: v + 0.2 for key, v in JF.items()}},
        "samples": 20,
        "skipped": 0,
    },
    "folder": JF | A2D,
    "refcoco": {
        "val": {key: A2D[key] for key in ("overall_iou", "mean_iou", "mean_iou_interval")},
        "testA": {"overall_iou": 0.5551, "mean_iou": 0.5662},
        "samples": 30,
        "skipped": 0,
    },
}
"""What metrics/eval holds, dataset by dataset."""
NO_SAMPLE = {"samples": 0, "skipped": 3}
KINDS = {name: {"kind": name} for name in SCORES if name != "moving_shapes"}


def make_root(root: Path, scores: dict[str, dict[str, Any]], **changes: Any) -> Params:
    """Write params.yaml and metrics/eval; the parameters."""
    shapes = tiny_raw({})["datasets"] | TINY_SHAPES
    datasets = {name: KINDS.get(name, shapes) for name in scores}
    # Whatever is named first is trained on: of RefCOCO, its pictures.
    changes |= {"train__datasets": list(datasets)[:1], "train__pseudo_clips": True}
    raw = tiny_raw(datasets, **changes)
    root.mkdir(parents=True, exist_ok=True)
    (root / "params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    for name, values in scores.items():
        put(root / f"metrics/eval/{name}.json", json.dumps(values))
    return check_params(raw)


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def add_plots(root: Path, name: str) -> None:
    put(root / f"metrics/plots/{name}/precision.csv", "threshold,precision\n0.50,0.6\n0.55,0.5\n")
    put(root / f"metrics/plots/{name}/iou_histogram.csv", "iou,count\n0.025,4\n0.075,2\n")


def add_cases(root: Path, name: str) -> None:
    """One worst and one best case; the latter without a second stream, truth and flow."""
    folder = root / f"data/evaluate/{name}/cases"
    case = {
        "quality": 0.123,
        "measure": "IoU",
        "video": "v<1>",
        "frame": 4,
        "expression_set": "",
        "text": NASTY,
        "short_text": "a <b>man</b>",
        "kind": "place_or_relation",
        "score": 0.9,
    }
    names = ["frame-1", "truth", "long", "short", "joint", "flow"]
    tiles = [{"name": one, "label": one, "file": f"0-{one}.jpg"} for one in names]
    tiles[4]["iou"] = 0.1234
    cases = [
        case | {"group": "best", "tiles": [tiles[0], tiles[4]]},
        case | {"group": "worst", "tiles": tiles},
    ]
    put(folder / "cases.json", json.dumps(cases))
    for i, tile in enumerate(tiles):
        cv2.imwrite(str(folder / tile["file"]), np.full((6, 8, 3), 40 * i, np.uint8))


def add_short_text(root: Path, name: str) -> None:
    path = root / f"data/short_text/{name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["split", "video", "text", "short_text", "step"])
        writer.writerow(["test", "v", NASTY, "a <b>man</b>", "relative"])
        writer.writerow(["test", "v", "a man", "a man", "whole"])
        writer.writerow(["test", "v", "a man", "a man", "whole"])


def add_training(root: Path) -> None:
    put(root / "metrics/train.json", json.dumps({"best_epoch": 2, "loss": {"total": 29.0347}}))
    for name in ("loss/total", "loss/dice", "loss/dice_0", "validation/mean_iou"):
        path = root / f"metrics/train/plots/metrics/{name}.tsv"
        put(path, f"step\t{path.stem}\n1\t30.5\n2\t29.0347\n")


def page_of(root: Path, params: Params) -> str:
    write_report(params, root / "metrics/report/index.html", Places(root))
    return (root / "metrics/report/index.html").read_text(encoding="utf-8")


class Page(HTMLParser):
    """What a browser would make of a page, as far as the tests ask."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        """(tag, attribute, value)"""
        self.cells: dict[str, str] = {}
        """data-key, or `earlier:` and data-earlier -> the text of the cell."""
        self.text: list[str] = []
        self._key = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        given = dict(attrs)
        earlier = given.get("data-earlier")
        self._key = given.get("data-key") or (f"earlier:{earlier}" if earlier else "")

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.text.append(data.strip())
        if self._key:
            self.cells[self._key] = data.strip()
            self._key = ""
