"""Train the embedded RAFT-small on generated pairs with exact flow; the package ships the result.

    python scripts/train_raft.py --out /tmp/raft_small.safetensors

Three phases, since RAFT's own loss alone is slow to begin with: the feature encoder learns to
match, the update block learns to find the way back from perturbed starts, then all learns together.
A killed run goes on where it stopped with the same command. The shipped weights are those of one
run with the options' defaults: 7,350 steps, 54 minutes on one thread of a 2.3 GHz Xeon. It learns
from flying patches at first and then more and more from MovingShapes, whose seeds here (100,000 on)
are neither the dataset's (1,000,000 on) nor those of measure_flow.py (900,000 on).
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import save_file
from tqdm import tqdm

from losh.errors import friendly
from losh.flow.flying_patches import render_pair
from losh.flow.raft import EMBEDDED, new_network, pad_images, run_network
from losh.flow.raft_losses import SharedEncoder, matching_loss, residual_loss, sequence_loss
from losh.media.resizing import resize_frame
from losh.moving_shapes.scene import RenderedClip, render_clip
from losh.runtime.files import atomic_write

FIRST_SEED = 100_000
SIZE = (120, 160)  # rows, columns: what the default runs at
CLIP = (96, 128)  # rows, columns of MovingShapes; enlarged to SIZE, as the flow stage enlarges them
MATCHING = 0.2  # weight of the matching loss beside RAFT's own
MOVING = 4.0  # how much more a moving pixel counts than a still one; falls to 0 in the last phase


def batch_at(
    step: int, batch: int, done: float, share: float, clips: ClipPool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the pairs of one step: images [B, 3, H, W] twice in 0 to 1, flows [B, 2, H, W].

    They follow from the arguments alone.

    MovingShapes moves by parts of RAFT's 8 px cells and stands still at most pixels: a fresh
    network learns nothing from it but to say zero. So the motions are large at first (16 px), and
    MovingShapes comes in bit by bit; `done` is the part of the training that is done.

    Each rendered pair is used in both directions: samples B/2 ... B-1 are the first half backwards.
    """
    rng = np.random.default_rng([1, step])
    share *= min(1.0, 3 * done)
    longest = 6 + 10 * max(0.0, 1 - 5 * done)
    firsts, seconds, forwards, backwards = [], [], [], []
    for item in range(batch // 2):
        if rng.random() < share:
            pair = clips.pair(rng)
        else:
            drawn = render_pair(FIRST_SEED + step * batch + item, *SIZE, longest)
            pair = drawn.first, drawn.second, drawn.forward, drawn.backward
        first, second, forward, backward = augment(rng, *pair)
        firsts.append(first)
        seconds.append(second)
        forwards.append(forward)
        backwards.append(backward)
    images = [
        torch.from_numpy(np.stack(side)).permute(0, 3, 1, 2).float() / 255
        for side in (firsts + seconds, seconds + firsts)
    ]
    return images[0], images[1], torch.from_numpy(np.stack(forwards + backwards)).float()


class ClipPool:
    """MovingShapes clips that are rendered when first asked for and kept.

    Rendering costs more than a training step.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.kept: dict[int, RenderedClip] = {}

    def pair(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Return two neighbouring frames and their flows there and back, enlarged to SIZE.

        uint8 [H, W, 3] and float32 [2, H, W].
        """
        seed = int(rng.integers(self.size))
        if seed not in self.kept:
            self.kept[seed] = render_clip(FIRST_SEED + seed, 16, *CLIP)
        clip = self.kept[seed]
        t = int(rng.integers(len(clip.frames) - 1))
        frames = [resize_frame(frame, SIZE) for frame in clip.frames[t : t + 2]]
        return *frames, *(enlarge(field) for field in (clip.flow_forward[t], clip.flow_backward[t]))


def enlarge(field: np.ndarray) -> np.ndarray:
    """Bring an exact flow of CLIP's size to SIZE, nearest neighbour.

    A mean over an object's edge is the motion of nothing.
    """
    grown = np.stack(
        [cv2.resize(part, SIZE[::-1], interpolation=cv2.INTER_NEAREST) for part in field]
    )
    return grown * np.array([SIZE[1] / CLIP[1], SIZE[0] / CLIP[0]], np.float32)[:, None, None]


def augment(
    rng: np.random.Generator,
    first: np.ndarray,
    second: np.ndarray,
    forward: np.ndarray,
    backward: np.ndarray,
) -> tuple[np.ndarray, ...]:
    """Apply flips, colours, noise and JPEG's artefacts.

    A flip mirrors the fields and negates their component.
    """
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
    images = [
        (image[..., order] * gain + shift + rng.normal(0, 1.5) * (rng.random() < 0.5)).astype(
            np.float32
        )
        for image in images
    ]
    if rng.random() < 0.3:
        images = [image + rng.normal(0, rng.uniform(0.5, 4), image.shape) for image in images]
    images = [np.clip(image, 0, 255).round().astype(np.uint8) for image in images]
    if rng.random() < 0.6:
        images = [_jpeg(image, int(rng.integers(60, 97))) for image in images]
    return (
        *(np.ascontiguousarray(image) for image in images),
        *(np.ascontiguousarray(field, np.float32) for field in fields),
    )


def _jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    return cv2.imdecode(
        cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR
    )


def rate_at(done: float) -> float:
    """Return the rate, 0 to 1: a rise over 3 % of a phase, then a cosine's fall to 1 %.

    A function of `done` alone, so resuming needs no state for it.
    """
    return (
        done / 0.03
        if done < 0.03
        else 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (done - 0.03) / 0.97))
    )


