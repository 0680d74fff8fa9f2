"""`losh flow`: a clip's optical flow as a video."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from losh.errors import UserError
from losh.flow.estimator import FlowEstimator
from losh.flow.visual import flow_to_rgb
from losh.media.resizing import network_size, resize_frame
from losh.own_video.clip_input import Frame, open_clip
from losh.own_video.output_places import Output, check_outputs
from losh.own_video.video_writer import video_writer
from losh.params import FlowParams
from losh.runtime.machine import pick_device


@dataclass(frozen=True)
class ShownFlow:
    """What a clip's flow came to."""

    pairs: int
    size: tuple[int, int]
    """(H, W) at which RAFT ran, in pixels."""
    mean_length: float
    """In those pixels."""
    notes: list[str]
    """What there is to tell, each one line."""


def show_flow(path: Path, out: Path, params: FlowParams) -> ShownFlow:
    """Draw the RAFT flow from each frame of a clip to the next as colours, beside the frames.

    Hue is the direction, saturation the speed. The video has the clip's times and sound.

    Raises:
        UserError: the clip cannot be read, has one frame alone, or `out` cannot be written.
    """
    check_outputs([Output(out, "-o", ".mp4")], path)
    clip = open_clip(path)
    estimator = FlowEstimator(params, pick_device())
    lengths: list[float] = []
    before: Frame | None = None
    with ExitStack() as stack:
        writer = stack.enter_context(video_writer(out, clip))
        for frame in tqdm(clip.frames(), total=clip.count, unit="frame", disable=None):
            if before is not None:
                height, width = before.image.shape[:2]
                size = network_size(height, width, params.short_side, 10**6)
                first, second = (resize_frame(x.image, size) for x in (before, frame))
                flow = estimator.estimate(first[None], second[None])[0]
                flow = flow.numpy() if isinstance(flow, torch.Tensor) else flow
                lengths.append(float(np.hypot(*flow).mean()))
                writer.write(np.concatenate([first, flow_to_rgb(flow)], axis=1), before)
            before = frame
        if not lengths:
            raise UserError(f"{path} has one frame", "Flow needs two")
    return ShownFlow(len(lengths), size, float(np.mean(lengths)), [*clip.notes, *writer.notes])
