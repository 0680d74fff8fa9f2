"""The best, median and worst cases as strips of pictures, for the stage `report`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from losh.errors import UserError
from losh.evaluate.outputs.strips import Flow, Tile, draw_strip
from losh.evaluate.outputs.table import ExpressionRow, worst_first
from losh.evaluate.protocols.setup import Result, ShownMask
from losh.flow.compute import running_size
from losh.frames import FrameStore
from losh.media.resizing import resize_flow, resize_frame
from losh.params import FlowParams
from losh.runtime.files import atomic_write, write_json

MOST = 9
"""Cases: three of each group fit a page that people still scroll through."""
DIGITS = 4
QUALITY = 85
"""Of the JPEG files: some 10 KB a picture."""


Completed = Callable[[ExpressionRow, ShownMask], ShownMask]
"""Adds to what a case shows what evaluation did not need."""


def write_cases(
    store: FrameStore,
    result: Result,
    count: int,
    out: Path,
    flow: Flow | None,
    completed: Completed,
) -> None:
    """Write the strips of up to `count` cases to `out`, and cases.json, which names them."""
    rows = worst_first(row for row in result.rows if row.key in result.predictions)
    cases = []
    for number, (group, row) in enumerate(choose(rows, min(count, MOST))):
        shown = completed(row, result.predictions[row.key])
        tiles = draw_strip(store, row, shown, flow)
        cases.append(
            {
                "group": group,
                "quality": round(row.quality, DIGITS),
                "measure": "IoU" if row.j_and_f is None else "J&F",
                "video": row.video,
                "frame": shown.frame,
                "expression_set": row.expression_set,
                "text": row.text,
                "short_text": row.short_text,
                "kind": row.kind,
                "score": round(row.score, DIGITS),
                "tiles": [_written(tile, out, number) for tile in tiles],
            }
        )
    write_json(out / "cases.json", cases)


def choose(rows: list[ExpressionRow], count: int) -> list[tuple[str, ExpressionRow]]:
    """Pick a third best, a third median and a third worst ones, each with its group's name.

    No row is in two groups. Within one each row is of another video, as far as there are videos:
    the frames of one clip fail alike.

    Args:
        rows: worst first.
        count: how many at the most.
    """
    middle = (len(rows) - 1) / 2
    ranked = [rows[i] for i in sorted(range(len(rows)), key=lambda i: (abs(i - middle), i))]
    taken: set[tuple] = set()
    groups: dict[str, list[ExpressionRow]] = {}
    for i, (name, order) in enumerate(
        {"worst": rows, "best": rows[::-1], "median": ranked}.items()
    ):
        free = [row for row in order if row.key not in taken]
        groups[name] = _of_many_videos(free, (count + 2 - i) // 3)
        taken |= {row.key for row in groups[name]}
    return [(name, row) for name in ("best", "median", "worst") for row in groups[name]]


def flow_between(params: FlowParams, device: str) -> Flow | None:
    """Load the workflow's own RAFT, at the size at which it runs in the stage compute_flow.

    None, with a line that says why, where its weights cannot be had: scores need no flow.
    """
    from losh.flow.estimator import FlowEstimator  # ptlflow takes seconds

    try:
        estimator = FlowEstimator(params, device)
    except UserError as error:
        print(f"no flow in the strips of the report: {error}")
        return None

    def flow(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        size = running_size(first.shape[0], first.shape[1], params)
        small = [resize_frame(frame, size)[None] for frame in (first, second)]
        field = estimator.estimate(small[0], small[1])[0]
        return resize_flow(field, (first.shape[0], first.shape[1]))

    return flow


def _of_many_videos(rows: list[ExpressionRow], count: int) -> list[ExpressionRow]:
    """Return the first `count` rows, those of a video not yet seen before others; in order."""
    first: dict[str, ExpressionRow] = {}
    for row in rows:
        first.setdefault(row.video, row)
    firsts = {row.key for row in first.values()}
    places = sorted(range(len(rows)), key=lambda i: (rows[i].key not in firsts, i))[:count]
    return [rows[i] for i in sorted(places)]


def _written(tile: Tile, out: Path, number: int) -> dict[str, object]:
    """Write a tile's picture; its entry in cases.json."""
    name = f"{number}-{tile.name}.jpg"
    with atomic_write(out / name) as part:
        cv2.imwrite(str(part), tile.picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    entry: dict[str, object] = {"name": tile.name, "label": tile.label, "file": name}
    return entry if tile.iou is None else entry | {"iou": round(tile.iou, DIGITS)}
