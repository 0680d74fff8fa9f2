"""ReferFormer's parity fixture.

Weights by recipe, inputs from its arrays, and our value of every array in it.

The folder is that of `parity_fixture`. Sizes of inputs and of the text encoder are read off the
arrays, so that another fixture of the same form runs the same tests.
"""

from __future__ import annotations

import functools
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import Tensor

from losh.inference.streams import best_query
from losh.layers.boxes import boxes_of_masks
from losh.layers.deformable import Pyramid
from losh.layers.transformer import sine_position
from losh.model.build import build_model
from losh.model.checkpoint import text_encoder_from
from losh.model.criterion import Criterion
from losh.model.losh import LoSh
from losh.model.structures import Clips, FrameSizes, LoShOutput, Targets, TextIds, Tokens
from losh.params import ModelParams
from losh.pipelines.referformer.parameters import Parameters
from losh.pipelines.referformer.released import RELEASED_FORMAT
from losh.testing.parity_fixture import FOLDER
from losh.testing.small_models import consistency_params, loss_params

FILE = FOLDER / "referformer_parity.npz"
needs_fixture = pytest.mark.skipif(
    not FILE.is_file(), reason=f"no parity fixture: {FILE} is missing (set LOSH_PARITY_DIR)"
)
ATOL = RTOL = 1e-5  # the note's suggestion, RTOL times the largest value of an array
CASES = ("A", "B", "C", "L")
MODEL = {
    "base": "referformer",
    "backbone": {"name": "video_swin_t", "checkpoint": None},
    "text_encoder": "roberta",
    "short_stream": False,
    "cross_attention": False,
    "cross_attention_blocks": 1,
    "cross_attention_place": "inside",
}
LOSSES = {"reference": 2.0, "box": 5.0, "giou": 2.0, "focal": 2.0, "dice": 5.0}
PIPELINE = {
    "d_model": 256,
    "num_heads": 8,
    "ffn_dim": 2048,
    "dropout": 0.1,
    "encoder_layers": 4,
    "decoder_layers": 4,
    "num_queries": 5,
    "feature_levels": 4,
    "points": 4,
    "mask_layers": 3,
    "mask_channels": 8,
    "losses": LOSSES,
}
LOSS_NAMES = {
    "loss_ce": "reference",
    "loss_bbox": "box",
    "loss_giou": "giou",
    "loss_mask": "focal",
    "loss_dice": "dice",
}
SCALES = [  # start, end of a released name: the spread of its recipe
    ("", "sampling_offsets.bias", 1.0),
    ("", "query_embed.weight", 1.0),
    ("", "level_embed", 1.0),
    ("", "relative_position_bias_table", 0.5),
    ("", "in_proj_weight", 0.06),
    ("", "attention_weights.weight", 0.06),
    ("controller.", ".weight", 0.03),
]


@functools.cache
def arrays() -> dict[str, np.ndarray]:
    with np.load(FILE) as file:
        return {name: file[name] for name in file.files}


def recipe(key: str, shape: tuple[int, ...]) -> Tensor:
    """Draw the fixture's weights: each released key seeds its own draw."""
    z = np.random.RandomState(zlib.crc32(key.encode()) & 0xFFFFFFFF).standard_normal(shape)
    if len(shape) == 1 and key.endswith(".weight"):
        return torch.from_numpy((1 + 0.02 * z).astype(np.float32))
    for start, end, scale in SCALES:
        if key.startswith(start) and key.endswith(end):
            return torch.from_numpy((scale * z).astype(np.float32))
    return torch.from_numpy((0.02 * z).astype(np.float32))


@functools.cache
def parity_model() -> LoSh:
    """Return the released model in eval mode with the recipe's weights.

    It is shared: do not change it.
    """
    config = {"model_type": "roberta", **json.loads(str(arrays()["meta/json"]))["roberta"]}
    encoder = text_encoder_from(config, pooled=True)
    params = ModelParams.model_validate(MODEL)
    model = build_model(params, Parameters.model_validate(PIPELINE), encoder)
    state = {
        name: recipe(RELEASED_FORMAT.released_name(name), tuple(value.shape))
        for name, value in model.state_dict().items()
    }
    model.load_state_dict(state)
    return model.eval()


@dataclass
class Case:
    """Inputs of one case."""

    clips: Clips
    text: TextIds
    sizes: list[tuple[int, int]]


