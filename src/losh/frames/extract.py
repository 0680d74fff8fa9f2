"""Stage extract_frames: pack the frames that windows need, and all masks, in a zip per video."""

from __future__ import annotations

import json
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from tqdm import tqdm

from losh.datasets import open_reader
from losh.datasets.reader import DatasetReader, FrameReader, Video
from losh.errors import UserError
from losh.media.windows import window_around
from losh.params import FramesParams
from losh.runtime.files import add_to_zip, atomic_write, quoted, read_json, sha256_of, write_json
from losh.runtime.parallel import map_in_processes
from losh.runtime.resume import SCRATCH, fingerprint, link, prune

FORMAT = 1
"""Raise it when the zip's contents change, so that old scratch items are not taken for new ones."""


def extract_frames(
    raw: Path, out: Path, params: FramesParams, scratch: Path = SCRATCH
) -> dict[str, Any]:
    """Write one zip a video and index.json to `out`; returns the index.

    Raises:
        UserError: a video, frame or mask that cannot be read, unless params.on_error is `skip`:
            then it is listed in the index's `skipped`.
    """
    reader = open_reader(raw)
    videos = reader.videos()
    items = scratch / "extract_frames" / reader.name
    items.mkdir(parents=True, exist_ok=True)
    rows: dict[str, Any] = {}
    skipped: list[dict[str, str]] = []
    used: set[str] = set()
    work = partial(_extract_or_explain, raw, items, params)
    with map_in_processes(work, videos) as results:
        for video, (name, row, fault) in zip(
            videos,
            tqdm(results, total=len(videos), desc=f"frames {reader.name}", unit="video"),
            strict=True,
        ):
            if fault:
                if params.on_error == "stop":
                    raise UserError(
                        fault,
                        "Or set frames.on_error to skip, which leaves such videos out and counts "
                        "them",
                    )
                skipped.append({"file": video.video, "why": fault})
                continue
            rows[video.video] = row
            used.add(name)
    if not rows:
        raise UserError(
            f"{raw} gave no video that can be read ({len(skipped)} skipped)",
            "Check the report of the download stage",
        )
    out.mkdir(parents=True, exist_ok=True)
    for name, row in rows.items():
        link(items / f"{quoted(name)}.{row['fingerprint']}.zip", out / f"{quoted(name)}.zip")
    prune(items, used | {name.replace(".zip", ".json") for name in used})
    for row in rows.values():
        del row["fingerprint"]
    skipped += [
        {"file": video, "why": f"{what}: the mask has no pixel"}
        for video, row in rows.items()
        for what in row.pop("empty_masks")
    ]
    index = {
        "name": reader.name,
        "kind": reader.kind,
        "protocol": reader.protocol,
        "window": params.window,
        "videos": rows,
        "skipped": skipped,
    }
    attributes = raw / "text_annotations" / "objects.json"
    if attributes.is_file():  # generated datasets know them; the trivial predictors use them
        index["objects"] = read_json(attributes, f"dvc repro download@{reader.name}")
    write_json(out / "index.json", index)
    return index


def _extract_or_explain(
    raw: Path, items: Path, params: FramesParams, video: Video
) -> tuple[str, dict[str, Any], str]:
    """Return (scratch name, index row, fault).

    It runs in a worker, where a fault is data and not an exception.
    """
    reader = open_reader(raw)
    try:
        mark = fingerprint(
            FORMAT,
            params.window,
            params.short_side,
            params.jpeg_quality,
            _identity(reader, video),
            video.annotated,
        )
        name = f"{quoted(video.video)}.{mark}.zip"
        record = items / name.replace(".zip", ".json")
        if record.exists() and (items / name).exists():
            return name, json.loads(record.read_text()), ""
        row = pack_video(reader, video, params, items / name) | {"fingerprint": mark}
        write_json(record, row)
        return name, row, ""
    except UserError as error:
        return "", {}, str(error)


