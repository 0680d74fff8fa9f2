"""JHMDB-Sentences in its published layout: videos of one person, each with one description.

Three frames per video are scored.

Layout and quirks: http://jhmdb.is.tue.mpg.de,
https://kgavrilyuk.github.io/publication/actor_action/; see docs/datasets/.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath

import h5py
import numpy as np
import scipy.io

from losh.datasets.annotation_table import read_table
from losh.datasets.layout import Layout, Part
from losh.datasets.listing import FileListing, complete_names
from losh.datasets.reader import FETCH_AGAIN, Expression, Inventory, Video
from losh.errors import UserError
from losh.media.decoding import as_rows_first, image_size, read_image

LAYOUT = Layout(
    parts={
        "frames": Part("Rename_Images"),
        "masks": Part("puppet_mask"),
        "text": Part("jhmdb_annotation.txt"),
        "samples": Part("jhmdb_sentences_samples_metadata.json"),
    },
    groups=(("frames", "masks", "text"),),
)
SPLIT = "test"
PERSON = "1"
"""The one instance of a video; the publication gives it no id."""
FRAMES_A_VIDEO = 3


@dataclass(frozen=True)
class JHMDBSentences:
    """Reader of JHMDB-Sentences (losh.datasets.reader.DatasetReader)."""

    name: str
    listing: FileListing
    parts: Mapping[str, str]
    """Part of LAYOUT -> its place below the source folder; a part that is not there is left out."""
    samples: Mapping[str, list[int]] = field(default_factory=dict)
    """Video -> 0-based frames that are scored; a video without an entry has none."""
    kind: str = "jhmdb_sentences"
    protocol: str = "a2d"
    frame_suffix: str = ".png"
    mend: str = FETCH_AGAIN

    @cached_property
    def folders(self) -> dict[str, str]:
        """Video -> `class/video`, of videos with frames on disk."""
        frames = self.parts["frames"]
        return {
            video: f"{label}/{video}"
            for label in self.listing.names(frames)
            for video in self.listing.names(f"{frames}/{label}")
        }

    def videos(self) -> list[Video]:
        """Return the described videos whose frames and masks are there."""
        found = []
        for video in sorted({one.video for one in self.expressions()}):
            media = f"{self.parts['frames']}/{self.folders[video]}"
            found.append(
                Video(
                    video,
                    SPLIT,
                    self.listing.path(media),
                    self._frame_names(video),
                    tuple(sorted(self.samples.get(video, ()))),
                    count_masks(self._mask_file(video)),
                )
            )
        return found

    def expressions(self) -> list[Expression]:
        """Return the descriptions of videos that are there, in the published order."""
        counted: Counter[str] = Counter()
        found = []
        for video, text in self._rows():
            if video in self.folders and self.listing.has(self._mask_name(video)):
                found.append(Expression(SPLIT, video, str(counted[video]), PERSON, text))
                counted[video] += 1
        return found

    def inventory(self) -> Inventory:
        """Return the described videos against the folders of frames that are there."""
        return Inventory({video: SPLIT for video, _ in self._rows()}, frozenset(self.folders))

    def frames(self, video: Video) -> Iterator[tuple[np.ndarray, str]]:
        """Return the published PNGs, decoded."""
        for name in video.frame_names:
            path = video.media / f"{name}.png"
            yield read_image(path), str(path)

    def masks(self, video: Video, frame: int) -> dict[str, np.ndarray]:
        """Return the person's mask.

        `part_mask` numbers body parts, and any number but 0 is the person.
        """
        path = self._mask_file(video.video)
        parts = read_part_mask(path)
        if frame >= parts.shape[2]:
            raise UserError(
                f"{path} has masks of {parts.shape[2]} frames, none of frame {frame + 1}",
                "Fetch the published file again",
            )
        height, width = image_size(video.media / f"{video.frame_names[frame]}.png")
        return {PERSON: as_rows_first(parts[:, :, frame] != 0, height, width, path)}

    def annotation_files(self, video: Video) -> list[Path]:
        """Return the file that holds the video's masks."""
        return [self._mask_file(video.video)]

    def mask_place(self, video: Video, frame: int) -> str:
        """Return the video's one file, and the frame."""
        return f"{self._mask_file(video.video)}, frame {frame + 1}"

    def draw_samples(self, seed: int) -> dict[str, list[int]]:
        """Draw three 0-based frames of each video, with the seed.

        They are among those that have both a mask and a picture; all of them, if there are fewer.

        A video's draw depends on the seed and its name alone, so that a subset has the same frames
        as the whole.
        """
        drawn = {}
        for video in sorted({one.video for one in self.expressions()}):
            masks = read_part_mask(self._mask_file(video)).shape[2]
            usable = range(min(masks, len(self._frame_names(video))))
            generator = random.Random(
                int.from_bytes(hashlib.sha256(f"{seed}:{video}".encode()).digest()[:8])
            )
            drawn[video] = sorted(generator.sample(usable, min(FRAMES_A_VIDEO, len(usable))))
        return drawn

    def published_samples(self) -> dict[str, list[int]] | None:
        """Return video -> 0-based frames of the published list, of videos that are there.

        None where the list is not there.

        Raises:
            UserError: the list is not the published JSON.
        """
        if "samples" not in self.parts:
            return None
        path = self.listing.path(self.parts["samples"])
        chosen: dict[str, list[int]] = {
            video: [] for video in sorted({one.video for one in self.expressions()})
        }
        try:
            # Rows are [video, frame path, mask path, frames, query]; the paths begin with
            # ./jhmdb_sentences/ wherever the data lie.
            for video, frame_path, *_ in json.loads(self.listing.text(self.parts["samples"])):
                if video in chosen:
                    chosen[video].append(int(PurePosixPath(frame_path).stem) - 1)
        except (ValueError, TypeError) as error:
            raise UserError(
                f"{path} is not the published list of samples ({error})",
                "Remove it to have frames drawn with the seed",
            ) from None
        return {video: sorted(frames) for video, frames in chosen.items()}

    def _rows(self) -> Iterator[tuple[str, str]]:
        path = self.listing.path(self.parts["text"])
        for _, row in read_table(
            self.listing.text(self.parts["text"]), path, ("video_id", "query")
        ):
            yield row["video_id"], row["query"]

    def _frame_names(self, video: str) -> tuple[str, ...]:
        """JHMDB counts its frames from 1, without gaps."""
        names = self.listing.names(f"{self.parts['frames']}/{self.folders[video]}")
        return complete_names(
            (name.removesuffix(".png") for name in names if name.endswith(".png")), first=1
        )

    def _mask_name(self, video: str) -> str:
        return f"{self.parts['masks']}/{self.folders[video]}/puppet_mask.mat"

    def _mask_file(self, video: str) -> Path:
        return self.listing.path(self._mask_name(video))