class Trainer:
    """The network, its optimizer and the three phases."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.phases = (
            ("matching", options.matching),
            ("residual", options.residual),
            ("joint", options.joint),
        )
        self.network = new_network("raft_small", options.iterations).train()
        self.encoder = self.network.fnet.forward = SharedEncoder(self.network.fnet.forward)
        others = [*self.network.cnet.parameters(), *self.network.update_block.parameters()]
        groups = [
            {"params": [*self.network.fnet.parameters()], "pace": 0.4},
            {"params": others, "pace": 1.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=options.rate, weight_decay=1e-5)
        self.clips = ClipPool(options.clips)
        self.step = 0
        if options.state.is_file():
            state = torch.load(options.state, weights_only=True)
            self.network.load_state_dict(state["network"])
            self.step = state["step"]
            if state["optimizer"]:
                self.optimizer.load_state_dict(state["optimizer"])

    @property
    def steps(self) -> int:
        """Steps of all phases together."""
        return sum(length for _, length in self.phases)

    def phase(self) -> tuple[str, float]:
        """Return the name of the present phase and which part of it is done."""
        start = 0
        for name, length in self.phases:
            if self.step < start + length:
                return name, (self.step - start) / length
            start += length
        return name, 1.0

    def advance(self) -> tuple[str, float, float, float]:
        """Do one step.

        Returns (phase, loss, end-point error in px where the phase has one else NaN, that of saying
        zero).
        """
        name, done = self.phase()
        torch.manual_seed(self.step)
        first, second, truth, loss, error = *self._batch(name, done), None, math.nan
        if name == "matching":
            loss = matching_loss(*self.encoder([2 * pad_images(first)[0] - 1]), truth, MOVING)
        elif name == "residual":
            loss = residual_loss(self.network, self.encoder, first, truth, MOVING)
        else:
            fields = run_network(self.network, first, second)
            moving = MOVING * (1 - done)
            loss = sequence_loss(fields, truth, moving) + MATCHING * matching_loss(
                *self.encoder.last, truth, moving
            )
            error = (fields[-1].detach() - truth).norm(dim=1).mean().item()
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.rate * group["pace"] * rate_at(done)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        if not torch.isfinite(norm):
            raise RuntimeError(f"step {self.step}: the gradient is not finite (loss {loss.item()})")
        self.optimizer.step()
        self.step += 1
        return name, loss.item(), error, truth.norm(dim=1).mean().item()

    def _batch(self, name: str, done: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Draw a batch.

        Matching sees large motions alone; the cheaper phases take twice as many pairs.
        """
        batch, share = self.options.batch, self.options.share
        if name == "matching":
            return batch_at(self.step, 2 * batch, 0.0, 0.0, self.clips)
        if name == "residual":
            return batch_at(self.step, 2 * batch, 0.25, 0.75 * share, self.clips)
        return batch_at(self.step, batch, 0.3 + 0.7 * done, share, self.clips)

    def save(self, error: float) -> None:
        """Write the state to resume from, and the weights with where they come from."""
        with atomic_write(self.options.state) as part:
            torch.save(
                {
                    "network": self.network.state_dict(),
                    "optimizer": self.optimizer.state_dict(),
                    "step": self.step,
                },
                part,
            )
        source = "trained by scripts/train_raft.py on generated clips"
        notes = {
            "source": source,
            "licence": "Apache-2.0",
            "model": "raft_small",
            "steps": str(self.step),
            "epe": f"{error:.3f} in training",
        }
        weights = {
            name: value.detach().clone().contiguous()
            for name, value in self.network.state_dict().items()
        }
        with atomic_write(self.options.out) as part:
            save_file(weights, part, {"losh": json.dumps(notes, sort_keys=True)})


@friendly
def main() -> None:
    """Train, resume, save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--matching", type=int, default=250, help="steps of the first phase")
    parser.add_argument("--residual", type=int, default=600, help="steps of the second phase")
    parser.add_argument("--joint", type=int, default=6500, help="steps of the last phase")
    parser.add_argument(
        "--batch",
        type=int,
        default=4,
        help="samples per step; even, since each pair is used both ways",
    )
    parser.add_argument(
        "--iterations", type=int, default=3, help="refinement steps in the last phase"
    )
    parser.add_argument(
        "--rate",
        type=float,
        default=1.3e-3,
        help="highest learning rate; the feature encoder's is 0.4 times that",
    )
    parser.add_argument(
        "--share", type=float, default=0.8, help="share of MovingShapes pairs late in training"
    )
    parser.add_argument(
        "--clips", type=int, default=400, help="MovingShapes clips to draw pairs from"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--state", type=Path, default=Path("scratch/train_raft/state.pt"))
    parser.add_argument("--out", type=Path, default=EMBEDDED["raft_small"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    torch.manual_seed(0)
    trainer = Trainer(options)
    means: dict[str, float] = {}
    saved = time.monotonic()
    with tqdm(initial=trainer.step, total=trainer.steps, unit="step", mininterval=10) as bar:
        while trainer.step < trainer.steps:
            name, *values = trainer.advance()
            for key, value in zip(("loss", "epe", "zero"), values, strict=True):
                before = means.get(key, math.nan)
                means[key] = value if math.isnan(before) else 0.98 * before + 0.02 * value
            bar.set_postfix(
                {key: f"{value:.3f}" for key, value in means.items()} | {"phase": name},
                refresh=False,
            )
            bar.update()
            if time.monotonic() - saved > 60 or trainer.step == trainer.steps:
                trainer.save(means["epe"])
                saved = time.monotonic()


if __name__ == "__main__":
    main()