def _identity(reader: DatasetReader, video: Video) -> Any:
    """Return what tells versions of a video's files apart: names, sizes, times of change."""
    files = (
        [video.media]
        if video.media.is_file()
        else sorted(video.media.iterdir())
        if video.media.is_dir()
        else []
    )
    annotation = getattr(reader, "annotation_files", None)
    files = files + (annotation(video) if annotation else [])
    return [
        (path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files if path.exists()
    ]


def needed_frames(
    annotated: tuple[int, ...], num_frames: int, window: int, protocol: str
) -> list[int]:
    """Return the indices that any window reads.

    Those around annotated frames where few are annotated (a2d), else all.

    The neighbours t - 1 and t + 1 of an annotated frame are always among them, since flow needs
    them.
    """
    if protocol != "a2d":
        return list(range(num_frames))
    wanted = {t for c in annotated for t in window_around(c, max(window, 3), num_frames)}
    return sorted(wanted)


def pack_video(
    reader: FrameReader, video: Video, params: FramesParams, target: Path
) -> dict[str, Any]:
    """Write one video's zip; returns its row of the index."""
    encoded: dict[int, bytes] = {}
    height = width = 0
    count = 0
    # The length of a video file is not known before it is decoded: frames past the last window are
    # read, not kept.
    reach = params.window + 2
    near = {t for c in video.annotated for t in range(c - reach, c + reach + 1)}
    for count, (frame, name) in enumerate(reader.frames(video), start=1):
        if count == 1:
            height, width = _size(frame, name, params)
        if reader.protocol != "a2d" or count - 1 in near:
            encoded[count - 1] = _encode(frame, name, params)
    if count == 0:
        raise UserError(f"{video.media} holds no frame")
    late = [t for t in video.annotated if t >= count]
    if late:
        raise UserError(
            f"{video.media} has {count} frames, but the annotation names frame {late[0] + 1}"
        )
    stored = needed_frames(video.annotated, count, params.window, reader.protocol)
    instances: dict[str, list[str]] = {}
    empty: list[str] = []
    with atomic_write(target) as part, zipfile.ZipFile(part, "w") as archive:
        for t in stored:
            add_to_zip(archive, f"frames/{t:06d}.jpg", encoded[t])
        for t in video.annotated:
            masks = reader.masks(video, t)
            if reader.protocol == "a2d":
                empty += _without_pixels(masks, video, t, params)
            instances[str(t)] = sorted(name for name, mask in masks.items() if mask.any())
            add_to_zip(archive, f"masks/{t:06d}.json", _encode_masks(masks, height, width))
    return {
        "split": video.split,
        "num_frames": count,
        "frame_names": list(video.frame_names),
        "height": height,
        "width": width,
        "stored": stored,
        "annotated": list(video.annotated),
        "instances": instances,
        "empty_masks": empty,
        "sha256": sha256_of(target),
    }


def _without_pixels(
    masks: dict[str, np.ndarray], video: Video, t: int, params: FramesParams
) -> list[str]:
    """Return the instances annotated by an empty mask.

    That is a fault of the annotation where, as in A2D, an absent object is not listed at all.
    """
    empty = [f"frame {t + 1}, instance {name}" for name, mask in masks.items() if not mask.any()]
    if empty and params.on_error == "stop":
        raise UserError(f"{video.video}, {empty[0]}: the mask has no pixel")
    return empty


def _decode(frame: bytes | np.ndarray, name: str) -> np.ndarray:
    if isinstance(frame, np.ndarray):
        return frame
    image = cv2.imdecode(np.frombuffer(frame, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise UserError(f"{name} does not decode as an image")
    return image[:, :, ::-1]


def _size(frame: bytes | np.ndarray, name: str, params: FramesParams) -> tuple[int, int]:
    """Height and width that the stored frame has, in pixels."""
    height, width = _decode(frame, name).shape[:2]
    return (
        _shrunk(height, width, params.short_side)
        if isinstance(frame, np.ndarray)
        else (height, width)
    )


def _shrunk(height: int, width: int, short_side: int | None) -> tuple[int, int]:
    if short_side is None or min(height, width) <= short_side:
        return height, width
    ratio = short_side / min(height, width)
    return round(height * ratio), round(width * ratio)


def _encode(frame: bytes | np.ndarray, name: str, params: FramesParams) -> bytes:
    """JPEG bytes: published ones as they are (if they decode), decoded ones at the wanted size."""
    if isinstance(frame, bytes):
        _decode(frame, name)
        return frame
    height, width = _shrunk(frame.shape[0], frame.shape[1], params.short_side)
    if (height, width) != frame.shape[:2]:
        frame = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
    done, data = cv2.imencode(
        ".jpg",
        np.ascontiguousarray(frame[:, :, ::-1]),
        [cv2.IMWRITE_JPEG_QUALITY, params.jpeg_quality],
    )
    if not done:
        raise UserError(f"{name} cannot be encoded as JPEG")
    return data.tobytes()


def _encode_masks(masks: dict[str, np.ndarray], height: int, width: int) -> bytes:
    """COCO RLE of each instance; at the annotation's own size, which need not be the frame's."""
    size = next((list(mask.shape) for mask in masks.values()), [height, width])
    runs = {
        name: coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
        for name, mask in sorted(masks.items())
    }
    return json.dumps({"size": size, "instances": runs}, sort_keys=True).encode()
