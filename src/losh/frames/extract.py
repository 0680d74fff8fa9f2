"""Stage extract_frames: pack the frames that windows need, and all masks, in one zip per video."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from losh.datasets import open_reader
from losh.datasets.reader import DatasetReader, Video
from losh.errors import UserError
from losh.frames.packing import pack_video
from losh.params import FramesParams
from losh.runtime.files import quoted, read_json, write_json
from losh.runtime.parallel import map_items
from losh.runtime.resume import SCRATCH, fingerprint, link, prune, stage_digest

SKIPPING = {
    True: "Or set frames.on_error to skip, which leaves the whole video out and counts it",
    False: "Or set frames.on_error to skip, which leaves that instance out of that frame, keeps "
    "the video and counts it",
}
"""What skip does with a whole video that cannot be read (True), or with one mask."""
SHOWN = 10
"""Lines about what was skipped or clamped that are printed; index.json has all of them."""


def extract_frames(
    raw: Path, out: Path, params: FramesParams, scratch: Path = SCRATCH
) -> dict[str, Any]:
    """Write one zip per video and index.json to `out`; returns the index.

    Raises:
        UserError: a video, frame or mask that cannot be read, unless params.on_error is `skip`:
            then it is named in the index's `skipped`. An annotation beyond the video's end is no
            error but is named in `clamped`.
    """
    reader = open_reader(raw)
    items = scratch / "extract_frames" / reader.name
    outcome = _pack_all(reader, raw, items, params)
    if not outcome.rows:
        raise UserError(
            f"{raw} gave no video that can be read ({len(outcome.skipped)} skipped)",
            "Check the report of the download stage",
        )
    out.mkdir(parents=True, exist_ok=True)
    used = {video: row.pop("scratch") for video, row in outcome.rows.items()}
    for video, name in used.items():
        link(items / name, out / f"{quoted(video)}.zip")
    prune(items, {file for name in used.values() for file in (name, _record(items / name).name)})
    index = {
        "name": reader.name,
        "kind": reader.kind,
        "protocol": reader.protocol,
        "window": params.window,
        "videos": outcome.rows,
        "skipped": outcome.skipped,
        "clamped": outcome.clamped,
    }
    for known in ("objects", "scenes"):
        # Generated datasets have them: for the trivial predictors and for scores by kind.
        path = raw / "text_annotations" / f"{known}.json"
        if path.is_file():
            index[known] = read_json(path, f"dvc repro download@{reader.name}")
    write_json(out / "index.json", index)
    _show(reader.name, "skipped", outcome.skipped)
    _show(reader.name, "clamped", outcome.clamped)
    return index


@dataclass
class _Outcome:
    """What became of a dataset's videos."""

    rows: dict[str, Any] = field(default_factory=dict)
    """Video -> its row of the index, and `scratch`, the name of its zip there."""
    skipped: list[dict[str, str]] = field(default_factory=list)
    clamped: list[dict[str, str]] = field(default_factory=list)


def _pack_all(reader: DatasetReader, raw: Path, items: Path, params: FramesParams) -> _Outcome:
    """Every video through `pack_video`, on all cores; zips lie in `items` then."""
    videos, outcome = reader.videos(), _Outcome()
    items.mkdir(parents=True, exist_ok=True)
    work = partial(_extract_or_explain, raw, items, params, stage_digest("extract_frames"))
    with map_items(work, videos) as results:
        for video, (row, fault) in zip(
            videos,
            tqdm(results, total=len(videos), desc=f"frames {reader.name}", unit="video"),
            strict=True,
        ):
            without_pixels = [] if fault else row.pop("without_pixels")
            if params.on_error == "stop" and (fault or without_pixels):
                raise UserError(fault or without_pixels[0], SKIPPING[bool(fault)])
            if fault:
                outcome.skipped.append(_note(reader, video, fault))
                continue
            outcome.skipped += [_note(reader, video, why) for why in without_pixels]
            outcome.clamped += [_note(reader, video, why) for why in row.pop("clamped")]
            outcome.rows[video.video] = row
    return outcome


def _note(reader: DatasetReader, video: Video, why: str) -> dict[str, str]:
    """Return an entry of the index's `skipped` or `clamped`, without this machine's path."""
    return {"file": video.video, "why": why.replace(f"{reader.listing.root}/", "")}


def _show(name: str, what: str, notes: list[dict[str, str]]) -> None:
    if notes:
        videos = len({note["file"] for note in notes})
        print(f"frames {name}: {what} {len(notes)} times in {videos} videos (all in index.json)")
    for note in notes[:SHOWN]:
        print(f"  {note['file']}: {note['why']}")


def _extract_or_explain(
    raw: Path, items: Path, params: FramesParams, code: str, video: Video
) -> tuple[dict[str, Any], str]:
    """(index row, fault): runs in a worker, where a fault is data and not an exception."""
    reader = open_reader(raw)
    try:
        mark = fingerprint(
            code,
            params.window,
            params.short_side,
            params.jpeg_quality,
            params.keep,
            reader.protocol,
            video.split,
            _identity(reader, video),
            video.frame_names,
            video.annotated,
            video.masked,
        )
        target = items / f"{quoted(video.video)}.{mark}.zip"
        if target.exists() and _record(target).exists():
            return json.loads(_record(target).read_text()), ""
        row = pack_video(reader, video, params, target) | {"scratch": target.name}
        write_json(_record(target), row)
        return row, ""
    except UserError as error:
        return {}, str(error)


def _record(target: Path) -> Path:
    """Return where a zip's row of the index waits, written after it."""
    return target.with_name(target.name.removesuffix(".zip") + ".json")


def _identity(reader: DatasetReader, video: Video) -> Any:
    """Return what tells versions of a video's files apart: names, sizes, times of change."""
    files = (
        [video.media]
        if video.media.is_file()
        else sorted(video.media.iterdir())
        if video.media.is_dir()
        else []
    )
    files = files + reader.annotation_files(video)
    return [
        (path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files if path.exists()
    ]
