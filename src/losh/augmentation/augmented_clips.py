"""Clips of a training, augmented as the seed of their order says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from losh.augmentation.colour import distort
from losh.augmentation.sizes import Held, draw_geometry
from losh.augmentation.sparse import sparse_window
from losh.clips.dataset import ClipDataset, ClipRequest, LoadedClip, View
from losh.clips.pseudo_clip import pseudo_clip
from losh.clips.samples import Sample
from losh.errors import UserError
from losh.media.resizing import InputSize
from losh.params import AugmentationParams, ColourParams

PICTURE, COLOUR = 1, 2
"""Draws of their own, of a picture's copies and of colours: what else is drawn changes none."""
ATTEMPTS = 100
"""Clips that may be drawn in place of one in which nothing of the object is left."""


@dataclass(frozen=True)
class AugmentedView(View):
    """A view whose frames change their colours too."""

    colour: ColourParams
    seed: tuple[int, ...]

    def frame(self, place: int, frame: np.ndarray) -> np.ndarray:
        """See View. Each place has a draw of its own (published)."""
        if not self.colour.is_on:
            return super().frame(place, frame)
        rng = np.random.default_rng((*self.seed, COLOUR, place))
        if self.colour.when == "before_resizing":
            return super().frame(place, distort(frame, self.colour, rng))
        return distort(super().frame(place, frame), self.colour, rng)


class AugmentedClips(ClipDataset):
    """The groups of samples of a training.

    Args:
        flip: probability of a horizontal flip.
        params: what else changes.
    """

    def __init__(
        self,
        root: Path,
        groups: list[list[Sample]],
        input_size: InputSize,
        flip: float,
        params: AugmentationParams,
        with_flow: bool = False,
    ) -> None:
        super().__init__(root, groups, input_size, with_flow)
        self.flip, self.params = flip, params
        self._of_dataset: dict[str, list[int]] = {}
        for index, group in enumerate(groups):
            self._of_dataset.setdefault(group[0].dataset, []).append(index)

    def __getitem__(self, order: ClipRequest | int) -> LoadedClip | UserError:
        """Return a clip, augmented by the order's seed, or why it cannot be read.

        Where nothing of any of its objects is left, another clip of its dataset comes instead
        (published).
        """
        if not isinstance(order, ClipRequest) or order.seed is None:
            return super().__getitem__(order)
        index, rng = order.index, np.random.default_rng(order.seed)
        try:
            for _ in range(ATTEMPTS):
                clip = self._draw(self.groups[index], rng, order.seed)
                if clip is not None:
                    return clip
                index = int(rng.choice(self._of_dataset[self.groups[index][0].dataset]))
            raise UserError(
                f"none of {ATTEMPTS} clips of {self.groups[index][0].dataset} shows its object",
                "Lower train.augmentation.crop.probability, or set its `keeps` to whole",
            )
        except UserError as error:
            return error

    def _draw(
        self, group: list[Sample], rng: np.random.Generator, seed: tuple[int, ...]
    ) -> LoadedClip | None:
        """Draw a clip; None where it shows no object.

        What is switched off draws nothing, and the flip comes first: a training that flips alone
        draws what it always drew.
        """
        params = self.params
        mirrored = bool(rng.random() < self.flip)
        window, annotated = self._draw_window(group[0], rng)
        group = [replace(one, window=window, annotated=annotated) for one in group]
        read = self._read_window(group[0])
        if group[0].picture:
            moves = np.random.default_rng((*seed, PICTURE))
            read = pseudo_clip(read[0][0], read[1][0], len(window), moves)
        held = None
        if params.crop.probability and params.crop.keeps == "whole":
            held = box_of({one.instance for one in group}, read[1])
        row = self.frames[group[0].dataset].videos[group[0].video]
        size = row["height"], row["width"]
        geometry = draw_geometry(size, self.input_size, params, rng, mirrored, held)
        view = AugmentedView(geometry, params.colour, seed)
        return self._load(group, read, view, view.may_lose or params.clips == "sparse")

    def _draw_window(
        self, sample: Sample, rng: np.random.Generator
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Draw the frames of a clip and the places of the annotated ones among them."""
        window, annotated = sample.window, sample.annotated
        length = len(window)
        if self.params.clips == "sparse":
            row = self.frames[sample.dataset].videos[sample.video]
            anchor = window[annotated[0]]
            drawn = sparse_window(anchor, row["usable_frames"], length, self.params.reach, rng)
            window = tuple(drawn)
            if len(annotated) == 1:  # the anchor alone; else all are
                annotated = (window.index(anchor),)
        if self.params.reverse and rng.random() < self.params.reverse:
            window = window[::-1]
            annotated = tuple(sorted(length - 1 - place for place in annotated))
        return window, annotated


def box_of(instances: set[str], targets: list[dict[str, np.ndarray]]) -> Held | None:
    """Return the box round some instances in all annotated frames; None where they lack pixels."""
    found = [mask for target in targets for name, mask in target.items() if name in instances]
    if not found:
        return None
    union = np.logical_or.reduce(found)
    height, width = union.shape
    rows, columns = np.flatnonzero(union.any(1)), np.flatnonzero(union.any(0))
    if not len(rows):
        return None
    return Held(
        rows[0] / height, columns[0] / width, (rows[-1] + 1) / height, (columns[-1] + 1) / width
    )
