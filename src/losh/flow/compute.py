"""Stage compute_flow: RAFT between the annotated frames of training videos and their neighbours."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from losh.flow.flow_store import QUANTUM, NotStorable, Pair, quantise, write_fields
from losh.frames import FrameStore
from losh.media.resizing import resize_frame
from losh.params import FlowParams
from losh.runtime.files import quoted, read_json, sha256_of, write_json
from losh.runtime.resume import SCRATCH, fingerprint, link, prune, stage_digest

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
    missing = [v for v in wanted if not _finished(items / names[v], params)]
    if any(wanted[v] for v in missing):
        estimator = _new_estimator(params)
    with tqdm(
        total=sum(len(wanted[v]) for v in missing),
        desc=f"flow {frames_root.name}",
        unit="pair",
        disable=not progress,
    ) as bar:
        for video in missing:
            _compute_video(
                frames,
                video,
                wanted[video],
                params,
                estimator if wanted[video] else None,
                items / names[video],
                bar.update,
            )
    rows = {video: read_json(_record(items / name), "dvc repro") for video, name in names.items()}
    out.mkdir(parents=True, exist_ok=True)
    for stale in [out / "index.json", *out.glob("*.h5")]:
        # Without an index nobody takes a half-linked folder for a whole one.
        stale.unlink(missing_ok=True)
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


def _new_estimator(params: FlowParams) -> FlowEstimator:
    from losh.flow.estimator import FlowEstimator
    from losh.runtime.machine import pick_device

    return FlowEstimator(params, pick_device())


def _file(item: Path) -> Path:
    return item.with_name(item.name + ".h5")


def _record(item: Path) -> Path:
    return item.with_name(item.name + ".json")


def _finished(item: Path, params: FlowParams) -> bool:
    """Whether the item is whole.

    One that left pairs out is done anew when a fault shall stop the stage.
    """
    if not (_file(item).exists() and _record(item).exists()):
        return False
    return params.on_error == "skip" or not read_json(_record(item), "dvc repro")["skipped"]


def _compute_video(
    frames: FrameStore,
    video: str,
    pairs: list[Pair],
    params: FlowParams,
    estimator: FlowEstimator | None,
    item: Path,
    advance: Callable[[int], Any],
) -> None:
    """Write a video's .h5 and then its record, whose presence says that the item is whole."""
    fields: dict[Pair, np.ndarray] = {}
    skipped: list[tuple[Pair, str]] = []
    for start in range(0, len(pairs), params.batch_size):
        batch = pairs[start : start + params.batch_size]
        numbers = sorted({t for pair in batch for t in pair})
        images = np.stack([_frame(frames, video, t, params) for t in numbers])
        assert estimator is not None, "a video with pairs has its estimator"
        both = estimator.estimate_both(
            images, [(numbers.index(a), numbers.index(b)) for a, b in batch]
        )
        forward, backward = (to_stored_grid(way, params.stored_stride) for way in both)
        for (a, b), there, back in zip(batch, forward, backward, strict=True):
            try:
                quantise(there, video, (a, b))
                quantise(back, video, (b, a))
            except NotStorable as error:
                if params.on_error == "stop":
                    raise
                skipped.append(((a, b), str(error)))
                continue
            fields[a, b], fields[b, a] = there, back
        advance(len(batch))
    write_fields(_file(item), video, fields)
    size = next(iter(fields.values())).shape[1:] if fields else (0, 0)
    row = {
        "pairs": sorted(fields),
        "height": size[0],
        "width": size[1],
        "sha256": sha256_of(_file(item)),
        "skipped": skipped,
    }
    write_json(_record(item), row)


def _frame(frames: FrameStore, video: str, t: int, params: FlowParams) -> np.ndarray:
    """Frame t at RAFT's size, uint8 [H, W, 3]."""
    image = frames.frame(video, t)
    return resize_frame(image, running_size(image.shape[0], image.shape[1], params))
