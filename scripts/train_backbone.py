"""Train the embedded visual backbone: a small Video-Swin that names the objects of generated clips, pixel by pixel.

It takes the place that Kinetics weights have for real data: LoSh's default starts from it, as published systems start from Kinetics. The
clips come from the generator of MovingShapes with seeds that no dataset uses (losh.moving_shapes.generate.clip_seed). The task is dense
classification: colour, shape, size, texture and motion of the object at each pixel, or background (our choice: every pixel teaches).

    python scripts/train_backbone.py --out src/losh/model/weights/backbone/model.safetensors    (20 minutes on 2 cores)

The shipped weights took two runs on 2 cores: 15 minutes on 400 clips from nothing (most of them on pairs of frames), which fitted those
clips alone, then 11 minutes on 3,000 clips with `--start` at the first run's weights and `--rate 1.5e-3`. On held-out clips they named
colour, shape, size and texture (0.996, 0.94, 0.98, 0.98 of object pixels), but not motion (0.14, as good as guessing). Both runs had attention
windows of six frames. The default's are of two, which halves a step's time: `--start WEIGHTS --start-window 6 6 8 --minutes 0` kept the middle
of each table of relative positions. The features stay what they were but for little (cosine similarity 1.00, 1.00 and 0.99 of the three levels).
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from losh.clips.batch import pad_frames
from losh.model.backbone import build_backbone
from losh.moving_shapes.appearance import COLOURS, RADII, SHAPES, TEXTURES
from losh.moving_shapes.motion import MOTIONS
from losh.moving_shapes.scene import RenderedClip, render_clip
from losh.params import load_params

FIRST_SEED = 400_000  # below 1,000,000, where the datasets' seeds begin; RAFT and the text encoder take others
ATTRIBUTES = {"colour": tuple(COLOURS), "shape": SHAPES, "size": tuple(RADII), "texture": TEXTURES, "motion": tuple(MOTIONS)}
STRIDE = 4
HELD_OUT = 40  # clips
PAIRS = 0.4  # the part of the time that trains on pairs of frames
BACKGROUND_WEIGHT = 0.15  # most pixels are background; they need not be told so often


class DenseHeads(nn.Module):
    """All levels, projected and summed at the finest one, then one classifier an attribute (background is class 0)."""

    def __init__(self, channels: list[int], width: int = 64) -> None:
        super().__init__()
        self.adapters = nn.ModuleList(nn.Conv2d(c, width, 1) for c in channels)
        self.mix = nn.Sequential(nn.GroupNorm(8, width), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(8, width), nn.ReLU())
        self.heads = nn.ModuleDict({name: nn.Conv2d(width, 1 + len(words), 1) for name, words in ATTRIBUTES.items()})

    def forward(self, levels: list[Tensor]) -> dict[str, Tensor]:
        """[B, T, Ci, Hi, Wi] a level -> attribute -> logits [B * T, classes, h, w] at stride 4."""
        maps = [adapter(level.flatten(0, 1)) for adapter, level in zip(self.adapters, levels, strict=True)]
        mixed = self.mix(sum(F.interpolate(x, size=maps[0].shape[-2:], mode="bilinear") for x in maps))
        return {name: head(mixed) for name, head in self.heads.items()}


def label_maps(clip: RenderedClip) -> np.ndarray:
    """uint8 [attributes, T, h, w] at stride 4: 0 background, else 1 + the word's place."""
    masks = clip.masks[:, :, STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]  # the pixel at a cell's middle
    labels = np.zeros((len(ATTRIBUTES), masks.shape[0], *masks.shape[2:]), np.uint8)
    for i, thing in enumerate(clip.objects):
        for a, (name, words) in enumerate(ATTRIBUTES.items()):
            labels[a][masks[:, i]] = 1 + words.index(getattr(thing, name))
    return labels


