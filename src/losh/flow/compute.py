"""Stage compute_flow: RAFT between the annotated frames of training videos and their neighbours."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from losh.flow.flow_store import QUANTUM, NotStorable, Pair, quantise, write_fields
from losh.frames import FrameStore
from losh.media.resizing import resize_frame
from losh.params import FlowParams
from losh.runtime.files import quoted, read_json, sha256_of, write_json
from losh.runtime.parallel import Need, map_parts
from losh.runtime.read_ahead import read_ahead
from losh.runtime.resume import SCRATCH, fingerprint, link, prune, stage_digest

NEED = Need(worth=16, gpu=True, memory=4.0)
"""ptlflow takes 10 s to start, in which a process does some 16 videos of MovingShapes; one took at
most 1.4 GB there, and larger frames need more.
"""
AHEAD = 1
"""Batches whose frames are decoded while RAFT works."""

if TYPE_CHECKING:
    from losh.flow.estimator import FlowEstimator


def compute_flow(
    frames_root: Path, out: Path, params: FlowParams, scratch: Path = SCRATCH, progress: bool = True
) -> dict[str, Any]:
    """Write one .h5 a training video and index.json to `out`; returns the index.

    A video that is finished waits in scratch/compute_flow/<name>/ under the fingerprint of its
    frames, of the recipe and of the stage's code, so a killed run goes on where it stopped, and a
    video is computed again only when one of these changes. A dataset without training videos, or
    of pictures, gets an index without videos; neither torch nor ptlflow is imported for it.

    Args:
        frames_root: data/frames/<name>.
        out: data/flow/<name>.
        params: the section `flow`.
        scratch: the folder of unfinished work.
        progress: whether to show a bar: frame pairs, their rate, the time left.

    Raises:
        UserError: a frame or checkpoint that cannot be read; a flow that is not finite or cannot be
            stored, unless params.on_error is `skip`: then that pair of frames is left out, both
            ways, and listed in the index's `skipped`.
    """
    frames = FrameStore(frames_root)
    items = scratch / "compute_flow" / frames_root.name
    pictures = frames.index["protocol"] == "refcoco"  # there is no flow, and nothing to write
    wanted = {
        video: neighbour_pairs(row["annotated"], row["stored"])
        for video, row in frames.videos.items()
        if row["split"] == "train" and not pictures
    }
    recipe = _recipe(params) if wanted else {}
    code = stage_digest("compute_flow")
    names = {
        v: f"{quoted(v)}.{fingerprint(code, recipe, frames.videos[v]['sha256'], pairs)}"
        for v, pairs in wanted.items()
    }
    rows = _rows_of_finished(items, names, params)
    missing = [
        Task(video, pairs, items / names[video])
        for video, pairs in wanted.items()
        if video not in rows
    ]
    job = Job(frames_root.absolute(), sha256_of(frames_root / "index.json"), params, recipe)
    for task, row in _compute_all(job, missing, progress):
        rows[task.video] = row
    out.mkdir(parents=True, exist_ok=True)
    for stale in [out / "index.json", *out.glob("*.h5")]:
        # Without an index nobody takes a half-linked folder for a whole one.
        stale.unlink(missing_ok=True)
    rows = {video: rows[video] for video in names}
    for video, name in names.items():
        link(_file(items / name), out / f"{quoted(video)}.h5")
    prune(items, {path(items / name).name for name in names.values() for path in (_file, _record)})
    skipped = [
        {"file": video, "pair": pair, "why": why}
        for video, row in rows.items()
        for pair, why in row.pop("skipped")
    ]
    index = {
        "name": frames_root.name,
        "recipe": recipe,
        "quantum": QUANTUM,
        "videos": rows,
        "skipped": skipped,
    }
    write_json(out / "index.json", index)
    return index


def _compute_all(
    job: Job, tasks: list[Task], progress: bool
) -> Iterator[tuple[Task, dict[str, Any]]]:
    """Each task with its row, in order, worked on by all GPUs or by a cluster."""
    pairs = sum(len(task.pairs) for task in tasks)
    name = f"flow {job.frames_root.name}"
    work = partial(_compute_videos, job)
    try:
        with (
            tqdm(total=pairs, desc=name, unit="pair", disable=not progress) as bar,
            map_parts(work, tasks, NEED) as made,
        ):
            for task, row in zip(tasks, made, strict=True):
                yield task, row
                bar.update(len(task.pairs))
    finally:
        _estimators.clear()


def neighbour_pairs(annotated: list[int], stored: list[int]) -> list[Pair]:
    """Pairs (t, t + 1) of stored frames of which one at least is annotated, each once, in order."""
    known = set(stored)
    return sorted(
        {(t, t + 1) for a in annotated for t in (a - 1, a) if t in known and t + 1 in known}
    )


def running_size(height: int, width: int, params: FlowParams) -> tuple[int, int]:
    """Return (rows, columns) at which RAFT runs: short side params.short_side.

    Smaller frames are enlarged: RAFT works on cells of 8 px, in which small objects would drown.

    Both are cut to a multiple of the stored stride: then the stored grid covers the frame exactly,
    without a part of a cell at its end.
    """
    ratio = params.short_side / min(height, width)
    rows, columns = (
        max(1, round(side * ratio) // params.stored_stride) * params.stored_stride
        for side in (height, width)
    )
    return rows, columns


def to_stored_grid(fields: np.ndarray, stride: int) -> np.ndarray:
    """Reduce fields to the stored grid: the mean of each cell, the vectors scaled.

    [B, 2, H, W] in px -> [B, 2, H/stride, W/stride] in px of that coarser grid.
    """
    if stride == 1:
        return fields
    count, _, height, width = fields.shape
    cells = fields.reshape(count, 2, height // stride, stride, width // stride, stride)
    return cells.mean(axis=(3, 5)) / np.float32(stride)


def _recipe(params: FlowParams) -> dict[str, Any]:
    """All that decides the numbers besides the frames and our code."""
    from losh.flow.raft import weights_digest

    asked = params.model_dump(exclude={"batch_size", "on_error", "checkpoint"})
    weights = weights_digest(params.model, params.checkpoint)
    return {**asked, "weights": weights, "ptlflow": importlib.metadata.version("ptlflow")}


_estimators: dict[str, FlowEstimator] = {}
"""The one that this process has, by its recipe: building one takes seconds."""


def _estimator_of(job: Job) -> FlowEstimator:
    key = fingerprint(job.params.checkpoint, job.recipe)
    if key not in _estimators:
        _estimators.clear()
        _estimators[key] = _new_estimator(job.params)
    return _estimators[key]


def _new_estimator(params: FlowParams) -> FlowEstimator:
    from losh.flow.estimator import FlowEstimator
    from losh.runtime.machine import pick_device

    return FlowEstimator(params, pick_device())


def _file(item: Path) -> Path:
    return item.with_name(item.name + ".h5")


def _record(item: Path) -> Path:
    return item.with_name(item.name + ".json")


def _rows_of_finished(
    items: Path, names: dict[str, str], params: FlowParams
) -> dict[str, dict[str, Any]]:
    """Return the rows of the videos that are whole.

    One that left pairs out is done anew when a fault shall stop the stage.
    """
    # One listing: no file is asked for that may come later, since a network file system may
    # remember that there was none.
    present = {path.name for path in items.iterdir()} if items.is_dir() else set()
    whole = {
        video: read_json(_record(items / name), "dvc repro")
        for video, name in names.items()
        if {_file(items / name).name, _record(items / name).name} <= present
    }
    return {
        video: row
        for video, row in whole.items()
        if params.on_error == "skip" or not row["skipped"]
    }


@dataclass(frozen=True)
class Job:
    """What the videos of a dataset have in common."""

    frames_root: Path
    index_digest: str
    params: FlowParams
    recipe: dict[str, Any]


@dataclass(frozen=True)
class Task:
    """A video whose flow is missing."""

    video: str
    pairs: list[Pair]
    item: Path
    """Its place in scratch, without the suffix."""


@lru_cache(maxsize=1)
def _frames_of(frames_root: Path, index_digest: str) -> FrameStore:
    """Open the frames once in a process, and again where another index lies there."""
    return FrameStore(frames_root)


@dataclass(frozen=True)
class _Batch:
    """Pairs that RAFT gets at once."""

    pairs: Sequence[Pair]
    places: list[Pair]
    """Of each pair in `images`."""
    images: np.ndarray
    """uint8 [N, H, W, 3] RGB at RAFT's size."""


