"""The weights that a training starts from: those of an earlier one, such as a pretraining."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from losh.errors import UserError
from losh.model.checkpoint import read_model_file, sections_of
from losh.model.losh import LoSh
from losh.params import Params
from losh.runtime.home import at_home

PARTS_OF_LOSH = ("cross_blocks", "cross_after", "base.backbone.motion")
"""What a model may have more or less than the file: switched on or off by parameters."""
SIZELESS = {"dropout", "losses"}
"""Keys of a base pipeline's section that may differ."""
SWIN_SIZES = ("embed_dim", "depths", "num_heads", "window_size")
ADVICE = "Set both alike, or start from another file"


def start_from(model: LoSh, params: Params) -> list[str]:
    """Give `model` the weights of `train.start_from`, without those of `train.start_without`.

    The text encoder's come from it too: a pretraining may have changed them (published).

    Returns:
        Lines that say what was taken, what of the file was left out, and what it lacks and
        therefore starts afresh.

    Raises:
        UserError: the file is missing or not ours, is of another base or of other sizes, or has
            nothing of a name in `start_without`.
    """
    path = at_home(Path(str(params.train.start_from)))
    config, state = read_model_file(path)
    _require_same_sizes(path, config, params)
    own = model.state_dict()
    unwanted = set()
    for part in params.train.start_without:
        found = {name for name in state if _is_of(name, part)}
        if not found:
            raise UserError(
                f"train.start_without names {part!r}, and {path} has no such weights",
                f"Its parts are {', '.join(sorted(_parts(state)))}",
            )
        unwanted |= found
    surplus = state.keys() - own.keys()
    fresh = (own.keys() - state.keys()) | (unwanted & own.keys())
    taken = state.keys() - surplus - unwanted
    for name in sorted(surplus - unwanted) + sorted(fresh - unwanted):
        if not any(_is_of(name, part) for part in PARTS_OF_LOSH):
            where = "that file alone" if name in surplus else "the model alone"
            raise UserError(f"train.start_from: {path} does not fit: {name} is in {where}", ADVICE)
    for name in sorted(taken):
        if state[name].shape != own[name].shape:
            raise UserError(
                f"train.start_from: {path} does not fit: {name} is {list(state[name].shape)} "
                f"there and {list(own[name].shape)} here",
                ADVICE,
            )
    model.load_state_dict({name: state[name] for name in taken}, strict=False)
    notes = [f"train: starts from {path}, {len(taken)} of its {len(state)} weights"]
    if surplus | unwanted:
        notes.append(f"train: left out of it: {_told(surplus | unwanted)}")
    if fresh:
        notes.append(f"train: starts afresh, not taken from it: {_told(fresh)}")
    return notes


def _require_same_sizes(path: Path, config: dict[str, Any], params: Params) -> None:
    """Refuse a file of another base pipeline or backbone, or of other sizes, naming the key."""
    try:
        differences = list(_differences(config, params))
    except (KeyError, ValidationError) as error:
        raise UserError(
            f"train.start_from: {path} is no model file that fits ({str(error).splitlines()[0]})",
            ADVICE,
        ) from None
    if differences:
        key, there, here = differences[0]
        raise UserError(
            f"train.start_from: {path} was trained with {key} {there}, and params.yaml has {here}",
            ADVICE,
        )


def _differences(config: dict[str, Any], params: Params) -> Iterator[tuple[str, Any, Any]]:
    """(key, its value there, its value here) of what decides the shapes of weights."""
    model, pipeline = sections_of(config)
    base = params.model.base
    if model.base != base:
        yield "model.base", model.base, base
        return
    there, here = pipeline.model_dump(), params.pipeline.model_dump()
    yield from _unequal(f"{base}.", there, here, here.keys() - SIZELESS)
    backbones = model.backbone.model_dump(), params.model.backbone.model_dump()
    yield from _unequal("model.backbone.", *backbones, ["name"])
    if params.model.backbone.name == "video_swin":
        yield from _unequal("model.backbone.", *backbones, SWIN_SIZES)


def _unequal(
    prefix: str, there: dict[str, Any], here: dict[str, Any], keys: Iterable[str]
) -> Iterator[tuple[str, Any, Any]]:
    for key in sorted(keys):
        if there[key] != here[key]:
            yield prefix + key, there[key], here[key]


def _is_of(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")


def _parts(names: Iterable[str]) -> Counter[str]:
    """How many weights each part of a model has: `cross_blocks`, `base.class_heads`, ..."""
    count: Counter[str] = Counter()
    for name in names:
        first, _, rest = name.partition(".")
        count[f"base.{rest.partition('.')[0]}" if first == "base" else first] += 1
    return count


def _told(names: Iterable[str]) -> str:
    return ", ".join(f"{part} ({n} weights)" for part, n in sorted(_parts(names).items()))
