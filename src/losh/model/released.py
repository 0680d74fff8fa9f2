"""Checkpoints of the released code: their names <-> ours, in both directions and to the bit.

A released file is a `torch.save` of a dict whose `model_state_dict` holds the weights (or the
weights alone). Fine-tuned copies may carry DistributedDataParallel's prefix `module.`; files
written with transformers before 4.31 hold one integer buffer more.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from losh.backbones.video_swin_blocks import relative_position_index
from losh.errors import UserError
from losh.model.checkpoint import load_model, model_from, save_model
from losh.model.losh import LoSh
from losh.pipelines.mttr.released import INPUT, infer_params, infer_text_config
from losh.runtime.torch_files import UNREADABLE, load_tensors, reason_of

POSITION_IDS = "transformer.text_encoder.embeddings.position_ids"
TABLE, INDEX = "relative_position_bias_table", "relative_position_index"
# (pattern of our name, pattern of the released name); `#` is a number, `#+1` the number plus one
RENAMES = [
    ("base.backbone.", "backbone."),
    ("base.text_encoder.model.", "transformer.text_encoder."),
    ("base.encoder.#.", "transformer.encoder.layers.#."),
    ("base.decoder.#.cross_attn.", "transformer.decoder.layers.#.multihead_attn."),
    ("base.decoder.#.", "transformer.decoder.layers.#."),
    ("base.decoder_norm.", "transformer.decoder.norm."),
    ("base.text_projection.fc.", "transformer.txt_proj.fc."),
    ("base.text_projection.norm.", "transformer.txt_proj.layer_norm."),
    ("base.queries.", "obj_queries."),
    ("base.video_projection.", "vid_embed_proj."),
    ("base.reference_head.", "is_referred_head."),
    ("base.kernel_head.0.", "instance_kernels_head.layers.0."),
    ("base.kernel_head.2.", "instance_kernels_head.layers.1."),
    ("base.spatial_decoder.convs.#.", "spatial_decoder.lay#+1."),
    ("base.spatial_decoder.norms.#.", "spatial_decoder.gn#+1."),
    ("base.spatial_decoder.adapters.#.", "spatial_decoder.adapter#+1."),
    ("base.spatial_decoder.out.", "spatial_decoder.out_lay."),
]

MOTION = "base.backbone.motion."


def released_name(name: str) -> str | None:
    """The released code's name of one of our parameters; None for what it does not have
    (cross-attention, the motion branch).
    """
    if name.startswith(MOTION):
        return None
    for ours, theirs in RENAMES:
        match = re.match(re.escape(ours).replace(r"\#", r"(\d+)"), name)
        if match:
            numbers = [int(n) for n in match.groups()]
            start = (
                theirs.replace("#+1", str(numbers[0] + 1)).replace("#", str(numbers[0]))
                if numbers
                else theirs
            )
            return start + name[match.end() :]
    return None


def read_released(path: Path) -> dict[str, Tensor]:
    """The weights of a released checkpoint file, on the CPU, with the released names.

    Raises:
        UserError: a missing file, or one that is no checkpoint. Nothing but tensors and plain
            values is unpickled.
    """
    try:
        content = load_tensors(path, mmap=True)
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except UNREADABLE as error:
        reason = reason_of(error)
        raise UserError(
            f"{path} is no checkpoint that can be read safely ({reason})",
            "Give a file of the released code",
        ) from None
    return bare(content, str(path))


def bare(content: Any, where: str = "the checkpoint") -> dict[str, Tensor]:
    """The weights of a checkpoint's content: out of `model_state_dict`, and without the prefix
    `module.`.
    """
    state = content.get("model_state_dict", content) if isinstance(content, dict) else None
    if (
        not isinstance(state, dict)
        or not state
        or not all(isinstance(v, Tensor) for v in state.values())
    ):
        raise UserError(
            f"{where} holds no state dict",
            "Give a file with `model_state_dict`, or the weights alone",
        )
    return {name.removeprefix("module."): value for name, value in state.items()}


def import_released(
    source: Path | dict[str, Any], text_config: dict[str, Any] | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A released checkpoint as our state dict, and the configuration that it was made with.

    Args:
        source: the file, or its content.
        text_config: the text encoder's Hugging Face configuration; None: RoBERTa of the sizes found
            (heads of 64 channels).

    Returns:
        Our state dict, and {"model": the `model` section, "text_encoder_config": the Hugging Face
        configuration}.

    Raises:
        UserError: keys that are missing, surplus or of another shape, all of them listed.
    """
    state = read_released(source) if isinstance(source, Path) else bare(source)
    position_ids = state.pop(POSITION_IDS, torch.arange(0))
    if not torch.equal(position_ids.flatten(), torch.arange(position_ids.numel())):
        raise UserError(
            f"the checkpoint counts words in another way: {POSITION_IDS}",
            "It was not made by the released code",
        )
    indexes = {name: state.pop(name) for name in list(state) if name.endswith(INDEX)}
    config = infer_params(state, indexes, text_config or infer_text_config(state))
    wanted = _blank(config).state_dict()
    names = {released_name(name): name for name in wanted}
    index = relative_position_index(tuple(config["model"]["backbone"]["window_size"]))
    shapes = {theirs: tuple(wanted[ours].shape) for theirs, ours in names.items()}
    shapes |= {
        name.replace(TABLE, INDEX): tuple(index.shape) for name in shapes if name.endswith(TABLE)
    }
    _check({**state, **indexes}, shapes)
    # A function of the window: where a file's own differ, its bias tables mean something else than
    # ours.
    wrong = [name for name, value in indexes.items() if not torch.equal(value.long(), index)]
    if wrong:
        raise UserError(
            f"the checkpoint orders its window positions in another way: {', '.join(wrong)}",
            "It was not made by the released code",
        )
    return {names[name]: value.float() for name, value in state.items()}, config


