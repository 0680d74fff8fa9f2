"""Flow on disk: one HDF5 file per video, int16 fixed point, one compressed chunk per field.

Any field is read alone.

Measured on 360 x 640 fields: 1,688 KB as float32 .flo, 145 KB so. The step of 1/64 px is our
choice: it errs by at most 1/128 px, far below RAFT's own error, and still reaches 512 px.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from losh.errors import UserError
from losh.runtime.files import OpenFiles, atomic_write, quoted, read_json

QUANTUM = 1 / 64
"""px of the stored grid."""
Pair = tuple[int, int]
"""(source, target): 0-based frame indices; the field lives on the source's pixels."""


class NotStorable(UserError):
    """A field that fixed point cannot hold: not finite, or too long a vector."""


def quantise(field: np.ndarray, video: str, pair: Pair, quantum: float = QUANTUM) -> np.ndarray:
    """float [2, h, w] in px -> int16 [2, h, w] in steps of `quantum`.

    Raises:
        NotStorable: NaN, inf, or a component beyond 32767 steps; names the video and the pair.
    """
    where = f"The flow of video {video!r} from frame {pair[0]} to {pair[1]}"
    broken = np.count_nonzero(~np.isfinite(field))
    if broken:
        raise NotStorable(
            f"{where} has {broken} values that are not finite",
            "Try another flow.checkpoint, or flow.on_error: skip",
        )
    steps = np.rint(np.asarray(field, np.float64) / quantum)
    limit = np.iinfo(np.int16).max
    if np.abs(steps).max(initial=0) > limit:
        most, longest = limit * quantum, np.abs(field).max()
        raise NotStorable(
            f"{where} reaches {longest:.0f} px, more than the {most:.0f} px that can be stored",
            "Try a smaller flow.short_side, or flow.on_error: skip",
        )
    return steps.astype(np.int16)


def write_fields(
    path: Path, video: str, fields: Mapping[Pair, np.ndarray], quantum: float = QUANTUM
) -> None:
    """Write all fields of a video, whole or not at all; the same fields give the same bytes.

    Args:
        path: the .h5 file.
        video: its id, for errors.
        fields: float [2, h, w] of each pair, all of one size.

    Raises:
        NotStorable: see `quantise`.
    """
    pairs = sorted(fields)
    steps = (
        np.stack([quantise(fields[pair], video, pair, quantum) for pair in pairs])
        if pairs
        else np.zeros((0, 2, 1, 1), np.int16)
    )
    with atomic_write(path) as part, h5py.File(part, "w", libver=("v110", "v110")) as file:
        file.attrs["quantum"] = quantum
        file.attrs["unit"] = (
            "flow [pair, (u right, v down), row, column] = quantum * value, in pixels of this "
            "very grid"
        )
        # Without track_times=False the file would hold the clock.
        file.create_dataset(
            "pairs", data=np.array(pairs, np.int32).reshape(-1, 2), track_times=False
        )
        options: dict[str, Any] = (
            {
                "chunks": (1, *steps.shape[1:]),
                "compression": "gzip",
                "compression_opts": 6,
                "shuffle": True,
            }
            if pairs
            else {}
        )
        file.create_dataset("flow", data=steps, track_times=False, **options)


class FlowStore:
    """Random access to the flow of one dataset in data/flow/<name>.

    Safe to hand to loader workers.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self.index: dict[str, Any] = read_json(
            self.root / "index.json", f"dvc repro compute_flow@{self.root.name}"
        )
        self._pairs: dict[str, dict[Pair, int]] = {
            video: {(source, target): i for i, (source, target) in enumerate(row["pairs"])}
            for video, row in self.index["videos"].items()
        }
        self._files = OpenFiles(open_h5)

    @property
    def videos(self) -> dict[str, dict[str, Any]]:
        """Video id -> its row of the index (docs/design.md)."""
        return self.index["videos"]

    def has(self, video: str, source: int, target: int) -> bool:
        """Whether the flow from frame `source` to `target` is stored.

        The way back is stored where the way there is.
        """
        return (source, target) in self._pairs.get(video, {})

    def flow(self, video: str, source: int, target: int) -> np.ndarray:
        """Return the flow from frame `source` to `target`, float32 [2, h, w].

        For each pixel x of `source`, x + flow is its place in `target`; u right, v down, in pixels
        of this grid.

        Raises:
            UserError: the pair is not in the store, or its file is missing or damaged.
        """
        place = self._pairs.get(video, {}).get((source, target))
        if place is None:
            raise UserError(
                f"{self.root} has no flow of video {video!r} from frame {source} to {target}",
                self._advice(),
            )
        try:
            file = self._files.get(self._path(video))
            return file["flow"][place].astype(np.float32) * np.float32(file.attrs["quantum"])
        except (OSError, KeyError, ValueError) as error:
            raise UserError(
                f"{self._path(video)} cannot be read ({error})", self._advice()
            ) from None

    def _advice(self) -> str:
        return f"Run `dvc repro -f -s compute_flow@{self.root.name}`"

    def _path(self, video: str) -> Path:
        return self.root / f"{quoted(video)}.h5"


def open_h5(path: Path) -> h5py.File:
    """Return a file of `write_fields`, for reading."""
    return h5py.File(path, "r")
