"""Train the embedded visual backbone: a small Video-Swin that names the objects of generated clips.

It names them pixel by pixel.

    python scripts/train_backbone.py --out src/losh/backbones/embedded/model.safetensors \\
        --log docs/backbone

It takes the place that Kinetics weights have for real data: LoSh's default starts from it, as
published systems start from Kinetics. The clips come from the generator of MovingShapes with seeds
that no dataset uses (losh.moving_shapes.generate.clip_seed). The tasks are dense (our choice: every
pixel teaches): colour, shape, size, texture and motion of the object at each pixel, or background;
where the object's centre is, seen from the pixel and in the frame; and how many pixels it moves.

A killed run goes on where it stopped with the same command, and a finished one with a further
number after `--steps`, one more cycle of the learning rate. `--log` gets training.csv and
curves.png; docs/backbone/README.md says what is reached.
"""

from __future__ import annotations

import argparse
import copy
import csv
import json
import math
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm

from losh.backbones.level_scale import scale_levels, spread_of_levels
from losh.backbones.video_swin import VideoSwin
from losh.backbones.weights import build_backbone
from losh.clips.batches import pad_frames
from losh.moving_shapes.appearance import COLOURS, RADII, SHAPES, TEXTURES
from losh.moving_shapes.motion import MOTIONS
from losh.moving_shapes.scene import RenderedClip, render_clip
from losh.params import MovingShapesParams, load_params
from losh.runtime.files import atomic_write

# below 1,000,000, where the datasets' seeds begin; RAFT and the text encoder take others
FIRST_SEED = 400_000
ATTRIBUTES = {
    "colour": tuple(COLOURS),
    "shape": SHAPES,
    "size": tuple(RADII),
    "texture": TEXTURES,
    "motion": tuple(MOTIONS),
}
DISTANCES = {"centre": 8, "place": 16, "move": 1}
"""Pairs (x, y) to regress, and their unit in px: where the centre of the object (of what is seen of
it) lies from a pixel, and from the frame's middle; and how it moves to the next frame. Twins look
alike: this is what tells their pixels apart.
"""
OUTPUTS = {name: 1 + len(words) for name, words in ATTRIBUTES.items()} | dict.fromkeys(DISTANCES, 2)
"""Channels of each prediction; of an attribute, class 0 is the background."""
STRIDE = 4
HELD_OUT = 40  # clips, from each its windows without overlap
BACKGROUND_WEIGHT = 0.15  # most pixels are background; they need not be told so often
EARLY_MOTION = 4.0  # weight of what the embedding tells of motion, in the first cycle
CHUNK = 80  # clips of a file
WARM_UP = 50  # steps
EVERY = 500  # steps between two rows of the log
SPREADS = (1.0, 1.0, math.sqrt(3))
"""Standard deviation of each level's features in the weights that are written. The first weights of
a 1 x 1 convolution divide it by the square root of 3: to MTTR's encoder a cell then has the spread
of a word.
"""

Labelled = tuple[np.ndarray, np.ndarray, np.ndarray]
Truth = dict[str, Tensor]


class DenseHeads(nn.Module):
    """Predictions at stride 4 from two places of the backbone.

    From the embedding, before any attention: motion is seen there or nowhere, and a gradient that
    comes back through all stages finds it late. And from the coarsest level, which is all that
    LoSh's transformer sees; each of its cells tells its 4 x 4.
    """

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        first, last, count = channels[0], channels[-1], sum(OUTPUTS.values())
        side = 2 ** (len(channels) - 1)
        self.embedded = nn.Conv2d(first, count, 1)
        self.coarse = nn.Sequential(
            nn.GroupNorm(1, last),
            nn.Conv2d(last, last, 1),
            nn.ReLU(),
            nn.Conv2d(last, side**2 * count, 1),
            nn.PixelShuffle(side),
        )

    def early(self, embedding: Tensor) -> dict[str, Tensor]:
        """Embedding [B, T, h, w, C] -> name of OUTPUTS -> [B * T, channels, h, w]."""
        return _named(self.embedded(embedding.flatten(0, 1).permute(0, 3, 1, 2)))

    def late(self, level: Tensor) -> dict[str, Tensor]:
        """Coarsest level [B, T, C, h / 4, w / 4] -> the same; h and w multiples of 4."""
        return _named(self.coarse(level.flatten(0, 1)))


