"""Which files the parameters name, and for which stages they are inputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from losh.errors import UserError
from losh.params import Params
from losh.runtime.home import at_home


@dataclass(frozen=True)
class NamedFile:
    """A file or folder that a parameter names."""

    key: str
    """The parameter, such as `flow.checkpoint`."""
    path: Path
    """Where it lies."""
    stages: tuple[str, ...]
    """The stages that read it."""
    advice: str
    """What the parameter takes, for the error where the file is missing."""


def named_files(params: Params) -> Iterator[NamedFile]:
    """Every file that `params` names, whether it exists or not.

    Names that a library resolves (a hub's, ptlflow's, torchvision's) are no files, and `embedded`
    is part of the code.
    """
    if params.short_text.overrides is not None:
        yield NamedFile(
            "short_text.overrides",
            at_home(Path(params.short_text.overrides)),
            ("parse_text",),
            "Give a CSV with the columns long,short, or null",
        )
    flow = Path(params.flow.checkpoint)
    if flow.suffix or len(flow.parts) > 1:
        yield NamedFile(
            "flow.checkpoint",
            at_home(flow),
            ("compute_flow",),
            "Give embedded, a ptlflow checkpoint's name or a file's path",
        )
    if params.model.backbone.checkpoint not in (None, "embedded", "torchvision"):
        yield NamedFile(
            "model.backbone.checkpoint",
            at_home(Path(params.model.backbone.checkpoint)),
            ("train",),
            "Give embedded, torchvision, a file's path or null",
        )
    name = params.model.text_encoder
    encoder = at_home(Path(name))
    if name != "embedded" and (encoder.is_dir() or is_path(name)):
        yield NamedFile(
            "model.text_encoder",
            encoder,
            ("train", "evaluate"),  # the tokenizer is read from it each time
            "Give embedded, the folder of a Hugging Face encoder, or a name such as roberta-base",
        )
    if params.train.start_from is not None:
        yield NamedFile(
            "train.start_from",
            at_home(Path(params.train.start_from)),
            ("train",),
            "Give a model file, such as `losh import-checkpoint` writes or a copy of "
            "data/model/model.safetensors, or null",
        )
    if params.evaluate.checkpoint is not None:
        yield NamedFile(
            "evaluate.checkpoint",
            at_home(Path(params.evaluate.checkpoint)),
            ("evaluate",),
            "Give a model file, such as `losh import-checkpoint` writes, or null",
        )


def is_path(name: str) -> bool:
    """Whether a text encoder's name can only be a path: the hub's are `name` or `owner/name`."""
    return name.startswith((".", "/", "~")) or name.count("/") > 1


def require(named: NamedFile) -> None:
    """Refuse a file that is not there.

    Raises:
        UserError: names the parameter, the path and what the parameter takes.
    """
    folder = named.key == "model.text_encoder"
    if not (named.path.is_dir() if folder else named.path.is_file()):
        kind = "folder" if folder else "file"
        raise UserError(f"params.yaml: {named.key}: there is no {kind} {named.path}", named.advice)
    if folder and not (named.path / "config.json").is_file():
        raise UserError(f"params.yaml: {named.key}: {named.path} has no config.json", named.advice)
