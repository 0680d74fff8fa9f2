"""Measure the end-point error of RAFT and of OpenCV's DIS on held-out MovingShapes clips.

RAFT is the flow stage's; the truth is the exact flow.

    python scripts/measure_flow.py --clips 40

The frames go through JPEG at quality 95, as the stage's own input does. Non-occluded: the pixel is
seen in the other frame too. On objects: the pixel belongs to a shape, not to the background.
Stored: as training reads it, pooled to flow.stored_stride and in fixed point, then enlarged again.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from losh.errors import friendly
from losh.flow.compute import running_size, to_stored_grid
from losh.flow.estimator import FlowEstimator
from losh.flow.flow_store import QUANTUM, quantise, write_fields
from losh.media.resizing import resize_flow, resize_frame
from losh.moving_shapes.scene import RenderedClip, render_clip
from losh.params import load_params

FIRST_SEED = 900_000  # neither the dataset's nor train_raft.py's
COLUMNS = ("all", "non-occluded", "on objects")

Flow = Callable[[np.ndarray, np.ndarray], np.ndarray]


def read_as_stored(frame: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] after a round trip through JPEG, quality 95."""
    return cv2.imdecode(
        cv2.imencode(".jpg", frame[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1], cv2.IMREAD_COLOR
    )[:, :, ::-1]


def dis(preset: str) -> Flow:
    """OpenCV's DIS on grey frames: uint8 [H, W, 3] twice -> float32 [2, H, W]."""
    engine = cv2.DISOpticalFlow_create(getattr(cv2, f"DISOPTICAL_FLOW_PRESET_{preset}"))

    def flow(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        grey = [
            cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
            for image in (first, second)
        ]
        return np.moveaxis(engine.calc(*grey, None), -1, 0)

    return flow


def seen_in_both(there: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Return bool [H, W]: whether the same surface is seen in both frames.

    There the exact flow there and the exact flow back at its end cancel.
    """
    _, height, width = there.shape
    rows, columns = np.mgrid[:height, :width]
    x, y = np.rint(columns + there[0]).astype(int), np.rint(rows + there[1]).astype(int)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    returned = there + back[:, np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)]
    return inside & (np.hypot(*returned) < 0.5)


def errors(
    flow: np.ndarray, truth: np.ndarray, visible: np.ndarray, objects: np.ndarray
) -> list[tuple[float, int]]:
    """(sum of end-point errors in px, pixels) of each of COLUMNS."""
    distance = np.hypot(*(flow - truth)).astype(np.float64)
    return [
        (float(distance[where].sum()), int(where.sum()))
        for where in (np.ones_like(visible), visible, objects)
    ]


def pairs_of(
    clip: RenderedClip, step: int
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Yield (first, second, exact flow, visible, objects), there and back.

    Of every `step`-th pair of neighbouring frames.
    """
    frames = [read_as_stored(frame) for frame in clip.frames]
    pairs = []
    for t in range(0, len(frames) - 1, step):
        there, back = clip.flow_forward[t], clip.flow_backward[t]
        pairs.append(
            (frames[t], frames[t + 1], there, seen_in_both(there, back), clip.masks[t].any(0))
        )
        pairs.append(
            (frames[t + 1], frames[t], back, seen_in_both(back, there), clip.masks[t + 1].any(0))
        )
    return pairs


@friendly
def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--step", type=int, default=3, help="every how many frames a pair is taken")
    parser.add_argument("--height", type=int, default=96)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--checkpoint", help="other weights than params.yaml's flow.checkpoint")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    params = load_params().flow
    if options.checkpoint:
        params = params.model_copy(update={"checkpoint": options.checkpoint})
    estimator = FlowEstimator(params)
    ours, stored = (
        f"RAFT ({params.model}, {params.checkpoint}, {params.iterations} iterations)",
        "the same, stored",
    )
    engines = {f"DIS, {preset.lower()}": dis(preset) for preset in ("ULTRAFAST", "FAST", "MEDIUM")}
    enlarged = f"DIS, medium, frames enlarged to {params.short_side} px as for RAFT"
    sums = {
        name: np.zeros((len(COLUMNS), 2))
        for name in (ours, stored, *engines, enlarged, "no motion")
    }
    size, fields_written = 0, 0
    for number in tqdm(range(options.clips), unit="clip"):
        pairs = pairs_of(
            render_clip(FIRST_SEED + number, 16, options.height, options.width), options.step
        )
        grid = running_size(options.height, options.width, params)
        firsts, seconds = (
            np.stack([resize_frame(pair[side], grid) for pair in pairs]) for side in (0, 1)
        )
        flows = estimator.estimate(firsts, seconds)
        fields = {}
        for i, ((first, second, *judge), flow) in enumerate(zip(pairs, flows, strict=True)):
            shape = first.shape[:2]
            small = fields[i, i + 1] = to_stored_grid(flow[None], params.stored_stride)[0]
            read = quantise(small, "measured", (0, 1)).astype(np.float32) * QUANTUM
            results = {
                ours: resize_flow(flow, shape),
                stored: resize_flow(read, shape),
                "no motion": np.zeros((2, *shape), np.float32),
            }
            results |= {name: engine(first, second) for name, engine in engines.items()}
            results[enlarged] = resize_flow(engines["DIS, medium"](firsts[i], seconds[i]), shape)
            for name, result in results.items():
                sums[name] += errors(result, *judge)
        with tempfile.TemporaryDirectory() as folder:
            write_fields(Path(folder) / "flow.h5", "measured", fields)
            size += (Path(folder) / "flow.h5").stat().st_size
        fields_written += len(fields)
    print(
        f"End-point error in px, {fields_written} pairs of {options.clips} clips, "
        f"{options.height} x {options.width}, JPEG 95:\n"
    )
    print(f"| flow | {' | '.join(COLUMNS)} |\n|---|{'---|' * len(COLUMNS)}")
    for name, total in sums.items():
        print(f"| {name} | {' | '.join(f'{a / n:.3f}' for a, n in total)} |")
    naive = 12 + 8 * options.height * options.width
    print(
        f"\nBytes a field: {size / fields_written:,.0f} stored, {naive:,} as float32 .flo at "
        f"full size ({naive * fields_written / size:.0f} times)"
    )


if __name__ == "__main__":
    main()
