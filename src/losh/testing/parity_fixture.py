"""The parity fixture: weights by recipe, inputs from its arrays, and our model run on them.

The folder comes from LOSH_PARITY_DIR, else `../shared/parity` beside the repository. Sizes are read
off the arrays, so that another fixture of the same form (other draws, sizes, numbers of frames)
runs the same tests.
"""

from __future__ import annotations

import functools
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from losh.model.build import build_model
from losh.model.checkpoint import text_encoder_from
from losh.model.criterion import Criterion
from losh.model.losh import LoSh
from losh.model.structures import Clips, LoShOutput, Targets, TextFeats, TextIds, Tokens
from losh.params import ModelParams
from losh.pipelines import parameters_class
from losh.pipelines.mttr.released import RELEASED_FORMAT
from losh.testing.small_models import LOSSES as STREAM_LOSSES
from losh.testing.small_models import consistency_params, loss_params, roberta_config

FOLDER = Path(os.environ.get("LOSH_PARITY_DIR") or Path(__file__).parents[4] / "shared" / "parity")
FILE = FOLDER / "losh_mttr_parity.npz"
needs_fixture = pytest.mark.skipif(
    not FILE.is_file(), reason=f"no parity fixture: {FILE} is missing (set LOSH_PARITY_DIR)"
)

TEXT_CONFIG = roberta_config(200, 64, layers=2, heads=4, ffn=128, positions=514)
MODEL = {
    "base": "mttr",
    "backbone": {"name": "video_swin_t", "checkpoint": None, "window_size": [8, 7, 7]},
    "text_encoder": "roberta",
    "short_stream": True,
    "cross_attention": False,
    "cross_attention_blocks": 1,
    "cross_attention_place": "inside",
}
MTTR = {
    "d_model": 256,
    "num_heads": 8,
    "ffn_dim": 2048,
    "dropout": 0.1,
    "encoder_layers": 3,
    "decoder_layers": 3,
    "num_queries": 50,
    "kernel_dim": 8,
    "losses": STREAM_LOSSES,
}
LOSSES = loss_params(consistency=0.0)
CONSISTENCY = consistency_params(levels=[2], occlusion=True)
INPUTS = {"A": "in", "B": "in", "Cfix": "Cin"}
RECIPES = {"A": "A", "B": "B", "Cfix": "B"}
LOSS_NAMES = {
    "loss_sigmoid_focal": "focal",
    "loss_dice": "dice",
    "loss_is_referred": "reference",
    "loss_conditioned_iou": "intersection",
}


@functools.cache
def arrays() -> dict[str, np.ndarray]:
    with np.load(FILE) as file:
        return {name: file[name] for name in file.files}


def recipe(kind: str, key: str, shape: tuple[int, ...]) -> Tensor:
    """Return the fixture's weights: each released key seeds its own draw."""
    z = np.random.RandomState(zlib.crc32(key.encode()) & 0xFFFFFFFF).standard_normal(shape)
    gain = len(shape) == 1 and key.endswith(".weight")
    if kind == "A":
        w = 1.0 + 0.02 * z if gain else 0.02 * z
    elif len(shape) == 1:
        w = 1.0 + 0.1 * z if gain else 0.1 * z
    elif key == "obj_queries.weight":
        w = 4.0 * z
    elif key.endswith(("embeddings.weight", "relative_position_bias_table")):
        w = z
    elif key.endswith("in_proj_weight"):
        w = 2.0 * z / np.sqrt(float(shape[1]))
    else:
        w = z / np.sqrt(float(np.prod(shape[1:])))
    return torch.from_numpy(w.astype(np.float32))


