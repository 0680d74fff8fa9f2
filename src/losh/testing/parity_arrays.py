"""Our value of every array of a parity case, with the tolerance that the fixture suggests."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from losh.inference.streams import joint_probabilities, predictions
from losh.model.structures import FrameSizes, size_of
from losh.pipelines.mttr.released import RELEASED_FORMAT
from losh.testing.parity_fixture import (
    LOSS_NAMES,
    RECIPES,
    arrays,
    case_inputs,
    case_run,
    criterion,
    parity_model,
)

# Absolute tolerances of the fixture's section 8; where it names no row for an array, that of its
# nearest neighbour.
TOLERANCES = {
    "A": {
        "masks": 2e-6,
        "scores": 2e-6,
        "memory": 2e-5,
        "loss": 1e-5,
        "total": 1e-4,
        "cost": 1e-3,
        "stage": 2e-5,
        "text": 1e-5,
    },
    "B": {
        "masks": 2e-4,
        "scores": 1e-4,
        "memory": 1e-4,
        "loss": 1e-4,
        "total": 1e-3,
        "cost": 1e-3,
        "stage": 1e-4,
        "text": 1e-4,
    },
}
HS, DECODED, POST_SCORES = 2e-4, 5e-5, 1e-5
STATS = 2e-4  # of [mean, std, largest] in float64: the largest is one element, so as for arrays
ORIGINAL_SIZES = [(80, 120), (90, 113)]  # of the fixture's section 7; the arrays do not hold them
# zero in theory: all queries start alike
NO_GRADIENT = "transformer.decoder.layers.0.self_attn.in_proj_weight"

Ours = tuple[str, np.ndarray | Tensor, float]
"""(array, our value, tolerance)."""
Compared = tuple[str, np.ndarray, np.ndarray, float]
"""(array, expected, ours, tolerance)."""


def stats(x: Tensor) -> np.ndarray:
    x = x.detach().double()
    return np.array([float(x.mean()), float(x.std(correction=0)), float(x.abs().max())])


def time_major(x: Tensor) -> Tensor:
    """[B, K, ...] -> [K, B, ...]."""
    return x.transpose(0, 1)


def columns(case: str, x: Tensor) -> Tensor:
    """Rows of ours (stream, clip, frame) -> the reference's (stream, frame, clip), [M, ...]."""
    clips, frames = case_inputs(case).clips.annotated.shape
    return x.unflatten(0, (-1, clips, frames)).transpose(1, 2).flatten(0, 2)


def tolerance(case: str, kind: str) -> float:
    return TOLERANCES["A" if case == "A" else "B"][kind]


def video_arrays(case: str) -> Iterator[Ours]:
    run, annotated = case_run(case), case_inputs(case).clips.annotated
    kept, atol = run.output.video.select(annotated), tolerance(case, "stage")
    for i, (level, sub) in enumerate(zip(run.output.video.levels, (4, 2, 1), strict=True)):
        level = time_major(level)
        yield f"stage{i}_stats", stats(level), STATS
        yield f"stage{i}_frame_stats", np.stack([[stats(x) for x in row] for row in level]), STATS
        mask, features = time_major(kept.pads[i]), time_major(kept.levels[i])
        if annotated.shape[1] == 1:
            yield f"stage{i}_mask_valid", mask[0], 0
            yield (
                (f"stage{i}_valid_sub" if sub > 1 else f"stage{i}_valid"),
                features[0, :, :, ::sub, ::sub],
                atol,
            )
        else:
            yield f"stage{i}_mask_valid", mask, 0


def text_arrays(case: str) -> Iterator[Ours]:
    run, atol = case_run(case), tolerance(case, "text")
    for which, raw, words in zip(("long", "short"), run.raw_text, run.words, strict=True):
        yield f"text_{which}", raw.words, atol
        yield f"txt_proj_{which}_stats", stats(words), STATS


def encoder_arrays(case: str) -> Iterator[Ours]:
    run = case_run(case)
    tokens, memory = run.tokens[0], columns(case, run.memory[0])
    mask, pos = columns(case, tokens.pad), columns(case, tokens.pos)
    once = run.visual[0]
    yield "vid_embeds_stats", stats(once), STATS
    yield "enc_mask", mask, 0
    yield "enc_pos_stats", stats(pos), 1e-6
    yield "enc_pos_vid_sub", pos[:, : tokens.n_visual : 5, ::16].transpose(0, 1), 1e-5
    yield "memory_stats", stats(memory), STATS
    # Padded positions reach no output; the reference's need not be ours.
    yield "memory", (memory * ~mask[..., None]).transpose(0, 1), tolerance(case, "memory")


