"""From a clip and a sentence to masks and an overlay video; and a clip's optical flow as a
video.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from tqdm import tqdm

from losh.errors import UserError
from losh.frames import FrameStore
from losh.inference.forward import Predictor
from losh.inference.own_clip import extracted
from losh.inference.text_features import TextFeatures
from losh.inference.whole_video import Trajectory, track
from losh.media.drawing import caption, overlay, write_video
from losh.media.resizing import InputSize, network_size, resize_frame
from losh.model.checkpoint import load_model
from losh.params import FlowParams
from losh.runtime.files import atomic_write
from losh.runtime.machine import pick_device, pick_precision
from losh.runtime.resume import SCRATCH
from losh.short_text.rule import Mode
from losh.short_text.shorten import shorten

PROTOCOL = "youtube_vos"
"""Whose rules count for a person's own clip."""


@dataclass(frozen=True)
class Settings:
    """What a prediction needs besides the checkpoint; the defaults are those of params.yaml."""

    rule: Literal["long", "product", "intersection", "mean"] = "mean"
    """How the two streams' masks become one, as evaluate.rule."""
    threshold: float = 0.5
    """A pixel belongs to the mask above this probability."""
    chunk: int = 24
    """Frames at once; at least the checkpoint's window is taken."""
    mode: Mode = "subject_with_position"
    """Of the short expression, as short_text.mode."""
    rate: float = 10.0
    """Frames per second of the overlay."""


def predict(
    clip: Path,
    sentence: str,
    out: Path,
    model: Path,
    short: str | None = None,
    masks: Path | None = None,
    settings: Settings | None = None,
) -> dict[str, Any]:
    """Mask what `sentence` refers to in every frame of `clip`.

    Args:
        clip: a video file, or a folder of frames.
        out: the overlay video (.mp4).
        model: a checkpoint in our format (data/model/model.safetensors, or what `losh
            import-checkpoint` wrote).
        short: the short expression; None: the workflow's rule makes it.
        masks: folder for one 0/255 PNG a frame.
        settings: how the masks are made; None: the defaults.

    Returns:
        The short expression, the score, the number of frames, and the part of the pixels that the
        masks cover.
    """
    settings = settings or Settings()
    if not sentence.strip():
        raise UserError("the sentence is empty", "Say which object to mask")
    if out.suffix.lower() != ".mp4":
        raise UserError(f"{out} is no .mp4", "Name the overlay video something.mp4")
    network, config = load_model(model)
    device = pick_device()
    network = network.to(device)
    if short is None:
        short = shorten([sentence], settings.mode)[0].text
    predictor = Predictor(
        network,
        TextFeatures(network.text_encoder, device, fold=network.base.folds_text(PROTOCOL, False)),
        InputSize.of_config(config),
        pick_precision("auto", device),
        settings.rule,
        settings.threshold,
    )
    chunk = settings.chunk and max(config["window"], settings.chunk)
    with extracted(clip) as (store, name):
        count = store.videos[name]["num_frames"]
        frame_of = partial(store.frame, name)
        sentences, scratch = [(sentence, short)], SCRATCH / "predict"
        with track(predictor, frame_of, count, sentences, chunk, PROTOCOL, scratch) as [found]:
            covered: list[float] = []
            frames = _overlays(store, name, count, found, sentence, masks, covered)
            write_video(tqdm(frames, total=count, desc="overlay", unit="frame"), out, settings.rate)
            return {
                "short": short,
                "score": found.score,
                "frames": count,
                "covered": float(np.mean(covered)),
            }


def _overlays(
    store: FrameStore,
    name: str,
    count: int,
    found: Trajectory,
    sentence: str,
    masks: Path | None,
    covered: list[float],
) -> Iterator[np.ndarray]:
    for t in range(count):
        frame = store.frame(name, t)
        mask = found.mask(t, frame.shape[:2])
        covered.append(mask.mean())
        if masks is not None:
            with atomic_write(masks / f"{t:05d}.png") as part:
                cv2.imwrite(str(part), mask.astype(np.uint8) * 255)
        yield caption(overlay(frame, mask), sentence)


def show_flow(clip: Path, out: Path, params: FlowParams, rate: float = 10.0) -> dict[str, Any]:
    """RAFT flow from each frame of `clip` to the next, as colours (hue = direction, saturation =
    speed), beside the frames.
    """
    from losh.flow.estimator import FlowEstimator
    from losh.flow.visual import flow_to_rgb

    if out.suffix.lower() != ".mp4":
        raise UserError(f"{out} is no .mp4", "Name the video something.mp4")
    with extracted(clip) as (store, name):
        count = store.videos[name]["num_frames"]
        if count < 2:
            raise UserError(f"{clip} has one frame", "Flow needs two")
        height, width = store.frame(name, 0).shape[:2]
        size = network_size(height, width, params.short_side, 10**6)
        estimator = FlowEstimator(params, pick_device())
        lengths: list[float] = []

        def pictures() -> Iterator[np.ndarray]:
            for t in tqdm(range(count - 1), desc="flow", unit="pair"):
                first, second = (resize_frame(store.frame(name, i), size) for i in (t, t + 1))
                flow = estimator.estimate(first[None], second[None])[0]
                flow = flow.numpy() if isinstance(flow, torch.Tensor) else flow
                lengths.append(float(np.hypot(*flow).mean()))
                yield np.concatenate([first, flow_to_rgb(flow)], axis=1)

        write_video(pictures(), out, rate)
    return {"pairs": count - 1, "mean_length": float(np.mean(lengths)), "size": size}
