"""The parity fixtures of ReferFormer and SgMg.

Weights by recipe, inputs, and the comparison of an array of theirs with ours.

The folder comes from LOSH_PARITY_DIR, else `../shared/parity` beside the repository. It holds
`<pipeline>_parity.npz`, and `parity_recipe.py`, which makes the weights and the inputs that the
arrays leave out; without it weights are drawn as its first version does. Sizes are read off the
arrays, so that another fixture of the same form (other draws, sizes, numbers of frames) runs the
same tests.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from losh.model.structures import TextIds
from losh.testing.parity_fixture import FOLDER

RECIPE = FOLDER / "parity_recipe.py"
SPREADS = [  # start, end of a released name: the standard deviation of its draw; others have 0.02
    ("", "sampling_offsets.bias", 1.0),
    ("", "query_embed.weight", 1.0),
    ("", "level_embed", 1.0),
    ("", "relative_position_bias_table", 0.5),
    ("", "in_proj_weight", 0.06),
    ("", "attention_weights.weight", 0.06),
    ("controller.", ".weight", 0.03),
    ("input_fft.", ".fc.0.weight", 0.3),
    ("input_fft.", ".fc.2.weight", 0.3),
    ("input_fft_post.", ".fc.0.weight", 0.3),
    ("input_fft_post.", ".fc.2.weight", 0.3),
]
ATOL = RTOL = 1e-5
"""Suggested by the fixtures: atol + rtol * the largest absolute value that is expected."""
EVERY = 3
"""Large masks are stored at every third row and column."""
PAD_ID = 1

Compared = tuple[str, np.ndarray, np.ndarray, float]
"""(array, expected, ours, tolerance)."""


@dataclass(frozen=True)
class Case:
    """Inputs of one case: B clips, padded at the bottom and on the right."""

    frames: Tensor
    """[B, T, 3, H, W]."""
    pad: Tensor
    """[B, T, H, W] bool."""
    sizes: list[tuple[int, int]]
    """(height, width) of each clip without its padding."""
    text: TextIds
    frame: int | None = None
    """The only frame that is kept after the backbone; None: all."""


class RecipeFixture:
    """A fixture of one pipeline, `referformer` or `sgmg`."""

    def __init__(self, pipeline: str) -> None:
        self.pipeline = pipeline
        self.file = FOLDER / f"{pipeline}_parity.npz"

    @property
    def needed(self) -> pytest.MarkDecorator:
        """Skips a test where the fixture is missing."""
        reason = f"no parity fixture: {self.file} is missing (set LOSH_PARITY_DIR)"
        return pytest.mark.skipif(not self.file.is_file(), reason=reason)

    @functools.cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """All arrays of the fixture."""
        with np.load(self.file) as file:
            return {name: file[name] for name in file.files}

    @functools.cached_property
    def meta(self) -> dict[str, Any]:
        """The text encoder's sizes (`roberta`) and the losses' weights (`weight_dict`)."""
        return json.loads(str(self.arrays["meta/json"]))

    def weight(self, released_name: str, shape: tuple[int, ...]) -> Tensor:
        """Draw a weight by the recipe: each released name seeds its own draw."""
        if RECIPE.is_file():
            return torch.from_numpy(_recipe_module().recipe(released_name, shape))
        z = np.random.RandomState(zlib.crc32(released_name.encode())).standard_normal(shape)
        gain = len(shape) == 1 and released_name.endswith(".weight")
        drawn = 1 + 0.02 * z if gain else _spread(released_name) * z
        return torch.from_numpy(drawn.astype(np.float32))

    def case(self, name: str, multiple: int) -> Case:
        """Return a case's inputs, padded to a multiple of `multiple` px.

        The cases are A (one clip), B (two clips of different size), C (A's, one annotated frame)
        and L (A's, for the losses).
        """
        videos, sentences = self._inputs("B" if name == "B" else "A")
        clips = [torch.from_numpy(np.asarray(video)) for video in videos]
        sizes = [(clip.shape[-2], clip.shape[-1]) for clip in clips]
        height, width = (-(-max(side) // multiple) * multiple for side in zip(*sizes, strict=True))
        margins = [(0, width - w, 0, height - h) for h, w in sizes]
        pads = [clip.new_zeros(clip.shape[0], *clip.shape[-2:]) for clip in clips]
        frames = torch.stack([F.pad(c, m) for c, m in zip(clips, margins, strict=True)])
        pad = torch.stack([F.pad(p, m, value=1) for p, m in zip(pads, margins, strict=True)])
        # C's frame stands in the fixture's note; its arrays need not have it.
        frame = int(self.arrays.get("C/in/valid_indices", np.array([1])).flat[0])
        return Case(frames, pad.bool(), sizes, _text(sentences), frame if name == "C" else None)

    def _inputs(self, source: str) -> tuple[list[np.ndarray], list[list[int]]]:
        """Return the videos [T, 3, H, W] and token ids of case A or B.

        They are the fixture's own arrays, or where it has only their checksums, what its recipe
        makes.
        """
        data = self.arrays
        if f"{source}/in/video" in data:
            return list(data[f"{source}/in/video"]), data[f"{source}/in/text_ids"].tolist()
        count = sum(name.startswith(f"{source}/in/text_ids") for name in data)
        sentences = [data[f"{source}/in/text_ids{i}"].tolist() for i in range(count)]
        if f"{source}/in/video0" in data:
            return [data[f"{source}/in/video{i}"] for i in range(count)], sentences
        made = _recipe_module().make_inputs(self.pipeline)["AB".index(source)]
        sums = [zlib.crc32(np.ascontiguousarray(video).tobytes()) for video in made["video"]]
        assert sums == [int(data[f"{source}/in/video{i}_crc32"]) for i in range(count)]
        assert made["ids"] == sentences
        return made["video"], sentences

    def stored(self, case: str) -> set[str]:
        """Names of the arrays of a case that a model makes, not its inputs."""
        return {n for n in self.arrays if n.startswith(f"{case}/") and f"{case}/in/" not in n}

    def compare(self, case: str, name: str, value: Tensor) -> Iterator[Compared]:
        """Yield every array that the fixture holds of one value.

        Values are such as `out/pred_logits`, `memory.level0#0` (an intermediate) or
        `post/best_query_per_video`.
        """
        ours = value.detach().cpu().numpy()
        for key, found in (
            (f"{case}/{name}", ours),
            (f"{case}/full/{name}", ours),
            (f"{case}/shape/{name}", np.array(ours.shape)),
            (f"{case}/stat/{name}", _stats(ours)),
            (f"{case}/probe/{name}", _probe(ours)),
            (f"{case}/{name}__every3", ours[..., ::EVERY, ::EVERY] if ours.ndim > 1 else ours),
            (f"{case}/{name}__shape", np.array(ours.shape)),
            (f"{case}/{name}__stat", _stats(ours)),
        ):
            if key in self.arrays:
                expected = self.arrays[key]
                exact = expected.dtype.kind in "iub"
                largest = float(np.abs(expected).max(initial=0))
                yield key, expected, found, 0.0 if exact else ATOL + RTOL * largest


def faults(compared: Iterator[Compared] | list[Compared]) -> list[str]:
    """Say what lies beyond its tolerance, in words."""
    found = []
    for name, expected, ours, tolerance in compared:
        if expected.shape != ours.shape:
            found.append(f"{name}: shape {ours.shape}, not {expected.shape}")
            continue
        differences = np.abs(expected.astype(np.float64) - ours.astype(np.float64))
        largest = float(differences.max(initial=0))
        if not largest <= tolerance:
            found.append(f"{name}: {largest:.2g} > {tolerance:.2g}")
    return found


@functools.cache
def _recipe_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("parity_recipe", RECIPE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _spread(name: str) -> float:
    fitting = [
        size for start, end, size in SPREADS if name.startswith(start) and name.endswith(end)
    ]
    return fitting[0] if fitting else 0.02


def _text(sentences: list[list[int]]) -> TextIds:
    ids = torch.full((len(sentences), max(map(len, sentences))), PAD_ID)
    mask = torch.zeros_like(ids)
    for row, sentence in enumerate(sentences):
        ids[row, : len(sentence)] = torch.tensor(sentence)
        mask[row, : len(sentence)] = 1
    return TextIds(ids, mask)


def _stats(x: np.ndarray) -> np.ndarray:
    """[mean, population std, largest, mean absolute value] in float64."""
    x = x.astype(np.float64)
    return np.array([x.mean(), x.std(), np.abs(x).max(), np.abs(x).mean()])


def _probe(x: np.ndarray) -> np.ndarray:
    flat = x.reshape(-1)
    return flat[:: max(1, flat.size // 64)][:64]