@functools.cache
def case_inputs(case: str) -> Case:
    """Return a case's inputs.

    A and L: one clip. B: clips of several sizes, padded. C: A's clip, one frame of it kept.
    """
    data = arrays()
    source = "B" if case == "B" else "A"
    sizes = [(int(h), int(w)) for h, w in data[f"{source}/in/size"]]
    if case == "B":
        videos = [torch.from_numpy(data[f"B/in/video{i}"]) for i in range(len(sizes))]
        ids = [torch.from_numpy(data[f"B/in/text_ids{i}"]) for i in range(len(sizes))]
    else:
        videos, ids = (
            list(torch.from_numpy(data["A/in/video"])),
            [torch.from_numpy(one) for one in data["A/in/text_ids"]],
        )
    height, width = (max(size[axis] for size in sizes) for axis in (0, 1))
    frames = torch.zeros(len(videos), len(videos[0]), 3, height, width)
    pad = torch.ones(len(videos), len(videos[0]), height, width, dtype=torch.bool)
    for b, video in enumerate(videos):
        frames[b, :, :, : video.shape[2], : video.shape[3]] = video
        pad[b, :, : video.shape[2], : video.shape[3]] = False
    length = max(len(one) for one in ids)
    tokens = torch.stack([torch.nn.functional.pad(x, (0, length - len(x)), value=1) for x in ids])
    mask = torch.stack([(torch.arange(length) < len(x)).long() for x in ids])
    kept = torch.tensor([kept_frame()]) if case == "C" else torch.arange(frames.shape[1])
    annotated = kept.expand(len(videos), -1)
    return Case(Clips(frames, pad, annotated), TextIds(tokens, mask), sizes)


def kept_frame() -> int:
    """Return the annotated frame of case C; the fixture's note names it, its arrays do not."""
    return int(arrays().get("C/in/valid_indices", np.array([1])).reshape(-1)[0])


@dataclass
class Run:
    """An output with what happened on the way to it, by the fixture's names."""

    output: LoShOutput
    middle: dict[str, Tensor] = field(default_factory=dict)


def traced(model: LoSh, inputs: Case) -> Run:
    """Run the model through its own `forward`, keeping the intermediate results."""
    base, middle, tokens = model.base, {}, []
    counts: dict[str, int] = {}

    def keep(name: str, value: Tensor) -> None:
        middle[f"{name}#{counts.setdefault(name, 0)}"] = value
        counts[name] += 1

    def keep_text(out: object) -> None:
        keep("text.last_hidden_state", out.last_hidden_state)
        keep("text.pooler_output", out.pooler_output)

    def keep_decoded(layers: list) -> None:
        keep("decoder.hs", torch.stack([layer.states for layer in layers]))
        keep("decoder.inter_references", torch.stack([layer.boxes for layer in layers]))

    watched = {
        base.text_encoder.model: keep_text,
        base.text_projection: lambda out: keep("resizer", out),
        base.fusion: lambda out: keep("fusion", by_token(out, len(inputs.sizes))),
        base.encoder: lambda out: keep("encoder", out),
        base.decoder: keep_decoded,
        base.class_heads[-1]: lambda out: keep("class_embed.last", out),
        base.pixel_decoder: lambda out: keep("mask_features", out),
        base.controller: lambda out: keep("controller", out),
        base.reference_points: lambda out: keep("decoder.init_reference", out.sigmoid()),
    }
    for i, part in enumerate(base.input_projections.levels):
        watched[part] = functools.partial(keep, f"input_proj.{i}")
    for i, layer in enumerate(base.encoder.layers):
        watched[layer] = functools.partial(keep, f"encoder.layers.{i}")
    for i, level in enumerate(base.pixel_decoder.levels):
        watched[level] = functools.partial(keep, f"pixel_decoder.layer_{i + 1}")
        watched[level.block] = lambda out, i=i: keep(
            f"pixel_decoder.cross_attn_{i + 1}", out.permute(1, 3, 4, 0, 2).flatten(0, 2)
        )
    hooks = [
        part.register_forward_hook(lambda _, __, out, see=see: see(out))
        for part, see in watched.items()
    ]
    fuse = base.fuse
    base.fuse = lambda *args: tokens.append(fuse(*args)) or tokens[-1]
    try:
        output = model(inputs.clips, inputs.text)
    finally:
        del base.fuse
        for hook in hooks:
            hook.remove()
    middle.update(feature_maps(output))
    middle.update(encoder_inputs(tokens[0], middle["encoder#0"]))
    return Run(output, middle)


def by_token(x: Tensor, clips: int) -> Tensor:
    """Return maps [M, C, h, w] as the reference's tokens [K * h * w, B, C]."""
    return x.unflatten(0, (clips, -1)).permute(1, 3, 4, 0, 2).flatten(0, 2)


def feature_maps(output: LoShOutput) -> dict[str, Tensor]:
    """Return the backbone's levels of all frames, with their masks and position codes."""
    found = {}
    for i, (level, pad) in enumerate(zip(output.video.levels, output.video.pads, strict=True)):
        pad = pad.flatten(0, 1)
        found[f"backbone.level{i}#0"] = level.flatten(0, 1)
        found[f"backbone.mask{i}#0"] = pad
        found[f"backbone.pos{i}#0"] = sine_position(pad, PIPELINE["d_model"], offset=-0.5)
    return found


def encoder_inputs(tokens: Tokens, memory: Tensor) -> dict[str, Tensor]:
    """Return what the encoder reads, and its levels but the coarsest as maps."""
    pyramid = Pyramid.of(tokens.pad, tokens.shapes)
    maps = pyramid.split(memory)[:-1]
    return {
        "encoder_in.src#0": tokens.x,
        "encoder_in.pos#0": tokens.pos,
        "encoder_in.padding_mask#0": tokens.pad,
        "encoder_in.valid_ratios#0": pyramid.valid,
        **{f"memory.level{i}#0": x for i, x in enumerate(maps)},
    }


