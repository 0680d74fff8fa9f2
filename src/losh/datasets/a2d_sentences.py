"""A2D-Sentences in its published layout; the generated MovingShapes are written in the same one.

Layout and quirks: https://kgavrilyuk.github.io/publication/actor_action/ and the A2D release's
README; see docs/datasets/.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np

from losh.datasets.annotation_table import read_table
from losh.datasets.layout import Layout, Part
from losh.datasets.listing import FileListing
from losh.datasets.reader import FETCH_AGAIN, Expression, Inventory, Video
from losh.errors import UserError
from losh.media.decoding import as_rows_first, decode_video, video_size

LAYOUT = Layout(
    parts={
        "videoset": Part("Release/videoset.csv"),
        "clips": Part("Release/clips320H"),
        "text": Part("text_annotations/a2d_annotation.txt"),
        "masks": Part("text_annotations/a2d_annotation_with_instances"),
        "missed": Part("text_annotations/a2d_missed_videos.txt"),
    },
    groups=(("videoset", "clips", "text", "masks"),),
)
SUBSETS = {"0": "train", "1": "test"}
COPIED_INSTANCE = "1 (copy)"
"""An annotation mistake in the published file (video T6bNPuKV-wY): a second description of instance
1.
"""


@dataclass(frozen=True)
class A2DSentences:
    """Reader of A2D-Sentences and of MovingShapes (losh.datasets.reader.DatasetReader)."""

    name: str
    listing: FileListing
    parts: Mapping[str, str]
    """Part of LAYOUT -> its place below the source folder; a part that is not there is left out."""
    kind: str = "a2d_sentences"
    strict: bool = False
    """Whether every video that the tables name must be there (a generated dataset), or may be
    missing (a user's subset).
    """
    protocol: str = "a2d"
    frame_suffix: str = ""
    mend: str = FETCH_AGAIN

    @cached_property
    def subsets(self) -> dict[str, str]:
        """Published video id -> split, in videoset.csv's order.

        Missing videos are included, those that the publication leaves out are not.

        Raises:
            UserError: a row without the nine columns, or with a subset that is neither 0 nor 1.
        """
        path = self.listing.path(self.parts["videoset"])
        subsets: dict[str, str] = {}
        for number, row in enumerate(
            csv.reader(self.listing.text(self.parts["videoset"]).splitlines()), start=1
        ):
            if not row:
                continue
            if len(row) < 9 or row[8].strip() not in SUBSETS:
                raise UserError(
                    f"{path}:{number} is not a row of A2D's videoset",
                    "It has nine columns, the last of which is 0 or 1",
                )
            subsets[row[0].strip()] = SUBSETS[row[8].strip()]
        return {video: split for video, split in subsets.items() if video not in self.unused}

    @cached_property
    def unused(self) -> frozenset[str]:
        """Videos of the release that nobody described: the publication leaves them out."""
        return (
            frozenset(self.listing.text(self.parts["missed"]).split())
            if "missed" in self.parts
            else frozenset()
        )

    def videos(self) -> list[Video]:
        """Return the videos that are there, sorted by (split, video)."""
        listed = [
            video for video in self.subsets if self.strict or self.listing.has(self._clip(video))
        ]
        found = [
            Video(
                video,
                self.subsets[video],
                self.listing.path(self._clip(video)),
                (),
                self._annotated(video),
            )
            for video in listed
        ]
        return sorted(found, key=lambda video: (video.split, video.video))

    def expressions(self) -> list[Expression]:
        """Return the descriptions of videos that are there, in the published order.

        `expression_id` counts within a video.

        Raises:
            UserError: a malformed row; or, in a strict dataset, a row that names an unknown video.
        """
        path = self.listing.path(self.parts["text"])
        counted: Counter[str] = Counter()
        found = []
        for number, row in self._rows():
            video, instance = row["video_id"], row["instance_id"]
            if instance == COPIED_INSTANCE:
                continue
            if not instance.isdigit():
                raise UserError(
                    f"{path}:{number} has the instance {instance!r}",
                    "An instance is a whole number",
                )
            if video not in self.subsets:
                if self.strict and video not in self.unused:
                    raise UserError(
                        f"{path}:{number} names the video {video}, which videoset.csv does not have"
                    )
                continue
            if not (self.strict or self.listing.has(self._clip(video))):
                continue
            found.append(
                Expression(
                    self.subsets[video],
                    video,
                    str(counted[video]),
                    str(int(instance)),
                    row["query"],
                    row.get("short_query", ""),
                )
            )
            counted[video] += 1
        return found

    def inventory(self) -> Inventory:
        """Return the rows of videoset.csv against the clips that are there."""
        present = frozenset(
            name.removesuffix(".mp4")
            for name in self.listing.names(self.parts["clips"])
            if name.endswith(".mp4")
        )
        described = {row["video_id"] for _, row in self._rows()}
        return Inventory(
            self.subsets,
            present,
            self.unused,
            frozenset(described - self.subsets.keys() - self.unused),
        )

    def frames(self, video: Video) -> Iterator[tuple[np.ndarray, str]]:
        """Yield the decoded frames of the clip."""
        for frame in decode_video(video.media):
            yield frame, str(video.media)

    def masks(self, video: Video, frame: int) -> dict[str, np.ndarray]:
        """Instance id -> bool [H, W]; the file's masks are transposed, as MATLAB wrote them."""
        path = self._mask_file(video.video, frame)
        instances, stacked = _read_h5(path)
        if stacked.ndim == 2:
            stacked = stacked[None]  # the form that MATLAB gives a single instance
        if stacked.ndim != 3 or len(stacked) != len(instances):
            raise UserError(
                f"{path} has {len(instances)} instances but masks of shape {stacked.shape}",
                "Fetch the published file again",
            )
        height, width = video_size(video.media)
        masks: dict[str, np.ndarray] = {}
        for instance, mask in zip(instances, stacked, strict=True):
            mask = as_rows_first(mask != 0, height, width, path)
            masks[instance] = masks[instance] | mask if instance in masks else mask
        return masks

    def annotation_files(self, video: Video) -> list[Path]:
        """Return the files that hold the video's masks."""
        return [self._mask_file(video.video, frame) for frame in video.annotated]

    def mask_place(self, video: Video, frame: int) -> str:
        """Return the frame's .h5 file."""
        return str(self._mask_file(video.video, frame))

    def _rows(self) -> Iterator[tuple[int, dict[str, str]]]:
        return read_table(
            self.listing.text(self.parts["text"]),
            self.listing.path(self.parts["text"]),
            ("video_id", "instance_id", "query"),
        )

    def _clip(self, video: str) -> str:
        return f"{self.parts['clips']}/{video}.mp4"

    def _annotated(self, video: str) -> tuple[int, ...]:
        names = self.listing.names(f"{self.parts['masks']}/{video}")
        # Published frame numbers begin at 1.
        return tuple(
            sorted(
                int(name[:5]) - 1
                for name in names
                if len(name) == 8 and name.endswith(".h5") and name[:5].isdigit()
            )
        )

    def _mask_file(self, video: str, frame: int) -> Path:
        return self.listing.path(f"{self.parts['masks']}/{video}/{frame + 1:05d}.h5")


def _read_h5(path: Path) -> tuple[list[str], np.ndarray]:
    """Instance ids and `reMask` as stored."""
    if not path.is_file():
        raise UserError(f"{path} is missing", "Put it back, or repeat the download stage")
    try:
        with h5py.File(path, "r") as file:
            ids = np.asarray(file["instance"]).reshape(-1)
            return [str(int(one)) for one in ids], np.asarray(file["reMask"])
    except KeyError as error:
        raise UserError(
            f"{path} lacks `instance` or `reMask` ({error.args[0]})",
            "Use the annotation with instances, not A2D's own",
        ) from None
    except (OSError, RuntimeError, ValueError, TypeError) as error:
        raise UserError(
            f"{path} is truncated or is no HDF5 file ({str(error).splitlines()[0]})",
            "Fetch the published file again",
        ) from None