def export_released(model: LoSh) -> dict[str, Tensor]:
    """The model's weights with the released names, with the integer buffers that the released code
    keeps.

    Raises:
        UserError: a model with cross-attention or a motion branch, which the released format has
            no place for, or without a Video-Swin.
    """
    state = {}
    for name, value in model.state_dict().items():
        theirs = released_name(name)
        if theirs is None:
            raise UserError(
                f"the released format has no place for {name}",
                "Export a model trained with model.cross_attention: false and "
                "model.backbone.motion_channels: 0",
            )
        state[theirs] = value
        if theirs.endswith(TABLE):
            attention = model.get_submodule(name.rpartition(".")[0])
            state[theirs.replace(TABLE, INDEX)] = relative_position_index(attention.window)
    if not any(name.endswith(INDEX) for name in state):
        raise UserError(
            "the released format knows no backbone but Video-Swin",
            "Export a model with a Video-Swin backbone",
        )
    return state


def import_checkpoint(
    source: Path,
    out: Path,
    window: int = INPUT["window"],
    short_side: int = INPUT["short_side"],
    long_side: int = INPUT["long_side"],
) -> None:
    """Convert a released checkpoint file to our model file (`losh import-checkpoint`).

    The released format does not say what it was trained on: frames of a window and the sides of its
    input, in pixels, are given; the defaults are those published for A2D-Sentences.
    """
    state, config = import_released(source)
    sizes = {"window": window, "short_side": short_side, "long_side": long_side}
    config |= {**sizes, "resize_filter": "pil_bilinear"}
    model = _blank(config)
    model.load_state_dict(state, assign=True)
    save_model(out, model, config)


def export_checkpoint(source: Path, out: Path) -> None:
    """Convert our model file to a released checkpoint file (`losh export-checkpoint`)."""
    from losh.runtime.files import atomic_write

    model, _ = load_model(source, tokenizer=False)
    with atomic_write(out) as part:
        torch.save({"model_state_dict": export_released(model)}, part)


def _blank(config: dict[str, Any]) -> LoSh:
    """A model without storage: its names and shapes, to be filled by assignment."""
    with torch.device("meta"):
        return model_from(config)


def _check(state: dict[str, Tensor], wanted: dict[str, tuple[int, ...]]) -> None:
    """Refuse a state dict that is not exactly what the model takes."""
    faults = [f"missing {name}" for name in wanted if name not in state]
    faults += [f"surplus {name}" for name in state if name not in wanted]
    faults += [
        f"{name} is {list(state[name].shape)}, not {list(shape)}"
        for name, shape in wanted.items()
        if name in state and state[name].shape != shape
    ]
    if faults:
        raise UserError(
            f"the checkpoint does not fit LoSh on MTTR ({len(faults)} keys): "
            + "; ".join(sorted(faults))
        )