def _compute_videos(job: Job, tasks: Sequence[Task]) -> list[dict[str, Any]]:
    """Return a record for each video; its next frames, or the next one's, are decoded meanwhile."""
    with closing(read_ahead(_batches(job, tasks), AHEAD)) as batches:
        return [
            _compute_video(job, task, islice(batches, len(_cut(task.pairs, job.params))))
            for task in tasks
        ]


def _cut(pairs: Sequence[Pair], params: FlowParams) -> list[Sequence[Pair]]:
    """Cut a video's pairs into what RAFT gets at once."""
    size = params.batch_size
    return [pairs[start : start + size] for start in range(0, len(pairs), size)]


def _batches(job: Job, tasks: Sequence[Task]) -> Iterator[_Batch]:
    """All batches of the videos, in order."""
    frames = _frames_of(job.frames_root, job.index_digest)
    for task in tasks:
        for pairs in _cut(task.pairs, job.params):
            numbers = sorted({t for pair in pairs for t in pair})
            images = np.stack([_frame(frames, task.video, t, job.params) for t in numbers])
            places = [(numbers.index(a), numbers.index(b)) for a, b in pairs]
            yield _Batch(pairs, places, images)


def _compute_video(job: Job, task: Task, batches: Iterator[_Batch]) -> dict[str, Any]:
    """Write a video's .h5 and then its record, whose presence says that the item is whole.

    Returns:
        The record: the video's row of the index, and the pairs that were left out.
    """
    params = job.params
    fields: dict[Pair, np.ndarray] = {}
    skipped: list[tuple[list[int], str]] = []
    for batch in batches:
        both = _estimator_of(job).estimate_both(batch.images, batch.places)
        forward, backward = (to_stored_grid(way, params.stored_stride) for way in both)
        for (a, b), there, back in zip(batch.pairs, forward, backward, strict=True):
            try:
                quantise(there, task.video, (a, b))
                quantise(back, task.video, (b, a))
            except NotStorable as error:
                if params.on_error == "stop":
                    raise
                skipped.append(([a, b], str(error)))
                continue
            fields[a, b], fields[b, a] = there, back
    write_fields(_file(task.item), task.video, fields)
    size = next(iter(fields.values())).shape[1:] if fields else (0, 0)
    row = {
        "pairs": [list(pair) for pair in sorted(fields)],
        "height": size[0],
        "width": size[1],
        "sha256": sha256_of(_file(task.item)),
        "skipped": skipped,
    }
    write_json(_record(task.item), row)
    return row


def _frame(frames: FrameStore, video: str, t: int, params: FlowParams) -> np.ndarray:
    """Frame t at RAFT's size, uint8 [H, W, 3]."""
    image = frames.frame(video, t)
    return resize_frame(image, running_size(image.shape[0], image.shape[1], params))