def decoder_arrays(case: str) -> Iterator[Ours]:
    run = case_run(case)
    states = [columns(case, x) for x in run.states]
    yield "hs_last", states[-1].transpose(0, 1), HS
    yield "hs_stats", np.stack([stats(x) for x in states]), STATS
    yield "decoded", run.decoded[0], DECODED  # one annotated frame: (stream, clip) either way
    yield "decoded_stats", stats(run.decoded[0]), STATS
    yield "kernels_last", columns(case, run.kernels[0][-1])[None], HS


def head_arrays(case: str) -> Iterator[Ours]:
    output = case_run(case).output
    assert output.short is not None, "the fixture's model has a short stream"
    for which, layers in (("long", output.long), ("short", output.short)):
        yield f"{which}_pred_masks", time_major(layers[-1].masks), tolerance(case, "masks")
        yield f"{which}_pred_is_referred", time_major(layers[-1].scores), tolerance(case, "scores")
        for i in range(len(layers) - 1):
            yield (
                f"{which}_aux{i}_pred_is_referred",
                time_major(layers[i].scores),
                tolerance(case, "scores"),
            )
            yield f"{which}_aux{i}_pred_masks_stats", stats(layers[i].masks), STATS


def matching_arrays(case: str) -> Iterator[Ours]:
    output, targets = case_run(case).output, case_inputs(case).targets
    for layer in range(len(output.long)):
        name = "last" if layer == len(output.long) - 1 else f"aux{layer}"
        costs = criterion()._costs(output, targets, layer)
        for b, (cost, (query, instance)) in enumerate(
            zip(costs, criterion().match(output, targets, layer), strict=True)
        ):
            yield f"cost_{name}_b{b}", cost, tolerance(case, "cost")
            if case != "A":  # all queries are alike under recipe A, so noise decides
                yield f"match_{name}_b{b}_src", query, 0
                yield f"match_{name}_b{b}_tgt", instance, 0


def loss_arrays(case: str) -> Iterator[Ours]:
    losses = criterion()(case_run(case).output, case_inputs(case).targets)
    names = arrays()[f"{case}.loss_names"]
    ours = []
    for name in names:
        stem, suffix = (name[:-2], name[-2:]) if name[-2] == "_" else (name, "")
        ours.append(float(losses[LOSS_NAMES[stem] + suffix]))
    yield "loss_values", np.array(ours), tolerance(case, "loss")
    yield "loss_total", np.array(float(losses["total"])), tolerance(case, "total")


def gradient_norms(case: str) -> dict[str, float]:
    """L2 norm of each gradient by the released name, in eval mode, the text encoder frozen."""
    model, inputs = parity_model("A" if case == "A" else "B"), case_inputs(case)
    model.zero_grad()
    criterion()(model(inputs.clips, inputs.long, inputs.short), inputs.targets)["total"].backward()
    norms = {
        theirs: float(p.grad.double().norm())
        for name, p in model.named_parameters()
        if p.grad is not None and (theirs := RELEASED_FORMAT.released_name(name)) is not None
    }
    model.zero_grad()
    return norms


def post_arrays(case: str) -> Iterator[Ours]:
    output, targets = case_run(case).output, case_inputs(case).targets
    base = parity_model(RECIPES[case]).base
    found = predictions(base, output, "long")
    yield "post_scores", torch.stack([one.scores[0] for one in found]), POST_SCORES
    areas, rule = [], base.mask_rule("a2d")
    for one, target, original in zip(found, targets, ORIGINAL_SIZES, strict=False):
        sizes = FrameSizes(output.video.size, size_of(target.masks.shape[-2:]), original)
        probabilities = joint_probabilities([x[0] for x in one.logits], "long", rule, sizes)
        areas.append(rule.masks(probabilities, sizes, 0.5).sum((1, 2)))
    yield "post_area", torch.stack(areas), 3  # pixels


GROUPS = {
    "video": video_arrays,
    "text": text_arrays,
    "encoder": encoder_arrays,
    "decoder": decoder_arrays,
    "heads": head_arrays,
    "matching": matching_arrays,
    "losses": loss_arrays,
    "post": post_arrays,
}


@functools.cache
def compared(case: str, group: str) -> list[Compared]:
    """Return the arrays of a group that the fixture has for this case."""
    found = []
    for name, value, atol in GROUPS[group](case):
        expected = arrays().get(f"{case}.{name}")
        if expected is None:
            continue
        ours = value.detach().numpy() if isinstance(value, Tensor) else np.asarray(value)
        if name == "memory":
            expected = expected * ~arrays()[f"{case}.enc_mask"].T[..., None]
        found.append((name, expected, ours, atol))
    return found


def largest_difference(expected: np.ndarray, ours: np.ndarray) -> float:
    assert expected.shape == ours.shape, f"{ours.shape}, not {expected.shape}"
    return float(np.abs(expected.astype(np.float64) - ours.astype(np.float64)).max(initial=0))