def frames_and_labels(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """One clip of the default's size: frames uint8 [T, H, W, 3], and its label maps."""
    shapes = load_params().datasets["moving_shapes"]
    clip = render_clip(seed, shapes.num_frames, shapes.height, shapes.width)
    return clip.frames, label_maps(clip)


def draw_batch(clips: list[np.ndarray], labels: list[np.ndarray], size: int, window: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Random windows, half of them mirrored: frames [B, T, 3, H, W], labels [B, attributes, T, h, w]."""
    motions = ATTRIBUTES["motion"]
    swap = np.arange(len(motions) + 1)
    swap[[1 + motions.index("left"), 1 + motions.index("right")]] = 1 + motions.index("right"), 1 + motions.index("left")
    frames, targets = [], []
    for i in rng.integers(len(clips), size=size):
        start = int(rng.integers(clips[i].shape[0] - window + 1))
        part, target = clips[i][start : start + window], labels[i][:, start : start + window]
        if rng.random() < 0.5:
            part, target = part[:, :, ::-1], target[..., ::-1].copy()
            target[-1] = swap[target[-1]]
        frames.append(torch.from_numpy(np.ascontiguousarray(part)))
        targets.append(torch.from_numpy(np.ascontiguousarray(target)))
    return pad_frames(frames, torch.device("cpu"))[0], torch.stack(targets).long()


def cut_table(name: str, value: Tensor, window: list[int], smaller: list[int]) -> Tensor:
    """A table of relative positions [(2 T - 1) (2 H - 1) (2 W - 1), heads] of a window, cut to the positions that a smaller one has."""
    if not name.endswith("relative_position_bias_table"):
        return value
    table = value.view(*(2 * side - 1 for side in window), -1)
    return table[tuple(slice(a - b, a + b - 1) for a, b in zip(window, smaller, strict=True))].flatten(0, 2).contiguous()


def losses_of(logits: dict[str, Tensor], targets: Tensor) -> tuple[Tensor, dict[str, float]]:
    """Sum of the attributes' cross-entropies, and each one's accuracy on object pixels."""
    total, accuracy = torch.zeros(()), {}
    for a, (name, values) in enumerate(logits.items()):
        target = targets[:, a].flatten(0, 1)  # [B * T, h, w]
        weights = torch.ones(values.shape[1])
        weights[0] = BACKGROUND_WEIGHT
        total = total + F.cross_entropy(values, target, weights)
        seen = target > 0
        accuracy[name] = float((values.argmax(1) == target)[seen].float().mean())
    return total, accuracy


def main() -> None:
    """Train, print the accuracy on held-out clips, and save the backbone alone."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=20.0, help="how long to train; 0: only cut --start to the window of params.yaml")
    parser.add_argument("--clips", type=int, default=3000)
    parser.add_argument("--start", type=Path, help="weights to start from; none: random ones")
    parser.add_argument("--start-window", type=int, nargs=3, help="the attention window of --start, where it is larger than params.yaml's")
    parser.add_argument("--frames", type=int, default=36, help="frames a step: half as many pairs, or a sixth as many windows of six")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    params = load_params()
    backbone = build_backbone(params.model.backbone.model_copy(update={"checkpoint": None}))
    if arguments.start:
        state = load_file(arguments.start)
        if arguments.start_window:
            state = {name: cut_table(name, value, arguments.start_window, params.model.backbone.window_size) for name, value in state.items()}
        backbone.load_state_dict(state)
    if not arguments.minutes:
        with safe_open(arguments.start, "pt") as file:
            facts = json.loads(file.metadata()["losh"])
        write(arguments.out, backbone, {**facts, "tables_cut_from_window": arguments.start_window})
        return
    with ProcessPoolExecutor(arguments.threads) as pool:
        seeds = range(FIRST_SEED, FIRST_SEED + arguments.clips + HELD_OUT)
        pairs = list(tqdm(pool.map(frames_and_labels, seeds, chunksize=16), total=len(seeds), desc="clips"))
    clips, labels = [frames for frames, _ in pairs], [maps for _, maps in pairs]
    torch.set_num_threads(arguments.threads)
    heads = DenseHeads(backbone.channels)
    weights = [*backbone.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=arguments.rate, weight_decay=1e-4)
    rng = np.random.default_rng(0)
    held_out = draw_batch(clips[-HELD_OUT:], labels[-HELD_OUT:], 24, params.frames.window, np.random.default_rng(1))
    began, step = time.monotonic(), 0
    with tqdm(desc="train", unit="step") as bar:
        while (part := (time.monotonic() - began) / (60 * arguments.minutes)) < 1:
            # A cosine over the time: the budget is minutes, whatever the machine makes of them.
            factor = min(1.0, (step + 1) / 50) * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * part)))
            for group in optimizer.param_groups:
                group["lr"] = arguments.rate * factor
            # Pairs of frames first: how things look, and how they move, is learnt as well from many short windows as from few long ones.
            window = 2 if part < PAIRS else params.frames.window
            frames, targets = draw_batch(clips[:-HELD_OUT], labels[:-HELD_OUT], arguments.frames // window, window, rng)
            loss, accuracy = losses_of(heads(backbone(frames)), targets)
            loss.backward()
            nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            step += 1
            bar.update()
            bar.set_postfix(loss=f"{float(loss.detach()):.2f}", colour=f"{accuracy['colour']:.2f}", motion=f"{accuracy['motion']:.2f}", refresh=False)
            if step % 200 == 0:
                save(arguments.out, backbone, heads, held_out, step)
    save(arguments.out, backbone, heads, held_out, step)


@torch.no_grad()
def save(out: Path, backbone: nn.Module, heads: nn.Module, held_out: tuple[Tensor, Tensor], step: int) -> None:
    """Write the backbone with what is known of it in the metadata."""
    _, accuracy = losses_of(heads(backbone(held_out[0])), held_out[1])
    facts = {"source": "scripts/train_backbone.py", "licence": "Apache-2.0", "steps": step, "accuracy": {k: round(v, 3) for k, v in accuracy.items()}}
    print(f"\nstep {step}, held-out accuracy on object pixels: {facts['accuracy']}", flush=True)
    write(out, backbone, facts)


def write(out: Path, backbone: nn.Module, facts: dict[str, object]) -> None:
    """Write the backbone, with `facts` in the file's metadata."""
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in backbone.state_dict().items()}, out, {"losh": json.dumps(facts, sort_keys=True)})


if __name__ == "__main__":
    main()
