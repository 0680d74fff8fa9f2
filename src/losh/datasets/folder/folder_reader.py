"""A user's folder as the stages read it, by what its check has found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from losh.datasets.folder.check_folder import DENSE
from losh.datasets.folder.mask_files import (
    MASKS,
    RUNS,
    decode_runs,
    read_png,
    read_runs,
    split_png,
)
from losh.datasets.folder.video_files import read_frames
from losh.datasets.listing import FileListing
from losh.datasets.reader import Expression, Inventory, Video
from losh.errors import UserError
from losh.media.decoding import VOID

AGAIN = "Run `losh check-data` on the folder, and then the stage download again"


@dataclass(frozen=True)
class FolderReader:
    """Reader of a user's folder (losh.datasets.reader.DatasetReader)."""

    name: str
    listing: FileListing
    record: dict[str, Any]
    """`Checked.record` of the folder."""
    kind: str = "folder"
    frame_suffix: str = ""
    mend: str = AGAIN

    @property
    def protocol(self) -> str:
        """a2d, or youtube_vos where every frame has its mask."""
        return self.record["protocol"]

    def videos(self) -> list[Video]:
        """Return the videos that rows name, sorted by (split, video)."""
        found = [
            Video(
                name,
                one["split"],
                self.listing.path(one["media"]),
                tuple(PurePosixPath(frame).stem for frame in one["frames"]),
                tuple(sorted(int(frame) for frame in one["masks"])),
            )
            for name, one in self.record["videos"].items()
        ]
        return sorted(found, key=lambda video: (video.split, video.video))

    def expressions(self) -> list[Expression]:
        """Return the expressions, in the order of their rows."""
        return [Expression(**one) for one in self.record["expressions"]]

    def inventory(self) -> Inventory:
        """All that rows name is there: the check has seen to it."""
        splits = {name: one["split"] for name, one in self.record["videos"].items()}
        return Inventory(splits, frozenset(splits))

    def frames(self, video: Video) -> Iterator[tuple[bytes | np.ndarray, str]]:
        """Yield JPEGs as they are, all other frames decoded."""
        try:
            yield from read_frames(video.media, self.record["videos"][video.video]["frames"])
        except UserError as error:  # whose advice is for published files
            raise UserError(error.what, self.mend) from None

    def masks(self, video: Video, frame: int) -> dict[str, np.ndarray]:
        """Return object -> mask of a frame.

        In a dataset of whole videos objects that this frame does not show are empty masks, and
        void pixels the mask of id VOID; else both are left out, as in A2D-Sentences.
        """
        one = self.record["videos"][video.video]
        shown = self._shown(video, frame)
        if self.protocol != DENSE:
            return {name: mask for name, mask in shown.items() if name != str(VOID) and mask.any()}
        size = next((mask.shape for mask in shown.values()), (one["height"], one["width"]))
        return dict.fromkeys(one["objects"], np.zeros(size, bool)) | shown

    def annotation_files(self, video: Video) -> list[Path]:
        """Return the files that hold the video's masks."""
        one = self.record["videos"][video.video]
        if one["form"] == RUNS:
            return [self._runs_file(video)]
        return [self.listing.path(one["masks"][str(frame)]) for frame in video.annotated]

    def mask_place(self, video: Video, frame: int) -> str:
        """Return the frame's PNG, or the video's JSON and the frame."""
        one = self.record["videos"][video.video]
        place = one["masks"].get(str(frame), "")
        if one["form"] == RUNS:
            return f"{self._runs_file(video)}, frame {place!r}"
        return str(self.listing.path(place))

    def _shown(self, video: Video, frame: int) -> dict[str, np.ndarray]:
        one = self.record["videos"][video.video]
        place = one["masks"][str(frame)]
        if one["form"] != RUNS:
            return split_png(read_png(self.listing.path(place)), one["form"])
        try:
            codes = read_runs(self._runs_file(video)).get(place, {})
            return {name: decode_runs(code) for name, code in codes.items()}
        except ValueError as error:
            raise UserError(f"{self.mask_place(video, frame)} {error}", self.mend) from None

    def _runs_file(self, video: Video) -> Path:
        return self.listing.path(f"{MASKS}/{video.video}.json")
