"""The library's entrance: load a model file, mask frames."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import overload

import numpy as np
import torch

from losh.errors import UserError
from losh.inference.forward import Predictor
from losh.inference.text_features import TextFeatures
from losh.media.resizing import InputSize
from losh.model.checkpoint import load_model
from losh.own_video.clip_input import ArrayClip, Clip, open_clip
from losh.own_video.knowledge import knowledge, unknown_words
from losh.own_video.masked_frame import MaskedFrame
from losh.own_video.segmenting import PROTOCOL, segment_frames
from losh.own_video.settings import DEFAULT_MODEL, Settings, check_model_file
from losh.own_video.spoken import Expression, expressions
from losh.runtime.machine import pick_device, pick_precision
from losh.runtime.read_ahead import read_ahead

AHEAD = 8
"""Frames that are decoded before the network asks for them."""
Frames = np.ndarray | torch.Tensor | str | Path


class Model:
    """A trained model, ready for frames.

    Attributes:
        device: where it runs.
        window: frames that it saw at once in training.
        chunk: frames that it gets at once.
        knows: one line that says what its weights have seen.
    """

    def __init__(self, path: Path, device: torch.device, settings: Settings) -> None:
        """Load; see `load`."""
        network, self.config = load_model(path)
        network = network.to(device)
        fold = network.base.folds_text(PROTOCOL, False)
        self.device, self.settings = device, settings
        self.predictor = Predictor(
            network,
            TextFeatures(network.text_encoder, device, fold=fold),
            InputSize.of_config(self.config),
            pick_precision("auto", device),
            settings.rule,
            settings.threshold,
        )
        self.window: int = self.config["window"]
        self.chunk = max(self.window, settings.chunk)
        self.knows = knowledge(self.config)

    @overload
    def segment(
        self,
        frames: torch.Tensor,
        sentence: str | Sequence[str],
        *,
        short: str | Sequence[str] | None = None,
    ) -> torch.Tensor: ...
    @overload
    def segment(
        self,
        frames: np.ndarray | str | Path,
        sentence: str | Sequence[str],
        *,
        short: str | Sequence[str] | None = None,
    ) -> np.ndarray: ...
    def segment(
        self,
        frames: Frames,
        sentence: str | Sequence[str],
        *,
        short: str | Sequence[str] | None = None,
    ) -> np.ndarray | torch.Tensor:
        """Mask what a sentence refers to in each frame.

        All masks are in memory at the end; `stream` yields frame by frame.

        Args:
            frames: uint8 [T, H, W, 3] RGB (NumPy or torch), or the path of a video or of a folder
                of images.
            sentence: one, or several.
            short: the short expression of each; None: the workflow's rule makes it.

        Returns:
            bool [T, H, W], of several sentences [N, T, H, W]; a tensor on the frames' device where
            they are a tensor, else NumPy.

        Raises:
            UserError: frames or a sentence cannot be used.
        """
        masks = [one.masks for one in self.stream(frames, sentence, short=short)]
        try:
            stacked = np.stack(masks, 1)
        except ValueError:  # images of a folder may differ by a pixel or two
            raise UserError(
                f"the images of {frames} are not all of one size", "Take `stream`, or resize them"
            ) from None
        whole = stacked[0] if isinstance(sentence, str) else stacked
        if isinstance(frames, torch.Tensor):
            return torch.from_numpy(np.ascontiguousarray(whole)).to(frames.device)
        return whole

    def stream(
        self,
        frames: Frames | Clip,
        sentence: str | Sequence[str] | Sequence[Expression],
        *,
        short: str | Sequence[str] | None = None,
        streams: bool = False,
    ) -> Generator[MaskedFrame]:
        """Yield frame by frame what `segment` returns at once, with scores; memory is flat.

        Args:
            streams: also what each stream alone would mask (`MaskedFrame.streams`).

        Raises:
            UserError: frames or a sentence cannot be used.
        """
        clip, said = clip_of(frames), self.expressions(sentence, short)
        ahead = read_ahead(clip.frames(), AHEAD)
        try:
            yield from segment_frames(self.predictor, ahead, said, self.chunk, self.window, streams)
        finally:
            ahead.close()

    def expressions(
        self,
        sentence: str | Sequence[str] | Sequence[Expression],
        short: str | Sequence[str] | None = None,
    ) -> list[Expression]:
        """Return the sentences with their short expressions, as the model will read them."""
        sentences = [sentence] if isinstance(sentence, str) else list(sentence)
        ready = [one for one in sentences if isinstance(one, Expression)]
        if ready and len(ready) == len(sentences):
            return ready
        texts = [one for one in sentences if isinstance(one, str)]
        shorts = [short] if isinstance(short, str) else short
        needs_short = self.predictor.model.short_stream
        return expressions(texts, shorts, self.settings.mode, needs_short)

    def unknown_words(self, sentences: Sequence[str]) -> list[str]:
        """Return the words of which the weights know nothing; empty where nobody can tell."""
        return unknown_words(self.config, self.predictor.model.text_encoder, sentences)


def clip_of(frames: Frames | Clip) -> Clip:
    """Return frames of any kind that the library takes as a clip.

    Raises:
        UserError: they are of none.
    """
    if isinstance(frames, str | Path):
        return open_clip(Path(frames))
    if isinstance(frames, torch.Tensor):
        frames = frames.detach().cpu().numpy()
    return ArrayClip(frames) if isinstance(frames, np.ndarray) else frames


def load(
    model: str | Path | None = None,
    *,
    device: str | torch.device | None = None,
    settings: Settings | None = None,
) -> Model:
    """Load a model file.

    Args:
        model: a .safetensors file that `make run` or `losh import-checkpoint` wrote; None:
            data/model/model.safetensors, which `make run` makes.
        device: such as `cpu` or `cuda:1`; None: a GPU where there is one.
        settings: how masks are made; None: the defaults.

    Raises:
        UserError: there is no such file, or it is no model file.
    """
    path = DEFAULT_MODEL if model is None else Path(model)
    check_model_file(path)
    chosen = pick_device() if device is None else torch.device(device)
    return Model(path, chosen, settings or Settings())
