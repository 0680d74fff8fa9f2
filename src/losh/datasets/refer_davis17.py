"""Refer-DAVIS17 in its published folders and text files, as they are.

Layout: https://davischallenge.org/davis2017/code.html (unsupervised, 480p) and the expressions of
Khoreva et al., ACCV 2018; see docs/datasets/.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np

from losh.datasets.layout import Layout, Part
from losh.datasets.listing import FileListing, complete_names
from losh.datasets.reader import FETCH_AGAIN, Expression, Inventory, Video, read_jpegs
from losh.errors import UserError
from losh.media.decoding import VOID, read_indices, split_objects

ENCODINGS = {
    "annot1": "utf-8-sig",
    "annot1_full_video": "utf-8-sig",
    "annot2": "latin-1",
    "annot2_full_video": "latin-1",
}
"""Expression set (annotator; first frame or full video seen) -> encoding of its file, as published.
"""
SPELLING = {"clasic-car": "classic-car", "dog-scale": "dogs-scale", "motor-bike": "motorbike"}
"""Slips of the published text files -> the videos' names."""
LAYOUT = Layout(
    parts={
        "frames": Part("DAVIS/JPEGImages/480p", 2),
        "masks": Part("DAVIS/Annotations_unsupervised/480p", 2),
        "train": Part("DAVIS/ImageSets/2017/train.txt", 2),
        "valid": Part("DAVIS/ImageSets/2017/val.txt", 2),
        **{one: Part(f"davis_text_annotations/Davis17_{one}.txt") for one in ENCODINGS},
    },
    groups=(("frames", "masks", "valid", *ENCODINGS), ("frames", "masks", "train", *ENCODINGS)),
)
LINE = re.compile(r"(?P<video>\S+)\s+(?P<object>\d+)\s+(?P<text>.*)")


@dataclass(frozen=True)
class ReferDAVIS17:
    """Reader of Refer-DAVIS17 (losh.datasets.reader.DatasetReader)."""

    name: str
    listing: FileListing
    parts: Mapping[str, str]
    """Part of LAYOUT -> its place below the source folder; a part that is not there is left out."""
    kind: str = "refer_davis17"
    protocol: str = "davis"
    frame_suffix: str = ".jpg"
    mend: str = FETCH_AGAIN

    @cached_property
    def splits(self) -> dict[str, str]:
        """Video -> split (train, or valid for DAVIS' val), of all videos in the published lists."""
        lists = {
            split: self.listing.text(self.parts[split]).split()
            for split in ("train", "valid")
            if split in self.parts
        }
        return {video: split for split, videos in lists.items() for video in videos}

    @cached_property
    def described(self) -> list[Expression]:
        """The expressions of all four files, set by set, whether the video is there or not.

        `expression_id` counts within video and set.

        Raises:
            UserError: a line that is not `video object "expression"`, or one that names a video of
                neither list.
        """
        found = []
        for one, encoding in ENCODINGS.items():
            path = self.listing.path(self.parts[one])
            counted: Counter[str] = Counter()
            # Not splitlines(): Latin-1 text may hold characters that it takes for ends of lines.
            for number, line in enumerate(
                self.listing.text(self.parts[one], encoding).split("\n"), start=1
            ):
                if not line.strip():
                    continue
                match = LINE.fullmatch(line.strip())
                if match is None:
                    raise UserError(
                        f'{path}:{number} is not `video object "expression"` '
                        f"({line.strip()[:60]!r})",
                        "Fetch the published file again",
                    )
                video = SPELLING.get(match["video"], match["video"])
                if {"train", "valid"} <= self.parts.keys() and video not in self.splits:
                    raise UserError(
                        f"{path}:{number} names the video {video}, which ImageSets/2017 does not "
                        f"have",
                        "Correct the name",
                    )
                split = self.splits.get(video, "")
                found.append(
                    Expression(
                        split,
                        video,
                        str(counted[video]),
                        str(int(match["object"])),
                        _unquoted(match["text"]),
                        "",
                        one,
                    )
                )
                counted[video] += 1
        return found

    def videos(self) -> list[Video]:
        """Return the listed videos whose frames are there, sorted by (split, video)."""
        return sorted(
            (self._video(video) for video in self.splits if self._is_here(video)),
            key=lambda video: (video.split, video.video),
        )

    def expressions(self) -> list[Expression]:
        """Return the expressions of videos that are there, set by set in the published order."""
        return [one for one in self.described if one.split and self._is_here(one.video)]

    def inventory(self) -> Inventory:
        """Hold the videos of train.txt and val.txt against the folders of frames that are there."""
        return Inventory(self.splits, frozenset(self.listing.names(self.parts["frames"])))

    def frames(self, video: Video) -> Iterator[tuple[bytes, str]]:
        """Return the published JPEGs, as they are."""
        return read_jpegs(video)

    def masks(self, video: Video, frame: int) -> dict[str, np.ndarray]:
        """Return object id -> mask of a frame.

        Objects that the expressions refer to and that this frame does not show are empty masks.
        Void pixels, where there are any, are the mask of id VOID.
        """
        indices = read_indices(self._mask_file(video, frame))
        void = indices == VOID
        objects = split_objects(indices, self._objects.get(video.video, ()))
        return objects | {str(VOID): void} if void.any() else objects

    def annotation_files(self, video: Video) -> list[Path]:
        """Return the files that hold the video's masks."""
        return [self._mask_file(video, frame) for frame in video.annotated]

    def mask_place(self, video: Video, frame: int) -> str:
        """Return the frame's PNG."""
        return str(self._mask_file(video, frame))

    @cached_property
    def _objects(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for one in self.described:
            found.setdefault(one.video, set()).add(one.instance)
        return found

    def _video(self, video: str) -> Video:
        folder = f"{self.parts['frames']}/{video}"
        found = self.listing.names(folder) + self.listing.names(f"{self.parts['masks']}/{video}")
        # DAVIS counts its frames from 0 and annotates all of them: a frame or mask that is not
        # there is missing.
        names = complete_names(
            (PurePosixPath(name).stem for name in found if name.endswith((".jpg", ".png"))), first=0
        )
        return Video(
            video, self.splits[video], self.listing.path(folder), names, tuple(range(len(names)))
        )

    def _is_here(self, video: str) -> bool:
        return self.listing.has(f"{self.parts['frames']}/{video}")

    def _mask_file(self, video: Video, frame: int) -> Path:
        return self.listing.path(
            f"{self.parts['masks']}/{video.video}/{video.frame_names[frame]}.png"
        )


def _unquoted(text: str) -> str:
    """Return the expression without the quotation marks around it (straight or typographic).

    Marks inside it stay.
    """
    text = text.strip()
    while text[:1] in '"“”' and text[:1]:
        text = text[1:]
    while text[-1:] in '"“”' and text[-1:]:
        text = text[:-1]
    return text.strip()
