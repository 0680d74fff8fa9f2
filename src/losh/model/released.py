"""Checkpoints of the released code: their names <-> ours, in both directions and to the bit.

A released file is a `torch.save` of a dict that holds the weights under a key of the format's
(beside options, optimiser and the like), or of the weights alone. Fine-tuned copies may carry
DistributedDataParallel's prefix `module.`; files written with transformers before 4.31 hold one
integer buffer more.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from losh.backbones.attention_windows import relative_position_index
from losh.backbones.video_swin_blocks import WindowAttention
from losh.errors import UserError
from losh.model.checkpoint import load_model, model_from, save_model
from losh.model.losh import LoSh
from losh.model.released_format import ReleasedFormat, infer_config, infer_text_config
from losh.model.text_encoder import encoder_config
from losh.pipelines import names, released_format
from losh.runtime.files import atomic_write
from losh.runtime.torch_files import UNREADABLE, load_tensors, reason_of

POSITION_IDS = "embeddings.position_ids"
TABLE, INDEX = "relative_position_bias_table", "relative_position_index"
PLAIN: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [argparse.Namespace]
"""Classes that a released file may hold besides tensors and plain values: its options. Loading one
runs no code."""


def formats() -> list[ReleasedFormat]:
    """Return the formats that the base pipelines describe."""
    return [form for name in names() if (form := released_format(name)) is not None]


def format_of(state: dict[str, Tensor]) -> ReleasedFormat:
    """Tell a checkpoint's format by its weights' names.

    Raises:
        UserError: it is of none.
    """
    known = formats()
    for form in known:
        if form.mark in state:
            return form
    # The one that has most of the start of its names tells best what is missing.
    closest = max(
        known,
        key=lambda form: sum(
            any(key.startswith(theirs.split("#")[0]) for _, theirs in form.renames) for key in state
        ),
    )
    raise closest.misfit(closest.mark)


def read_released(path: Path) -> dict[str, Tensor]:
    """Return the weights of a released checkpoint file, on the CPU, with the released names.

    Raises:
        UserError: a missing file, or one that is no checkpoint. Nothing but tensors and plain
            values is unpickled.
    """
    try:
        with torch.serialization.safe_globals(PLAIN):
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
    """Return the weights of a checkpoint's content.

    They come out of `model_state_dict` or `model`, and without the prefix `module.`.
    """
    keys = sorted({form.weights_key for form in formats()})
    state = content
    for key in keys:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            state = content[key]
    if (
        not isinstance(state, dict)
        or not state
        or not all(isinstance(v, Tensor) for v in state.values())
    ):
        raise UserError(
            f"{where} holds no state dict",
            f"Give a file with {' or '.join(f'`{key}`' for key in keys)}, or the weights alone",
        )
    return {name.removeprefix("module."): value for name, value in state.items()}


def import_released(
    source: Path | dict[str, Any], text_config: dict[str, Any] | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return a released checkpoint as our state dict, and the configuration that it was made with.

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
    form = format_of(state)
    _take_position_ids(state, form.text + POSITION_IDS)
    indexes = {name: state.pop(name) for name in list(state) if name.endswith(INDEX)}
    config = infer_config(state, indexes, form, text_config or infer_text_config(state, form))
    wanted = _blank(config).state_dict()
    names = {_place(form, name): name for name in wanted}
    shapes = {theirs: tuple(wanted[ours].shape) for theirs, ours in names.items()}
    aliases = form.aliases_of(list(shapes))
    shapes |= {alias: shapes[name] for alias, name in aliases.items()}
    tables = [name for name in shapes if name.endswith(TABLE)]
    index = torch.arange(0)
    if tables:
        index = relative_position_index(tuple(config["model"]["backbone"]["window_size"]))
    shapes |= {name.replace(TABLE, INDEX): tuple(index.shape) for name in tables}
    _check({**state, **indexes}, shapes, form)
    # A function of the window: where a file's own differ, its bias tables mean something else than
    # ours.
    wrong = [name for name, value in indexes.items() if not torch.equal(value.long(), index)]
    if wrong:
        raise UserError(
            f"the checkpoint orders its window positions in another way: {', '.join(wrong)}",
            "It was not made by the released code",
        )
    differing = [a for a, name in aliases.items() if not torch.equal(state[a], state[name])]
    if differing:
        raise UserError(
            f"the checkpoint has two values for one weight: {', '.join(differing)}",
            "It was not made by the released code",
        )
    return {ours: state[theirs].float() for theirs, ours in names.items()}, config


def export_released(model: LoSh, form: ReleasedFormat) -> dict[str, Tensor]:
    """Return the model's weights with the released names.

    With them come the aliases and integer buffers that the released code keeps.

    Args:
        form: of the model's base pipeline.

    Raises:
        UserError: a model with cross-attention or a motion branch, which the released format has no
            place for, or with a backbone that it does not know.
    """
    state = {}
    for name, value in model.state_dict().items():
        theirs = _place(form, name)
        state[theirs] = value
        if theirs.endswith(TABLE):
            attention = cast(WindowAttention, model.get_submodule(name.rpartition(".")[0]))
            state[theirs.replace(TABLE, INDEX)] = relative_position_index(attention.window)
    if not form.resnets and not any(name.endswith(INDEX) for name in state):
        raise UserError(
            "the released format knows no backbone but Video-Swin",
            "Export a model with a Video-Swin backbone",
        )
    state |= {alias: state[name] for alias, name in form.aliases_of(list(state)).items()}
    return state


def import_checkpoint(
    source: Path, out: Path, text_encoder: str | None = None, **given: int | None
) -> None:
    """Convert a released checkpoint file to our model file (`losh import-checkpoint`).

    Args:
        text_encoder: folder or name on the Hugging Face hub of the encoder that it was trained
            with: its configuration and its tokenizer are used, its weights are in the file. None:
            roberta-base, or a RoBERTa of the sizes found.
        given: `window` (frames), `short_side`, `long_side` (px) of what it was trained on, which a
            released file does not say; those that are None or absent are the published ones.
    """
    text_config = None if text_encoder is None else encoder_config(text_encoder).to_diff_dict()
    state, config = import_released(source, text_config)
    if text_encoder is not None:
        config["model"]["text_encoder"] = text_encoder
    config |= {"resize_filter": "pil_bilinear"}
    config |= {name: value for name, value in given.items() if value is not None}
    model = _blank(config)
    model.load_state_dict(state, assign=True)
    save_model(out, model, config)


def export_checkpoint(source: Path, out: Path) -> None:
    """Convert our model file to a released checkpoint file (`losh export-checkpoint`)."""
    model, config = load_model(source, tokenizer=False)
    form = _format(config["model"]["base"])
    state = export_released(model, form)
    with atomic_write(out) as part:
        torch.save({form.weights_key: state}, part)


def _format(base: str) -> ReleasedFormat:
    form = released_format(base)
    if form is None:
        raise UserError(
            f"the base pipeline {base} has no released format", "Keep our own model file"
        )
    return form


def _place(form: ReleasedFormat, name: str) -> str:
    """Return the released name of one of our parameters."""
    theirs = form.released_name(name)
    if theirs is None:
        raise UserError(
            f"the released format has no place for {name}",
            "Export a model trained with model.cross_attention: false and "
            "model.backbone.motion_channels: 0",
        )
    return theirs


def _take_position_ids(state: dict[str, Tensor], name: str) -> None:
    """Drop the buffer of positions that old transformers wrote, if they count as ours do."""
    position_ids = state.pop(name, torch.arange(0))
    if not torch.equal(position_ids.flatten(), torch.arange(position_ids.numel())):
        raise UserError(
            f"the checkpoint counts words in another way: {name}",
            "It was not made by the released code",
        )


def _blank(config: dict[str, Any]) -> LoSh:
    """Return a model without storage: its names and shapes, to be filled by assignment."""
    with torch.device("meta"):
        return model_from(config)


def _check(
    state: dict[str, Tensor], wanted: dict[str, tuple[int, ...]], form: ReleasedFormat
) -> None:
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
            f"the checkpoint does not fit {form.title} ({len(faults)} keys): "
            + "; ".join(sorted(faults))
        )