@functools.cache
def parity_model(kind: str) -> LoSh:
    """Return the released model with the weights of recipe A or B, in eval mode.

    Its text encoder is frozen. It is shared: do not change it.
    """
    model = build_model(
        ModelParams.model_validate(MODEL),
        parameters_class("mttr").model_validate(MTTR),
        text_encoder_from(TEXT_CONFIG),
    )
    state = model.state_dict()
    model.load_state_dict(
        {
            name: recipe(kind, RELEASED_FORMAT.released_name(name), tuple(value.shape))
            for name, value in state.items()
        }
    )
    model.base.text_encoder.requires_grad_(False)
    model.one_batch = True  # as the released code runs both streams: its arrays hold both
    return model.eval()


@dataclass
class Case:
    """Inputs of one case."""

    clips: Clips
    long: TextIds
    short: TextIds
    targets: list[Targets]


@functools.cache
def case_inputs(case: str) -> Case:
    data, prefix = arrays(), INPUTS[case]
    # [T, B, ...] -> [B, T, ...]
    frames = torch.from_numpy(data[f"{prefix}.frames"]).transpose(0, 1)
    pad = torch.from_numpy(data[f"{prefix}.pad_mask"]).transpose(0, 1)
    valid = torch.from_numpy(data[f"{prefix}.valid_indices"])
    clips = len(frames)
    long, short = (
        TextIds(
            torch.from_numpy(data[f"{prefix}.{which}_input_ids"]),
            torch.from_numpy(data[f"{prefix}.{which}_attention_mask"]),
        )
        for which in ("long", "short")
    )
    targets = []
    for b in range(clips):
        single = f"{prefix}.target{b}_masks"
        masks = (
            [data[single]]
            if single in data
            else [data[f"{prefix}.target{b}_t{t}_masks"] for t in range(len(valid))]
        )
        flags = data.get(f"{prefix}.is_ref_inst_visible", np.ones((len(valid), clips), bool))
        referred = int(data[f"{prefix}.referred_instance_idx"][b])
        targets.append(
            Targets(
                torch.from_numpy(np.stack(masks, 1)),
                referred,
                torch.from_numpy(flags[:, b].astype(bool)),
            )
        )
    inputs = Clips(frames.contiguous(), pad.contiguous(), valid.expand(clips, -1))
    return Case(inputs, long, short, targets)


@dataclass
class Run:
    """An output with what happened on the way to it."""

    output: LoShOutput
    raw_text: list[TextFeats] = field(default_factory=list)
    words: list[Tensor] = field(default_factory=list)
    visual: list[Tensor] = field(default_factory=list)
    tokens: list[Tokens] = field(default_factory=list)
    memory: list[Tensor] = field(default_factory=list)
    states: list[Tensor] = field(default_factory=list)
    decoded: list[Tensor] = field(default_factory=list)
    kernels: list[Tensor] = field(default_factory=list)


def traced(model: LoSh, inputs: Case) -> Run:
    """Run the model through its own `forward`, keeping the intermediate results."""
    base: Any = model.base  # MTTR, whose parts RVOSPipeline does not declare
    parts = {
        "raw_text": base.text_encoder,
        "words": base.text_projection,
        "visual": base.video_projection,
        "states": base.decoder_norm,
        "decoded": base.spatial_decoder,
        "kernels": base.kernel_head,
    }
    kept: dict[str, list[Any]] = {name: [] for name in (*parts, "tokens", "memory")}

    def keeping(name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            kept[name].append(step(*args))
            return kept[name][-1]

        return run

    hooks = [
        part.register_forward_hook(lambda _, __, out, name=name: kept[name].append(out))
        for name, part in parts.items()
    ]
    base.fuse, base.encode = keeping("tokens", base.fuse), keeping("memory", base.encode)
    try:
        output = model(inputs.clips, inputs.long, inputs.short)
    finally:
        del base.fuse, base.encode
        for hook in hooks:
            hook.remove()
    return Run(output, **kept)


@functools.cache
def case_run(case: str) -> Run:
    with torch.no_grad():
        return traced(parity_model(RECIPES[case]), case_inputs(case))


def criterion() -> Criterion:
    return Criterion(parity_model("A").base, LOSSES, CONSISTENCY)