def _named(values: Tensor) -> dict[str, Tensor]:
    return dict(zip(OUTPUTS, values.split(list(OUTPUTS.values()), 1), strict=True))


def label_maps(clip: RenderedClip) -> np.ndarray:
    """uint8 [attributes, T, h, w] at stride 4: 0 background, else 1 + the word's place."""
    here = slice(STRIDE // 2, None, STRIDE)  # the pixel at a cell's middle
    masks = clip.masks[:, :, here, here]
    labels = np.zeros((len(ATTRIBUTES), masks.shape[0], *masks.shape[2:]), np.uint8)
    for i, thing in enumerate(clip.objects):
        for a, (name, words) in enumerate(ATTRIBUTES.items()):
            labels[a][masks[:, i]] = 1 + words.index(getattr(thing, name))
    return labels


def distance_maps(clip: RenderedClip) -> np.ndarray:
    """Compute the maps of distances, float16 [2 * DISTANCES, T, h, w] at stride 4, in their units.

    They are zero on the background. The last frame's move is that of the one before.
    """
    here = slice(STRIDE // 2, None, STRIDE)
    count, _, height, width = clip.masks.shape
    rows, columns = np.mgrid[:height, :width][:, here, here].astype(np.float32)
    cells = clip.masks[:, :, here, here]
    pixels = clip.masks.sum((2, 3)).clip(1)
    maps = np.zeros((2 * len(DISTANCES), count, *rows.shape), np.float32)
    for k, (at, side) in enumerate(((columns, width), (rows, height))):
        # [T, n, side], how many pixels of an object each column, or row, has
        tally = clip.masks.sum(2 + k)
        centres = ((tally * np.arange(side)).sum(2) / pixels)[:, :, None, None]  # [T, n, 1, 1]
        maps[k] = ((centres - at) * cells).sum(1) / DISTANCES["centre"]
        maps[2 + k] = ((centres - side / 2) * cells).sum(1) / DISTANCES["place"]
    moves = np.stack([centre_moves(clip, t) for t in range(count)], axis=1)  # [2, T, n]
    maps[4:] = (moves[..., None, None] * cells).sum(2)
    return maps.astype(np.float16)


def centre_moves(clip: RenderedClip, t: int) -> np.ndarray:
    """Compute how each object moves from frame t to the next, [2, n] px.

    In the last frame it is the move from the last but one to the last.
    """
    last = t == len(clip.flow_forward)
    field, masks = -clip.flow_backward[-1] if last else clip.flow_forward[t], clip.masks[t]
    # An object's pixels all move alike.
    return (field[:, None] * masks).sum((2, 3)) / masks.sum((1, 2)).clip(1)


def labelled_clip(seed: int, num_frames: int, height: int, width: int) -> Labelled:
    """One clip: frames uint8 [T, H, W, 3], its labels and its distances."""
    clip = render_clip(seed, num_frames, height, width)
    return clip.frames, label_maps(clip), distance_maps(clip)


def make_clips(count: int, shapes: MovingShapesParams, scratch: Path) -> list[Labelled]:
    """Make the first clips of FIRST_SEED, of the size of the default's.

    They are kept in `scratch` in files.
    """
    size = (shapes.num_frames, shapes.height, shapes.width)
    draw = partial(labelled_clip, num_frames=size[0], height=size[1], width=size[2])
    clips: list[Labelled] = []
    with ProcessPoolExecutor() as pool, tqdm(total=count, desc="clips") as bar:
        for first in range(FIRST_SEED, FIRST_SEED + count, CHUNK):
            seeds = range(first, min(first + CHUNK, FIRST_SEED + count))
            path = scratch / f"clips_{first}_{len(seeds)}_{'x'.join(map(str, size))}.npz"
            if not path.exists():
                parts = zip(*pool.map(draw, seeds, chunksize=8), strict=True)
                arrays = [np.stack(part) for part in parts]
                with atomic_write(path) as file:
                    np.savez(file, frames=arrays[0], labels=arrays[1], distances=arrays[2])
            with np.load(path) as kept:
                clips += zip(kept["frames"], kept["labels"], kept["distances"], strict=True)
            bar.update(len(seeds))
    return clips


def cut(clip: Labelled, start: int, window: int, mirrored: bool) -> Labelled:
    """Cut a window out of a clip, mirrored or not."""
    frames, labels, distances = clip
    shown = slice(start, start + window)
    frames, labels, distances = frames[shown], labels[:, shown], distances[:, shown]
    if mirrored:
        words = ["background", *ATTRIBUTES["motion"]]
        swap = np.arange(len(words))
        swap[[words.index("left"), words.index("right")]] = (
            words.index("right"),
            words.index("left"),
        )
        frames, labels, distances = (
            frames[:, :, ::-1],
            labels[..., ::-1].copy(),
            distances[..., ::-1].copy(),
        )
        labels[-1] = swap[labels[-1]]
        distances[0::2] *= -1
    return frames, labels, distances


def to_batch(windows: list[Labelled]) -> tuple[Tensor, Truth]:
    """Return the frames [B, T, 3, H, W], normalised, and the truth by name of OUTPUTS.

    Labels are [B * T, h, w], distances [B * T, 2, h, w].
    """
    frames = [torch.from_numpy(np.ascontiguousarray(frames)) for frames, _, _ in windows]
    labels = torch.from_numpy(np.stack([labels for _, labels, _ in windows])).long()
    distances = torch.from_numpy(np.stack([values for _, _, values in windows])).float()
    truth = {name: labels[:, i].flatten(0, 1) for i, name in enumerate(ATTRIBUTES)}
    for i, name in enumerate(DISTANCES):
        truth[name] = distances[:, 2 * i : 2 * i + 2].transpose(1, 2).flatten(0, 1)
    return pad_frames(frames, torch.device("cpu"))[0], truth


def draw_batch(clips: list[Labelled], size: int, window: int, step: int) -> tuple[Tensor, Truth]:
    """Random windows, half of them mirrored; which, the step decides alone."""
    rng = np.random.default_rng((0, step))
    drawn = []
    for i in rng.integers(len(clips), size=size):
        start = int(rng.integers(len(clips[i][0]) - window + 1))
        drawn.append(cut(clips[i], start, window, rng.random() < 0.5))
    return to_batch(drawn)


def predict(backbone: VideoSwin, heads: DenseHeads, frames: Tensor) -> list[dict[str, Tensor]]:
    """Return what the heads read from the backbone."""
    embeddings: list[Tensor] = []
    assert backbone.motion is not None
    hook = backbone.motion.register_forward_hook(lambda _, __, x: embeddings.append(x))
    levels = backbone(frames)
    hook.remove()
    return [heads.early(embeddings[0]), heads.late(levels[-1])]


def predict_early(
    backbone: VideoSwin, heads: DenseHeads, frames: Tensor
) -> list[dict[str, Tensor]]:
    """Return what the heads read from the embedding alone, in a quarter of the time."""
    assert backbone.motion is not None
    return [heads.early(backbone.motion(backbone.patch_embed(frames)))]


def total_loss(outputs: list[dict[str, Tensor]], truth: Truth, early_motion: float) -> Tensor:
    """Add up the attributes' cross-entropies and the L1 distances of all outputs.

    `early_motion` is the weight of the embedding's.
    """
    total = torch.zeros(())
    seen = (truth["motion"] > 0)[:, None]
    for place, output in enumerate(outputs):
        for name, values in output.items():
            if name in ATTRIBUTES:
                weights = torch.ones(values.shape[1])
                weights[0] = BACKGROUND_WEIGHT
                loss = F.cross_entropy(values, truth[name], weights)
            else:
                loss = ((values - truth[name]).abs() * seen).sum() / seen.sum().clamp(min=1)
            early = place == 0 and name in ("motion", "move")
            total = total + (early_motion if early else 1.0) * loss
    return total


@torch.no_grad()
def measure(
    backbone: VideoSwin, heads: DenseHeads, clips: list[Labelled], window: int
) -> dict[str, float]:
    """Measure what the coarsest level tells of these clips' object pixels.

    The windows do not overlap.

    Returns:
        By attribute the part of pixels that are named right; `*_px`: the mean error a coordinate;
        `motion_early`: the motions that the embedding names right.
    """
    sums, pixels = dict.fromkeys([*OUTPUTS, "motion_early"], 0.0), 0
    for clip in clips:
        starts = range(0, len(clip[0]) - window + 1, window)
        frames, truth = to_batch([cut(clip, start, window, False) for start in starts])
        early, output = predict(backbone, heads, frames)
        seen = truth["motion"] > 0
        pixels += int(seen.sum())
        sums["motion_early"] += float((early["motion"].argmax(1) == truth["motion"])[seen].sum())
        for name in ATTRIBUTES:
            sums[name] += float((output[name].argmax(1) == truth[name])[seen].sum())
        for name, unit in DISTANCES.items():
            sums[name] += (
                unit * float(((output[name] - truth[name]).abs() * seen[:, None]).sum()) / 2
            )
    return {
        f"{name}_px" if name in DISTANCES else name: value / pixels for name, value in sums.items()
    }


def cycle_of(step: int, cycles: list[int]) -> tuple[int, int]:
    """Which cycle a step is in, and its place there."""
    for cycle, length in enumerate(cycles):
        if step < length:
            return cycle, step
        step -= length
    raise IndexError(step)


def rate_factor(step: int, cycles: list[int], early: int) -> float:
    """In each cycle a cosine, to 2 %; and a short warm-up where a cycle or the attention begins."""
    cycle, place = cycle_of(step, cycles)
    since = place - early if cycle == 0 and place >= early else place
    cosine = 0.5 * (1 + math.cos(math.pi * place / cycles[cycle]))
    return min(1.0, (since + 1) / WARM_UP) * (0.02 + 0.98 * cosine)


def main() -> None:
    """Train, log what is reached on held-out clips, and save the backbone alone."""
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("--out", type=Path, required=True, help="the weights")
    parser.add_argument(
        "--log", type=Path, required=True, help="folder of training.csv and curves.png"
    )
    parser.add_argument(
        "--steps", type=int, nargs="+", default=[4000, 7000, 6000], help="of each cycle of the rate"
    )
    parser.add_argument(
        "--early",
        type=int,
        default=1500,
        help="steps of the first cycle that train the embedding alone",
    )
    parser.add_argument("--clips", type=int, default=2400)
    parser.add_argument("--windows", type=int, default=3, help="windows a step")
    parser.add_argument("--rate", type=float, default=2.5e-3, help="the highest learning rate")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--scratch",
        type=Path,
        default=Path("scratch/train_backbone"),
        help="the clips, and the state that a killed run goes on from",
    )
    arguments = parser.parse_args()
    torch.manual_seed(0)
    params = load_params()
    window = params.frames.window
    backbone = build_backbone(params.model.backbone.model_copy(update={"checkpoint": None}))
    assert isinstance(backbone, VideoSwin)
    heads = DenseHeads(backbone.channels)
    learner = nn.ModuleList([backbone, heads])
    optimizer = torch.optim.AdamW(learner.parameters(), lr=arguments.rate, weight_decay=1e-4)
    state, first, spent, rows = arguments.scratch / "state.pt", 0, 0.0, []
    if state.exists():
        kept = torch.load(state, weights_only=True)
        learner.load_state_dict(kept["learner"])
        optimizer.load_state_dict(kept["optimizer"])
        first, spent, rows = kept["step"], kept["seconds"], kept["rows"]
    count = arguments.clips + HELD_OUT
    clips = make_clips(count, params.datasets["moving_shapes"], arguments.scratch)
    clips, held_out = clips[:-HELD_OUT], clips[-HELD_OUT:]
    torch.set_num_threads(arguments.threads)
    arguments.log.mkdir(parents=True, exist_ok=True)
    began, losses, steps = time.monotonic() - spent, [], sum(arguments.steps)
    for step in tqdm(
        range(first, steps),
        initial=first,
        total=steps,
        desc="train",
        unit="step",
    ):
        for group in optimizer.param_groups:
            group["lr"] = arguments.rate * rate_factor(step, arguments.steps, arguments.early)
        frames, truth = draw_batch(clips, arguments.windows, window, step)
        see = predict_early if step < arguments.early else predict
        weight = EARLY_MOTION if cycle_of(step, arguments.steps)[0] == 0 else 1.0
        loss = total_loss(see(backbone, heads, frames), truth, weight)
        loss.backward()
        nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(float(loss.detach()))
        if (step + 1) % EVERY and step + 1 < steps:
            continue
        reached = measure(backbone, heads, held_out, window)
        seconds = time.monotonic() - began
        rows.append(
            {"step": step + 1, "minutes": seconds / 60, "loss": float(np.mean(losses)), **reached}
        )
        losses.clear()
        tqdm.write(" ".join(f"{name} {value:.3f}" for name, value in rows[-1].items()))
        write_log(rows, arguments.log)
        save(arguments.out, backbone, rows[-1], draw_batch(held_out, HELD_OUT, window, 0)[0])
        with atomic_write(state) as part:
            kept = {"learner": learner.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save({**kept, "step": step + 1, "seconds": seconds, "rows": rows}, part)


def write_log(rows: list[dict[str, float]], folder: Path) -> None:
    """Write the rows as training.csv, and as curves in curves.png."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with (folder / "training.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {k: v if k == "step" else f"{v:.4f}" for k, v in row.items()} for row in rows
        )
    panels = {
        "loss": ["loss"],
        "object pixels named right": [*ATTRIBUTES, "motion_early"],
        "error, px": [f"{name}_px" for name in DISTANCES],
    }
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.2), layout="constrained")
    for axis, (title, names) in zip(axes, panels.items(), strict=True):
        for name in names:
            axis.plot([row["step"] for row in rows], [row[name] for row in rows], label=name)
        axis.set(title=title, xlabel="step")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    axes[1].set_ylim(0, 1)
    figure.savefig(folder / "curves.png", dpi=80, metadata={"Software": None})
    plt.close(figure)


def save(out: Path, backbone: VideoSwin, row: dict[str, float], frames: Tensor) -> None:
    """Write the backbone with what is known of it in the metadata.

    Its levels are brought to SPREADS on `frames`.
    """
    scaled = copy.deepcopy(backbone)
    spreads = spread_of_levels(scaled, frames)
    scale_levels(scaled, [wanted / has for wanted, has in zip(SPREADS, spreads, strict=True)])
    facts = {"source": "scripts/train_backbone.py", "licence": "Apache-2.0", "steps": row["step"]}
    facts["held_out"] = {name: round(row[name], 3) for name in list(row)[3:]}
    weights = {name: value.contiguous() for name, value in scaled.state_dict().items()}
    with atomic_write(out) as part:
        save_file(weights, part, {"losh": json.dumps(facts, sort_keys=True)})


if __name__ == "__main__":
    main()
