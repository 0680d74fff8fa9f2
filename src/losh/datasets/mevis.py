"""MeViS in its published layout: a sentence means all of the objects that it names.

Layout: https://github.com/henghuiding/MeViS; see docs/datasets/.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from losh.datasets.coco_masks import mask_of_code
from losh.datasets.json_table import read_videos
from losh.datasets.layout import Layout, Part
from losh.datasets.listing import FileListing
from losh.datasets.mask_dict import MaskDict
from losh.datasets.reader import FETCH_AGAIN, Expression, Inventory, Video, read_jpegs
from losh.errors import UserError
from losh.media.decoding import image_size

PARTS = {"frames": "JPEGImages", "text": "meta_expressions.json", "masks": "mask_dict.json"}
NEEDED = {
    "train": ("frames", "text", "masks"),
    "valid_u": ("frames", "text", "masks"),
    "valid": ("frames", "text"),
}
"""Split -> its parts: the masks of `valid` are not public."""
LAYOUT = Layout(
    parts={
        f"{split}_{part}": Part(f"{split}/{PARTS[part]}", 2)
        for split, parts in NEEDED.items()
        for part in parts
    },
    groups=tuple(tuple(f"{split}_{part}" for part in parts) for split, parts in NEEDED.items()),
)
RELEASES = {
    "v1": {"train": 23051, "valid_u": 793, "valid": 2236},
    "v2": {"train": 27502, "valid_u": 907, "valid": 2523},
}
"""Sentences of each split. Both releases have the same videos, and their scores do not compare."""
NOTHING = "none"
"""The instance of a sentence without objects: an empty mask in every frame."""


@dataclass(frozen=True)
class MeViS:
    """Reader of MeViS (losh.datasets.reader.DatasetReader)."""

    name: str
    listing: FileListing
    parts: Mapping[str, str]
    """Part of LAYOUT -> its place below the source folder; a part that is not there is left out."""
    kind: str = "mevis"
    protocol: str = "mevis"
    frame_suffix: str = ".jpg"
    mend: str = FETCH_AGAIN

    @cached_property
    def tables(self) -> dict[str, dict[str, Any]]:
        """Split -> video -> {"frames": [...], "expressions": {id: {"exp", "anno_id"}}}.

        Raises:
            UserError: a split is there in part, a table is not as published, or a video is in two
                splits.
        """
        found: dict[str, dict[str, Any]] = {}
        for split, needed in NEEDED.items():
            there = [part for part in needed if f"{split}_{part}" in self.parts]
            if not there:
                continue
            if there != list(needed):
                lacking = next(part for part in needed if part not in there)
                raise UserError(
                    f"{self.listing.root} has {split}/{PARTS[there[0]]}, but no "
                    f"{split}/{PARTS[lacking]}",
                    f"Fetch it, or take the split {split} away",
                )
            found[split] = self._table(split)
        splits: dict[str, str] = {}
        for split, table in found.items():
            for video in table:
                if splits.setdefault(video, split) != split:
                    raise UserError(
                        f"{self.listing.root} has the video {video} in the splits "
                        f"{splits[video]} and {split}",
                        "Fetch the published files again",
                    )
        return found

    def videos(self) -> list[Video]:
        """Return the listed videos whose frames are there, sorted by (split, video)."""
        found = [
            self._video(split, video)
            for split, table in self.tables.items()
            for video in table
            if self._is_here(split, video)
        ]
        return sorted(found, key=lambda video: (video.split, video.video))

    def expressions(self) -> list[Expression]:
        """Return the sentences of videos that are there, in the published order."""
        return [
            Expression(
                split,
                video,
                expression_id,
                _instance(one["anno_id"]) if "masks" in NEEDED[split] else "",
                str(one["exp"]).strip(),
            )
            for split, table in self.tables.items()
            for video, entry in table.items()
            if self._is_here(split, video)
            for expression_id, one in entry["expressions"].items()
        ]

    def inventory(self) -> Inventory:
        """Hold the listed videos against the folders of frames that are there.

        The result names the release, too.
        """
        listed = {video: split for split, table in self.tables.items() for video in table}
        present = {
            video
            for split in self.tables
            for video in self.listing.names(self.parts[f"{split}_frames"])
        }
        return Inventory(listed, frozenset(present), release=self.release)

    @property
    def release(self) -> str:
        """`v1` or `v2`, by the number of sentences in each split; `unknown` of any other."""
        counts = {
            split: sum(len(entry["expressions"]) for entry in table.values())
            for split, table in self.tables.items()
        }
        return next(
            (name for name, known in RELEASES.items() if counts.items() <= known.items()), "unknown"
        )

    def frames(self, video: Video) -> Iterator[tuple[bytes, str]]:
        """Return the published JPEGs, as they are."""
        return read_jpegs(video)

    def masks(self, video: Video, frame: int) -> dict[str, np.ndarray]:
        """Return instance id -> mask of a frame.

        Objects are called by their anno_id; several that a sentence means together, by `video`'s
        unions, whose masks cover all of them. Objects that are not visible, and the instance of a
        sentence without objects, are empty masks.

        Raises:
            UserError: an object without masks, or with a mask that cannot be read.
        """
        size = image_size(video.media / f"{video.frame_names[frame]}.jpg")
        objects = {one: self._mask(video, one, frame, size) for one in self._objects(video)}
        unions = {
            name: np.logical_or.reduce([objects[one] for one in members])
            for name, members in video.unions.items()
        }
        empty = {NOTHING: np.zeros(size, bool)} if self._has_empty(video) else {}
        return objects | unions | empty

    def annotation_files(self, video: Video) -> list[Path]:
        """Return the two files that hold all masks of the split, and which of them count."""
        if not video.annotated:
            return []
        return [
            self.listing.path(self.parts[f"{video.split}_{part}"]) for part in ("masks", "text")
        ]

    def mask_place(self, video: Video, frame: int) -> str:
        """Return the file of all masks, the video and the frame."""
        path = self.listing.path(self.parts[f"{video.split}_masks"])
        return f"{path}, video {video.video}, frame {video.frame_names[frame]}"

    @cached_property
    def _mask_dicts(self) -> dict[str, MaskDict]:
        return {
            split: MaskDict(self.listing.path(self.parts[f"{split}_masks"]))
            for split in self.tables
            if "masks" in NEEDED[split]
        }

    def _video(self, split: str, video: str) -> Video:
        entry = self.tables[split][video]
        # A mask goes with its frame's place in the sorted names.
        names = tuple(sorted(entry["frames"]))
        masked = "masks" in NEEDED[split]
        groups = [one["anno_id"] for one in entry["expressions"].values()] if masked else []
        return Video(
            video,
            split,
            self.listing.path(f"{self.parts[f'{split}_frames']}/{video}"),
            names,
            tuple(range(len(names))) if masked else (),
            unions={_instance(one): _members(one) for one in groups if len(set(one)) > 1},
        )

    def _objects(self, video: Video) -> list[str]:
        entry = self.tables[video.split][video.video]
        named = {str(a) for one in entry["expressions"].values() for a in one.get("anno_id", ())}
        return sorted(named, key=int)

    def _has_empty(self, video: Video) -> bool:
        expressions = self.tables[video.split][video.video]["expressions"].values()
        return any(one.get("anno_id") == [] for one in expressions)

    def _mask(self, video: Video, one: str, frame: int, size: tuple[int, int]) -> np.ndarray:
        """Return an object's mask of a frame, bool of `size`."""
        codes, where = self._mask_dicts[video.split].codes(one), self.mask_place(video, frame)
        advice = "Fetch the published file again"
        if not isinstance(codes, list) or len(codes) != len(video.frame_names):
            count = len(codes) if isinstance(codes, list) else "no"
            raise UserError(
                f"{where}: object {one} has {count} masks, but the video has "
                f"{len(video.frame_names)} frames",
                advice,
            )
        if codes[frame] is None:
            return np.zeros(size, bool)
        try:
            mask = mask_of_code(codes[frame])
        except ValueError as error:
            raise UserError(f"{where}: object {one} cannot be read ({error})", advice) from None
        if mask.shape != size:
            raise UserError(
                f"{where}: the mask of object {one} is {mask.shape[0]} x {mask.shape[1]}, but the "
                f"frame is {size[0]} x {size[1]}",
                advice,
            )
        return mask

    def _is_here(self, split: str, video: str) -> bool:
        return self.listing.has(f"{self.parts[f'{split}_frames']}/{video}")

    def _table(self, split: str) -> dict[str, Any]:
        def check(video: str, key: str, one: dict[str, Any]) -> None:
            if "masks" in NEEDED[split] and not _are_ids(one.get("anno_id")):
                where = f"video {video}, sentence {key}"
                raise ValueError(f"{where} has no list anno_id of its objects")

        return read_videos(self.listing, self.parts[f"{split}_text"], check)


def _are_ids(value: Any) -> bool:
    return isinstance(value, list) and all(str(one).isdecimal() for one in value)


def _members(ids: list[Any]) -> tuple[str, ...]:
    return tuple(sorted({str(one) for one in ids}, key=int))


def _instance(ids: list[Any]) -> str:
    """Return the instance that a sentence refers to: an object, several joined by +, or NOTHING."""
    return "+".join(_members(ids)) or NOTHING
