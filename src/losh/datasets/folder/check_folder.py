"""The check of a user's folder: `losh check-data` and the stage download run this very code."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from losh.datasets.folder.expression_rows import SPLITS, TABLE, Row, read_table
from losh.datasets.folder.faults import Fault
from losh.datasets.folder.inspect_video import Inspected, inspect
from losh.datasets.folder.mask_files import MASKS
from losh.datasets.folder.video_files import VIDEOS, list_media, visible
from losh.datasets.reader import Expression
from losh.errors import UserError
from losh.runtime.parallel import map_items

SPARSE, DENSE = "a2d", "youtube_vos"
"""Protocols: windows around annotated frames, or whole videos."""


@dataclass
class Checked:
    """A folder as it was found; it is usable where `faults` is empty."""

    faults: list[Fault] = field(default_factory=list)
    notes: list[Fault] = field(default_factory=list)
    videos: dict[str, Inspected] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    """Videos with faults of their own, or of their masks."""
    splits: dict[str, str] = field(default_factory=dict)
    """Video -> its split."""
    expressions: list[Expression] = field(default_factory=list)

    @property
    def protocol(self) -> str:
        """Whole videos where every frame of every video has its mask; else single frames."""
        dense = all(len(video.masks) == video.num_frames for video in self.videos.values())
        return DENSE if dense else SPARSE

    @property
    def num_faults(self) -> int:
        """How many there are, those too that are not told one by one."""
        return sum(fault.times for fault in self.faults)

    def summary(self) -> str:
        """Return the line that the check ends with."""
        parts = [_counts(self.splits, self.expressions)]
        for split in SPLITS:
            videos = [video for video, own in self.splits.items() if own == split]
            expressions = [one for one in self.expressions if one.split == split]
            if videos or expressions:
                parts.append(f"{split}: {_counts(videos, expressions)}")
        parts.append(_number(self.num_faults, "fault"))
        return "; ".join(parts)

    def lines(self, root: str = "") -> list[str]:
        """Return all that the check has to say, faults first, the summary last."""
        found = [fault.text(root) for fault in self.faults]
        return [*found, *(f"note: {note.text(root)}" for note in self.notes), self.summary()]

    def record(self) -> dict[str, Any]:
        """Return what later stages read instead of looking again."""
        return {
            "protocol": self.protocol,
            "videos": {
                name: {**asdict(video), "split": self.splits[name]}
                for name, video in self.videos.items()
            },
            "expressions": [asdict(one) for one in self.expressions],
        }


def check_folder(root: Path) -> Checked:
    """Look through a whole folder; every video and every mask is decoded, on all cores.

    Raises:
        UserError: `root` is no folder. What is wrong within it is in the result's `faults`.
    """
    if not root.is_dir():
        raise UserError(
            f"{root} is no folder" if root.exists() else f"{root} does not exist",
            "Give the folder that holds expressions.csv, videos/ and masks/ (docs/own_data.md)",
        )
    table, media, checked = read_table(root), list_media(root), Checked()
    checked.faults += table.faults
    checked.notes += table.notes
    rows = _find_videos(table.rows, media, checked)
    _split_videos(rows, checked)
    _inspect_all(root, {video: media[video][0] for video in checked.splits}, checked)
    _resolve(rows, checked)
    if table.rows:
        _note_unused(root, media, table.videos, checked)
    if not checked.faults:
        _note_partial(checked)
    checked.faults.sort(key=lambda fault: (fault.file != TABLE, fault.file, fault.line))
    return checked


def _find_videos(
    rows: list[Row], media: dict[str, list[str]], checked: Checked
) -> list[tuple[Row, str]]:
    """Return the rows with the videos that they name, with or without the suffix.

    Each row whose video is not there is a fault, for all of them are to be mended.
    """
    by_file = {place.removeprefix(f"{VIDEOS}/"): name for name in media for place in media[name]}
    known = by_file | {name: name for name in media}
    hints: dict[str, str] = {}
    found = []
    for row in rows:
        video = known.get(row.video, "")
        if not video:
            if row.video not in hints:
                close = difflib.get_close_matches(row.video, known, n=1)
                hints[row.video] = f"; {close[0]}?" if close else ""
            fault = f"names the video {row.video!r}, which {VIDEOS}/ lacks{hints[row.video]}"
        elif len(media[video]) > 1:
            fault = f"may mean {' and '.join(media[video])}; rename one of them"
        else:
            found.append((row, video))
            continue
        checked.faults.append(Fault(TABLE, row.line, fault))
    return found


def _split_videos(rows: list[tuple[Row, str]], checked: Checked) -> None:
    """Give each video the split of its first row; another split further down is a fault."""
    first: dict[str, Row] = {}
    for row, video in rows:
        other = first.setdefault(video, row)
        if other.split != row.split:
            what = (
                f"puts the video {video!r} in {row.split}, but line {other.line} in {other.split}"
            )
            checked.faults.append(Fault(TABLE, row.line, f"{what}; a video has one split"))
    checked.splits = {video: first[video].split for video in sorted(first)}


def _inspect_all(root: Path, places: dict[str, str], checked: Checked) -> None:
    jobs = list(places.items())
    with map_items(partial(inspect, root), jobs) as results:
        bar = tqdm(results, total=len(jobs), desc=f"check {root.name}", unit="video")
        for (video, _), (found, faults) in zip(jobs, bar, strict=True):
            checked.videos[video] = found
            checked.faults += faults
            if faults:
                checked.broken.add(video)


def _resolve(rows: list[tuple[Row, str]], checked: Checked) -> None:
    """Find each expression's object among its video's masks."""
    counted: Counter[str] = Counter()
    first: dict[tuple[str, str, str], int] = {}
    for row, video in rows:
        if video in checked.broken:  # that is told already; its objects are not known
            instance, fault = row.object, ""
        else:
            instance, fault = _object_of(row, video, checked.videos[video])
        if fault:
            checked.faults.append(Fault(TABLE, row.line, fault))
            continue
        same = first.setdefault((video, instance, row.expression), row.line)
        if same != row.line:
            checked.faults.append(Fault(TABLE, row.line, f"says the same as line {same}"))
            continue
        checked.expressions.append(
            Expression(
                checked.splits[video],
                video,
                str(counted[video]),
                instance,
                row.expression,
                row.short,
            )
        )
        counted[video] += 1


def _object_of(row: Row, video: str, found: Inspected) -> tuple[str, str]:
    """Return the object that a row means, or else what is wrong."""
    if not found.masks:
        places = f"{MASKS}/{video}/ with PNGs nor {MASKS}/{video}.json"
        return "", f"has a video without masks: there is neither {places}"
    there = ", ".join(found.objects) or "none"
    if row.object:
        known = row.object in found.objects
        fault = f"means object {row.object!r}, which no mask of {video!r} shows (objects: {there})"
        return row.object, "" if known else fault
    if len(found.objects) == 1:
        return found.objects[0], ""
    return "", f"names no object, and the masks of {video!r} show {there}; fill the column object"


def _note_unused(
    root: Path, media: dict[str, list[str]], named: set[str], checked: Checked
) -> None:
    """Note what no row names."""
    for name, places in media.items():
        if not named & {name, *(place.removeprefix(f"{VIDEOS}/") for place in places)}:
            checked.notes.append(Fault(places[0], 0, "is named by no row"))
    for path in visible(root / MASKS):
        if (path.name if path.is_dir() else path.stem) not in media:
            checked.notes.append(Fault(f"{MASKS}/{path.name}", 0, "belongs to no video"))


def _note_partial(checked: Checked) -> None:
    """Note what keeps a dataset that is almost annotated throughout from being so."""
    partial_ones = [
        name for name, video in checked.videos.items() if len(video.masks) < video.num_frames
    ]
    if 0 < len(partial_ones) < len(checked.videos):
        name = partial_ones[0]
        video = checked.videos[name]
        what = f"covers {len(video.masks)} of {video.num_frames} frames of {name!r}"
        checked.notes.append(
            Fault(MASKS, 0, f"{what}; J and F need all frames of all videos (docs/own_data.md)")
        )


def _counts(videos: Iterable[str], expressions: list[Expression]) -> str:
    objects = {(one.video, one.instance) for one in expressions}
    counts = {
        "video": len(list(videos)),
        "expression": len(expressions),
        "object": len(objects),
    }
    return ", ".join(_number(count, what) for what, count in counts.items())


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}" + ("" if count == 1 else "s")