@functools.cache
def case_run(case: str) -> Run:
    with torch.no_grad():
        return traced(parity_model(), case_inputs(case))


@functools.cache
def loss_values() -> dict[str, float]:
    """Return the unweighted losses and the weighted total of case L, by the fixture's names.

    With them come the matched queries of the last layer, then of the others.
    """
    data, output = arrays(), case_run("L").output
    targets = [
        Targets(
            torch.from_numpy(data["L/in/masks"]).bool()[None],
            0,
            torch.from_numpy(data["L/in/valid"]).bool(),
        )
    ]
    criterion = Criterion(
        parity_model().base, loss_params(intersection=0.0, consistency=0.0), consistency_params()
    )
    losses = criterion(output, targets)
    found = {"loss/TOTAL": losses["total"]}
    layers = range(len(output.long) - 1)
    for theirs, ours in LOSS_NAMES.items():
        found[f"loss/{theirs}"] = losses[ours]
        found |= {f"loss/{theirs}_{i}": losses[f"{ours}_{i}"] for i in layers}
    matches = [criterion.match(output, targets, layer)[0][0] for layer in (-1, *layers)]
    found["loss/selected_query_main_then_aux"] = torch.cat(matches)
    return found


def outputs(case: str) -> dict[str, Tensor]:
    """Return the model's outputs by the fixture's names."""
    *earlier, last = case_run(case).output.long
    found = {
        f"{case}/out/pred_logits": last.scores,
        f"{case}/out/all_query_logits": last.scores,
        f"{case}/out/pred_boxes": last.boxes,
        f"{case}/out/pred_masks": last.masks,
        # The centres after the last layer but one.
        f"{case}/out/reference_points": earlier[-1].boxes[..., :2],
    }
    for i, layer in enumerate(earlier):
        found[f"{case}/out/aux{i}.pred_logits"] = layer.scores
        found[f"{case}/out/aux{i}.pred_boxes"] = layer.boxes
        found[f"{case}/out/aux{i}.pred_masks"] = layer.masks
    return found


def inference(case: str) -> dict[str, Tensor]:
    """Return the choice of a query, and for A its masks.

    The masks are those after the steps of the inference script, at 5/4 of the input's size.
    """
    base, last = parity_model().base, case_run(case).output.long[-1]
    best = best_query(base.referred_prob(last))
    found = {f"{case}/post/best_query_per_video": best}
    if case != "A":
        return found
    size = case_inputs(case).sizes[0]
    enlarged = (size[0] * 5 // 4, size[1] * 5 // 4)
    rule, sizes = base.mask_rule("youtube_vos"), FrameSizes(size, size, enlarged)
    probabilities = rule.probabilities(last.masks[0, :, int(best[0])], sizes)
    masks = rule.masks(probabilities, sizes, 0.5)
    return found | {
        f"{case}/post/selected_query": best[0],
        f"{case}/post/prob_resized5_4_mean_per_frame": probabilities.mean((1, 2)),
        f"{case}/post/fg_pixels_per_frame": masks.sum((1, 2)),
    }


def stats(x: Tensor) -> np.ndarray:
    """Mean, population standard deviation, largest and mean absolute value, in float64."""
    x = x.detach().double()
    return np.array(
        [float(v) for v in (x.mean(), x.std(correction=0), x.abs().max(), x.abs().mean())]
    )


def probe(x: Tensor) -> Tensor:
    """64 values spread over the tensor, as the fixture takes them."""
    flat = x.reshape(-1)
    return flat[:: max(1, flat.numel() // 64)][:64]


def compared(case: str) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Every array of a case that the fixture has: (name, expected, ours)."""
    data = arrays()
    ours: dict[str, object] = {**outputs(case), **inference(case)}
    for name, value in case_run(case).middle.items():
        ours[f"{case}/shape/{name}"] = np.array(value.shape)
        ours[f"{case}/stat/{name}"] = stats(value)
        ours[f"{case}/probe/{name}"] = probe(value)
        ours[f"{case}/full/{name}"] = value
    if case == "L":
        masks = torch.from_numpy(data["L/in/masks"]).bool()
        ours |= {**loss_values(), "L/in/boxes": boxes_of_masks(masks)}
    for name in data:
        if name in ours:
            value = ours[name]
            array = value.detach().numpy() if isinstance(value, Tensor) else np.asarray(value)
            yield name, data[name], array


def excess(expected: np.ndarray, ours: np.ndarray) -> float:
    """By how many times the tolerance the two differ."""
    assert expected.shape == ours.shape, f"{ours.shape}, not {expected.shape}"
    expected, ours = expected.astype(np.float64), ours.astype(np.float64)
    difference = np.abs(expected - ours).max(initial=0)
    return float(difference / (ATOL + RTOL * np.abs(expected).max(initial=0)))
