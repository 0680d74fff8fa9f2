"""Train the embedded RAFT-small on generated pairs with exact flow; the result ships with the package.

    python scripts/train_raft.py --steps 1450

About an hour on one thread of a server CPU. A killed run goes on where it stopped with the same command. It learns from flying patches at
first and then more and more from MovingShapes, whose seeds here (100,000 on) are not the dataset's (1,000,000 on) nor those of
measure_flow.py (900,000 on).
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import save_file
from tqdm import tqdm

from losh.errors import friendly
from losh.files import atomic_write
from losh.flow.flying_patches import render_pair
from losh.flow.raft import EMBEDDED, new_network, pad_images, run_network

FIRST_SEED = 100_000
SIZES = ((96, 128), (128, 128), (128, 128))  # rows, columns: what the default runs at, and RAFT's smallest size without padding
MATCHING = 0.2  # weight of the matching loss beside RAFT's own
GAMMA = 0.8  # weight of a refinement step against the next (RAFT, eq. 7)


def batch_at(step: int, batch: int, done: float, share: float, clips: ClipPool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The pairs of one step: images [B, 3, H, W] twice in 0 to 1, flows [B, 2, H, W]. They follow from the arguments alone.

    MovingShapes moves by parts of RAFT's 8 px cells and stands still at most pixels: a fresh network learns nothing from it but to say zero.
    So the motions are large at first (20 px), and MovingShapes comes in bit by bit; `done` is the part of the training that is done.

    Each rendered pair is used in both directions: samples B/2 ... B-1 are the first half backwards.
    """
    rng = np.random.default_rng([1, step])
    share *= min(1.0, 3 * done)
    longest = 6 + 10 * max(0.0, 1 - 5 * done)
    height, width = SIZES[step % len(SIZES)]
    firsts, seconds, forwards, backwards = [], [], [], []
    for item in range(batch // 2):
        if rng.random() < share:
            pair = clips.pair(rng, height, width)
        else:
            drawn = render_pair(FIRST_SEED + step * batch + item, height, width, longest)
            pair = drawn.first, drawn.second, drawn.forward, drawn.backward
        first, second, forward, backward = augment(rng, *pair)
        firsts.append(first)
        seconds.append(second)
        forwards.append(forward)
        backwards.append(backward)
    images = [torch.from_numpy(np.stack(side)).permute(0, 3, 1, 2).float() / 255 for side in (firsts + seconds, seconds + firsts)]
    return images[0], images[1], torch.from_numpy(np.stack(forwards + backwards)).float()


class ClipPool:
    """MovingShapes clips that are rendered when first asked for and kept: rendering costs more than a training step."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.kept: dict[tuple[int, int, int], object] = {}

    def pair(self, rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, ...]:
        """Two neighbouring frames uint8 [H, W, 3] and their flows float32 [2, H, W] there and back."""
        from losh.moving_shapes.scene import render_clip

        key = int(rng.integers(self.size)), height, width
        if key not in self.kept:
            self.kept[key] = render_clip(FIRST_SEED + key[0], 16, height, width)
        clip = self.kept[key]
        t = int(rng.integers(len(clip.frames) - 1))
        return clip.frames[t], clip.frames[t + 1], clip.flow_forward[t], clip.flow_backward[t]


def augment(rng: np.random.Generator, first: np.ndarray, second: np.ndarray, forward: np.ndarray, backward: np.ndarray) -> tuple[np.ndarray, ...]:
    """Flips, colours, noise and JPEG's artefacts; a flip mirrors the fields and negates their component."""
    images, fields = [first, second], [forward, backward]
    for axis, component in ((1, 0), (0, 1)):
        if rng.random() < 0.5:
            images = [np.flip(image, axis) for image in images]
            fields = [np.flip(field, axis + 1) for field in fields]
            sign = np.ones((2, 1, 1), np.float32)
            sign[component] = -1
            fields = [field * sign for field in fields]
    order = rng.permutation(3) if rng.random() < 0.5 else np.arange(3)
    gain, shift = np.exp(rng.normal(0, 0.15, 3)), rng.normal(0, 12, 3)
    images = [(image[..., order] * gain + shift + rng.normal(0, 1.5) * (rng.random() < 0.5)).astype(np.float32) for image in images]
    if rng.random() < 0.3:
        images = [image + rng.normal(0, rng.uniform(0.5, 4), image.shape) for image in images]
    images = [np.clip(image, 0, 255).round().astype(np.uint8) for image in images]
    if rng.random() < 0.6:
        images = [_jpeg(image, int(rng.integers(60, 97))) for image in images]
    return (*(np.ascontiguousarray(image) for image in images), *(np.ascontiguousarray(field, np.float32) for field in fields))


def _jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


def sequence_loss(fields: list[torch.Tensor], truth: torch.Tensor) -> torch.Tensor:
    """RAFT's loss: the L1 distance of every refinement step's field, later ones weighing more; what moves weighs more too."""
    weight = emphasis(truth)
    return sum(GAMMA ** (len(fields) - 1 - i) * (weight * (field - truth).abs()).mean() for i, field in enumerate(fields))


def emphasis(truth: torch.Tensor) -> torch.Tensor:
    """Weights [B, 1, H, W] of mean 1: a pixel that moves counts five times one that does not, or saying zero would be nearly right."""
    weight = 1 + 4 * (truth.norm(dim=1, keepdim=True) > 0.7)
    return weight / weight.float().mean()


def matching_loss(features: torch.Tensor, others: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """How badly the correlation of a cell's features with all cells of the other frame points to where the cell goes.

    Cross-entropy against the exact place, split over the four nearest cells (our choice). RAFT's own loss alone needs thousands of steps
    until features match at all; this one teaches them in a few hundred.

    Args:
        features, others: [B, C, h, w] of both frames, which padding of the images may have made larger than the field.
        truth: [B, 2, H, W] px.
    """
    batch, channels, height, width = features.shape
    top, left = ((8 * cells - side) // 2 for cells, side in ((height, truth.shape[-2]), (width, truth.shape[-1])))
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    y, x = 8 * rows + 4 - top, 8 * columns + 4 - left  # a cell's middle in the field
    known = (y >= 0) & (y < truth.shape[-2]) & (x >= 0) & (x < truth.shape[-1])
    field = truth[:, :, y.clamp(0, truth.shape[-2] - 1), x.clamp(0, truth.shape[-1] - 1)] / 8  # [B, 2, h, w], cells
    column, row = columns + field[:, 0], rows + field[:, 1]
    known = known & (column >= 0) & (column <= width - 1) & (row >= 0) & (row <= height - 1)
    known = known * emphasis(field * 8)[:, 0]
    logits = torch.einsum("bcp,bcq->bpq", features.flatten(2), others.flatten(2)) / channels**0.5
    likely = logits.log_softmax(-1).view(batch, height, width, height * width)
    loss = 0.0
    for down in (0, 1):
        for right in (0, 1):
            near_row, near_column = (place.floor().long() + step for place, step in ((row, down), (column, right)))
            weight = (1 - (row - near_row).abs()).clamp(min=0) * (1 - (column - near_column).abs()).clamp(min=0) * known
            cell = (near_row.clamp(0, height - 1) * width + near_column.clamp(0, width - 1))[..., None]
            loss = loss - (weight * likely.gather(-1, cell)[..., 0]).sum()
    return loss / known.sum().clamp(min=1)


def rate_at(step: int, steps: int, highest: float) -> float:
    """One cycle: 3 % linear rise, cosine fall to 1 % (a function of the step alone, so a resumed run needs no state for it)."""
    rise = max(1, round(0.03 * steps))
    if step < rise:
        return highest * (step + 1) / rise
    return highest * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise))))


