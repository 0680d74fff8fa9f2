"""A2D-Sentences' files: instance masks as MATLAB wrote them, and the tables."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from losh.runtime.files import atomic_write


def write_masks(path: Path, masks: dict[str, np.ndarray]) -> None:
    """Write the masks (instance -> bool [H, W], each with a pixel) of one frame in A2D's form.

    `instance` [n]; `reMask` uint8 [n, W, H], transposed, and [W, H] when there is one instance;
    `reBBox` [4, n]: first and last column and row (x1 y1 x2 y2), counted from 0. The bytes depend
    on the masks alone.
    """
    instances = sorted(masks)
    stacked = np.stack([masks[name].T for name in instances]).astype(np.uint8)
    boxes = np.stack([_box(masks[name]) for name in instances], axis=1)
    with atomic_write(path) as part, h5py.File(part, "w", libver="earliest") as file:
        datasets: dict[str, dict[str, Any]] = {
            "instance": {"data": np.array([float(name) for name in instances])},
            "reMask": {
                "data": stacked[0] if len(instances) == 1 else stacked,
                "compression": "gzip",
            },
            "reBBox": {"data": boxes.astype(float)},
        }
        for name, what in datasets.items():
            # HDF5 would else write the clock into each, and lay out the file by when Python frees
            # the object: later where a profiler (a Dask worker has one) looks at this frame.
            file.create_dataset(name, track_times=False, **what).id.close()


def _box(mask: np.ndarray) -> tuple[int, int, int, int]:
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return columns[0], rows[0], columns[-1], rows[-1]


def write_table(
    path: Path, rows: Iterable[Iterable[object]], header: Iterable[str] | None = None
) -> None:
    """Write a CSV with plain line ends."""
    with atomic_write(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        if header is not None:
            writer.writerow(header)
        writer.writerows(rows)
