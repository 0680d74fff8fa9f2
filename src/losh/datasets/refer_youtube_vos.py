"""Refer-YouTube-VOS in its published layout: masks in train and, since 2026, perhaps in valid.

Layout: https://youtube-vos.org/dataset/rvos/ and https://github.com/skynbe/Refer-Youtube-VOS; see
docs/datasets/.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from losh.datasets.json_table import read_videos
from losh.datasets.layout import Layout, Part
from losh.datasets.listing import FileListing
from losh.datasets.reader import FETCH_AGAIN, Expression, Inventory, Video, read_jpegs
from losh.media.decoding import read_indices, split_objects

LAYOUT = Layout(
    parts={
        "train_frames": Part("train/JPEGImages", 2),
        "train_masks": Part("train/Annotations", 2),
        "train_text": Part("meta_expressions/train/meta_expressions.json", 2),
        "valid_frames": Part("valid/JPEGImages", 2),
        "valid_masks": Part("valid/Annotations", 2),
        "valid_text": Part("meta_expressions/valid/meta_expressions.json", 2),
        "test_text": Part("meta_expressions/test/meta_expressions.json", 2),
    },
    groups=(("train_frames", "train_masks", "train_text"), ("valid_frames", "valid_text")),
)
SPLITS = ("train", "valid")


@dataclass(frozen=True)
class ReferYouTubeVOS:
    """Reader of Refer-YouTube-VOS (losh.datasets.reader.DatasetReader)."""

    name: str
    listing: FileListing
    parts: Mapping[str, str]
    """Part of LAYOUT -> its place below the source folder; a part that is not there is left out."""
    kind: str = "refer_youtube_vos"
    protocol: str = "youtube_vos"
    frame_suffix: str = ".jpg"
    mend: str = FETCH_AGAIN

    @cached_property
    def tables(self) -> dict[str, dict[str, Any]]:
        """Split -> the published entries by video.

        {"frames": [...], "expressions": {id: {"exp", "obj_id"}}}.

        The published valid.json lists the videos of the test set too: they are left out where
        test.json is there.
        """
        found = {
            split: self._json(f"{split}_text") for split in SPLITS if f"{split}_text" in self.parts
        }
        if "valid" in found and "test_text" in self.parts:
            hidden = self._json("test_text").keys()
            found["valid"] = {
                video: entry for video, entry in found["valid"].items() if video not in hidden
            }
        return found

    def videos(self) -> list[Video]:
        """Return the listed videos whose frames are there, sorted by (split, video)."""
        return [
            Video(
                video,
                split,
                self.listing.path(self._frames(split, video)),
                self._frame_names(split, video),
                self._annotated(split, video),
            )
            for split, table in self.tables.items()
            for video in sorted(table)
            if self._is_here(split, video)
        ]

    def expressions(self) -> list[Expression]:
        """Return the expressions of videos that are there, in the published order."""
        return [
            Expression(
                split,
                video,
                expression_id,
                self._referred(split, video, expression_id, one),
                str(one["exp"]).strip(),
            )
            for split, table in self.tables.items()
            for video, entry in table.items()
            if self._is_here(split, video)
            for expression_id, one in entry["expressions"].items()
        ]

    def inventory(self) -> Inventory:
        """Hold the listed train and valid videos against the folders of frames that are there."""
        listed = {video: split for split, table in self.tables.items() for video in table}
        present = {
            video
            for split in self.tables
            for video in self.listing.names(self.parts.get(f"{split}_frames", "-"))
        }
        unused = self._json("test_text").keys() if "test_text" in self.parts else ()
        return Inventory(listed, frozenset(present), frozenset(unused))

    def frames(self, video: Video) -> Iterator[tuple[bytes, str]]:
        """Return the published JPEGs (every fifth frame of the original video), as they are."""
        return read_jpegs(video)

    def masks(self, video: Video, frame: int) -> dict[str, np.ndarray]:
        """Return instance id -> mask of a frame.

        Objects that the expressions refer to and that this frame does not show are empty masks.
        """
        name, folder = video.frame_names[frame], self._mask_folder(video.split, video.video)
        if own := self._expression_folders(video.split, video.video):
            return {
                one: read_indices(self.listing.path(f"{folder}/{one}/{name}.png")) != 0
                for one in own
            }
        known = {
            self._referred(video.split, video.video, key, one)
            for key, one in self._entry(video)["expressions"].items()
        } - {""}
        return split_objects(read_indices(self.listing.path(f"{folder}/{name}.png")), known)

    def annotation_files(self, video: Video) -> list[Path]:
        """Return the files that hold the video's masks."""
        folder = self._mask_folder(video.split, video.video)
        names = [video.frame_names[t] for t in video.annotated]
        if own := self._expression_folders(video.split, video.video):
            return [
                self.listing.path(f"{folder}/{one}/{name}.png") for one in own for name in names
            ]
        return [self.listing.path(f"{folder}/{name}.png") for name in names]

    def _referred(self, split: str, video: str, expression_id: str, entry: dict[str, Any]) -> str:
        """Return the referred instance.

        The published obj_id; the expression itself, where it has a folder of masks; else unknown.
        """
        if own := self._expression_folders(split, video):
            return expression_id if expression_id in own else ""
        return str(entry.get("obj_id", "")).strip()

    def mask_place(self, video: Video, frame: int) -> str:
        """Return the frame's PNG, or the folder above one PNG per expression."""
        folder = self._mask_folder(video.split, video.video)
        if self._expression_folders(video.split, video.video):
            return str(self.listing.path(folder))
        return str(self.listing.path(f"{folder}/{video.frame_names[frame]}.png"))

    def _expression_folders(self, split: str, video: str) -> list[str]:
        """Return the expressions with masks of their own.

        There are some where valid's masks are laid out as a submission is:
        Annotations/<video>/<expression>/<frame>.png, 0 and 255. Empty for palette masks.
        """
        folder = self._mask_folder(split, video)
        if split != "valid" or not folder:
            return []
        there = set(self.listing.names(folder))
        return [one for one in self.tables[split][video]["expressions"] if one in there]

    def _annotated(self, split: str, video: str) -> tuple[int, ...]:
        """Return the frames that have masks.

        All frames in train, where each has its mask; in valid, where only some masks may be public,
        those that any mask is there of.
        """
        names, folder = self._frame_names(split, video), self._mask_folder(split, video)
        if split == "train" or not folder:
            return tuple(range(len(names))) if folder else ()
        own = self._expression_folders(split, video)
        folders = [f"{folder}/{one}" for one in own] or [folder]
        there = {name for one in folders for name in self.listing.names(one)}
        return tuple(t for t, name in enumerate(names) if f"{name}.png" in there)

    def _frame_names(self, split: str, video: str) -> tuple[str, ...]:
        """Sorted, as the published code does; the JSON's own order is not relied on."""
        return tuple(sorted(self.tables[split][video]["frames"]))

    def _is_here(self, split: str, video: str) -> bool:
        return f"{split}_frames" in self.parts and self.listing.has(self._frames(split, video))

    def _frames(self, split: str, video: str) -> str:
        return f"{self.parts[f'{split}_frames']}/{video}"

    def _mask_folder(self, split: str, video: str) -> str:
        """Return the folder of a video's masks; empty where the split has none."""
        part = self.parts.get(f"{split}_masks")
        return f"{part}/{video}" if part else ""

    def _entry(self, video: Video) -> dict[str, Any]:
        return self.tables[video.split][video.video]

    def _json(self, part: str) -> dict[str, Any]:
        return read_videos(self.listing, self.parts[part], _check_object)


def _check_object(video: str, key: str, one: dict[str, Any]) -> None:
    if not str(one.get("obj_id", 0)).isdigit():
        raise ValueError(f"{video} has an obj_id that is no number")