@lru_cache(maxsize=2)
def read_part_mask(path: Path) -> np.ndarray:
    """Read `part_mask` of a puppet_mask.mat as [rows, columns, T].

    From MATLAB's old format or from v7.3 (HDF5, axes reversed).

    Raises:
        UserError: the file is missing, truncated or holds no such array.
    """
    try:
        mask = np.asarray(scipy.io.loadmat(path, variable_names=["part_mask"])["part_mask"])
    except NotImplementedError:  # scipy's way to say v7.3
        mask = _read_v73(path)
    except FileNotFoundError:
        raise UserError(f"{path} is missing", "Put it back, or repeat the download stage") from None
    except KeyError:
        raise UserError(f"{path} has no part_mask", "Fetch the published file again") from None
    # A cut file makes scipy and zlib raise whatever their readers stumble over.
    except Exception as error:
        raise UserError(
            f"{path} is truncated or is no MATLAB file ({error})", "Fetch the published file again"
        ) from None
    mask = mask[:, :, None] if mask.ndim == 2 else mask  # MATLAB drops a last axis of one frame
    if mask.ndim != 3:
        raise UserError(
            f"{path} has a part_mask of shape {mask.shape}, not [H, W, T]",
            "Fetch the published file again",
        )
    return mask


def count_masks(path: Path) -> int | None:
    """Return T of `part_mask`, from the file's header alone.

    None where the header cannot be read (which `read_part_mask` explains).
    """
    try:
        shapes = {name: shape for name, shape, _ in scipy.io.whosmat(path)}
    except NotImplementedError:  # scipy's way to say v7.3
        return _count_v73(path)
    except Exception:  # as in read_part_mask
        return None
    shape = shapes.get("part_mask", ())
    return (*shape, 1)[2] if len(shape) in (2, 3) else None


def _count_v73(path: Path) -> int | None:
    try:
        with h5py.File(path, "r") as file:
            shape = file["part_mask"].shape[::-1]
    except (OSError, KeyError, RuntimeError, AttributeError):
        return None
    return (*shape, 1)[2] if len(shape) in (2, 3) else None


def _read_v73(path: Path) -> np.ndarray:
    try:
        with h5py.File(path, "r") as file:
            return np.asarray(file["part_mask"]).T
    except (OSError, KeyError, RuntimeError) as error:
        raise UserError(
            f"{path} is truncated or has no part_mask ({error})", "Fetch the published file again"
        ) from None
