"""Measure what the motion branch costs, and what can be known of motion at all: two numbers.

They are in docs/backbone/README.md.

    python scripts/measure_backbone.py    (3 minutes on one core)

The first is the time of a training step (forward and backward) of the default's model with the
branch by that without it: median of the ratios of steps taken in turn. The second is an upper
bound for the names of motions: a classifier on the true tracks of the objects' centres, with some
noise, in random windows of the default's length.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from losh.model.build import build_model
from losh.model.losh import LoSh
from losh.model.structures import Clips, TextFeats
from losh.moving_shapes.motion import MOTIONS, sample_motion
from losh.params import Params, load_params

WORDS = 12
NOISE = (0.0, 0.25, 0.5)  # px
TRACKS = 50_000


def model_with(params: Params, motion_channels: int) -> LoSh:
    """Build the default's model with random visual weights."""
    changes = {"checkpoint": None, "motion_channels": motion_channels}
    backbone = params.model.backbone.model_copy(update=changes)
    torch.manual_seed(0)
    return build_model(
        params.model.model_copy(update={"backbone": backbone}), params.pipeline
    ).train()


def step_seconds(model: LoSh, clips: Clips, text: TextFeats) -> float:
    """One forward and backward pass; every prediction of both streams takes part."""
    began = time.perf_counter()
    output = model(clips, text, text)
    layers = [*output.long, *(output.short or [])]
    sum(layer.masks.square().mean() + layer.scores.square().mean() for layer in layers).backward()
    seconds = time.perf_counter() - began
    model.zero_grad(set_to_none=True)
    return seconds


def step_ratio(params: Params, steps: int) -> tuple[float, float, float]:
    """Median seconds of a step without and with the branch, and the median of their ratios."""
    models = [
        model_with(params, channels) for channels in (0, params.model.backbone.motion_channels)
    ]
    shapes, train = params.datasets["moving_shapes"], params.train
    windows, window = train.batch_size, params.frames.window
    size = (windows, window, shapes.height, shapes.width)
    count = windows * train.expressions_per_window
    width = models[0].base.text_encoder.width
    clips = Clips(
        torch.randn(windows, window, 3, *size[2:]),
        torch.zeros(size, dtype=torch.bool),
        torch.full((windows, 1), window // 2),
        torch.arange(count) // train.expressions_per_window,
    )
    text = TextFeats(torch.randn(count, WORDS, width), torch.zeros(count, WORDS, dtype=torch.bool))
    pairs = [[step_seconds(model, clips, text) for model in models] for _ in range(steps + 2)][2:]
    without, with_it = (statistics.median(column) for column in zip(*pairs, strict=True))
    return without, with_it, statistics.median(b / a for a, b in pairs)


def draw_tracks(
    count: int, window: int, frames: int, noise: float, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Centres relative to the window's first one [count, 2 window], and the motion's number."""
    kinds = rng.choice(len(MOTIONS), size=count, p=list(MOTIONS.values()))
    tracks = np.zeros((count, window, 2), np.float32)
    for track, kind in zip(tracks, kinds, strict=True):
        motion = sample_motion(rng, list(MOTIONS)[kind], 1.0)
        times = np.arange(window) + rng.integers(frames - window + 1) - (frames - 1) / 2
        offsets = motion.offsets(times)
        track[:] = offsets - offsets[0] + rng.normal(0, noise, offsets.shape)
    return torch.from_numpy(tracks).flatten(1), torch.from_numpy(kinds)


def track_accuracy(params: Params, noise: float) -> float:
    """Of a small network that sees the tracks, on tracks that it has not seen."""
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    window, frames = params.frames.window, params.datasets["moving_shapes"].num_frames
    tracks, kinds = draw_tracks(TRACKS, window, frames, noise, rng)
    network = nn.Sequential(
        nn.Linear(2 * window, 128),
        nn.ReLU(),
        nn.Linear(128, 128),
        nn.ReLU(),
        nn.Linear(128, len(MOTIONS)),
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 2000)
    for _ in range(2000):
        chosen = torch.randint(len(tracks), (512,))
        F.cross_entropy(network(tracks[chosen]), kinds[chosen]).backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    unseen, truth = draw_tracks(5000, window, frames, noise, rng)
    return float((network(unseen).argmax(1) == truth).float().mean())


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("--steps", type=int, default=20, help="pairs of steps to time")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    params = load_params()
    without, with_it, ratio = step_ratio(params, arguments.steps)
    print(f"a step: {without:.3f} s without, {with_it:.3f} s with the branch, ratio {ratio:.3f}")
    for noise in NOISE:
        named = track_accuracy(params, noise)
        print(f"motions named right from tracks, noise of {noise} px: {named:.4f}")


if __name__ == "__main__":
    main()