class SharedEncoder:
    """A feature encoder that sees each frame once: in our batches the second images are the first ones with the halves swapped.

    It keeps the last features for the matching loss.
    """

    def __init__(self, encode: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.encode = encode

    def __call__(self, images: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.encode(images[0])
        self.last = features, torch.cat(features.chunk(2)[::-1])
        return self.last

    def teach(self, images: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """The matching loss alone, without the rest of the network: images [B, 3, H, W] in 0 to 1."""
        return matching_loss(*self([2 * pad_images(images)[0] - 1]), truth)


def save_weights(network: torch.nn.Module, path: Path, notes: dict[str, str]) -> None:
    """Write the weights as safetensors with where they come from."""
    state = {name: value.detach().clone().contiguous() for name, value in network.state_dict().items()}
    with atomic_write(path) as part:
        save_file(state, part, {"losh": json.dumps(notes, sort_keys=True)})


@friendly
def main() -> None:
    """Train, resume, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1450)
    parser.add_argument("--warm", type=int, default=200, help="first steps, which teach the feature encoder alone to match")
    parser.add_argument("--batch", type=int, default=4, help="samples a step; even, since each pair is used both ways")
    parser.add_argument("--iterations", type=int, default=2, help="refinement steps in training")
    parser.add_argument("--rate", type=float, default=2e-3, help="highest learning rate")
    parser.add_argument("--share", type=float, default=0.8, help="share of MovingShapes pairs, reached after a third of the steps")
    parser.add_argument("--clips", type=int, default=400, help="MovingShapes clips to draw pairs from")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--state", type=Path, default=Path("scratch/train_raft/state.pt"))
    parser.add_argument("--out", type=Path, default=EMBEDDED["raft_small"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    torch.manual_seed(0)
    network = new_network("raft_small", options.iterations).train()
    network.fnet.forward = encoder = SharedEncoder(network.fnet.forward)
    encoders = [*network.fnet.parameters()]
    others = [*network.cnet.parameters(), *network.update_block.parameters()]
    optimizer = torch.optim.AdamW([{"params": encoders, "pace": 0.4}, {"params": others, "pace": 1.0}], weight_decay=1e-5)
    start, history = 0, []
    if options.state.is_file():
        state = torch.load(options.state, weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        start, history = state["step"], state["history"]
    clips = ClipPool(options.clips)
    bar = tqdm(range(start, options.steps), initial=start, total=options.steps, unit="step", mininterval=10)
    error, saved = None, time.monotonic()
    for step in bar:
        for group in optimizer.param_groups:
            group["lr"] = group["pace"] * rate_at(step, options.steps, options.rate)
        if step < options.warm:
            first, second, truth = batch_at(step, 2 * options.batch, 0.0, 0.0, clips)
            loss, now = encoder.teach(first, truth), 0.0
        else:
            done = (step - options.warm) / (options.steps - options.warm)
            first, second, truth = batch_at(step, options.batch, done, options.share, clips)
            fields = run_network(network, first, second)
            loss = sequence_loss(fields, truth) + MATCHING * matching_loss(*encoder.last, truth)
            now = (fields[-1].detach() - truth).norm(dim=1).mean().item()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        if not torch.isfinite(norm):
            raise RuntimeError(f"step {step}: the gradient is not finite (loss {loss.item()})")
        optimizer.step()
        still = truth.norm(dim=1).mean().item()
        error = (now, still) if error is None or step == options.warm else (0.98 * error[0] + 0.02 * now, 0.98 * error[1] + 0.02 * still)
        bar.set_postfix(epe=f"{error[0]:.3f}", zero=f"{error[1]:.3f}", loss=f"{loss.item():.2f}", refresh=False)
        if time.monotonic() - saved > 60 or step + 1 == options.steps:
            if not history or step + 1 > history[-1]["step"]:
                history.append({"step": step + 1, "epe": error[0], "zero": error[1], "share": options.share})
            with atomic_write(options.state) as part:
                torch.save({"network": network.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1, "history": history}, part)
            notes = {"source": "trained by scripts/train_raft.py on generated clips", "licence": "Apache-2.0", "model": "raft_small"}
            save_weights(network, options.out, notes | {"steps": str(step + 1), "epe": f"{error[0]:.3f} in training"})
            saved = time.monotonic()


if __name__ == "__main__":
    main()
