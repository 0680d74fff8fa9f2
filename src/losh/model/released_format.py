"""What one family of released checkpoints looks like.

That is the names of its weights, and the sizes that their shapes show. Each base pipeline describes
its own in `released.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from losh.backbones.video_swin import PRESETS
from losh.errors import UserError

HEAD_WIDTH = 64  # channels of an attention head in every published RoBERTa
LISTS = ("depths", "num_heads", "window_size")
RESNETS = {6: "resnet50", 23: "resnet101"}  # by the blocks of their third stage
Renames = list[tuple[str, str]]
"""(start of our name, start of the released name); `#` is a number, `#+1` the number plus one."""

MOTION = "base.backbone.motion."


def released_name(name: str, renames: Renames) -> str | None:
    """Return the released name of one of our parameters; None for one that no rule fits."""
    for ours, theirs in renames:
        match = re.match(re.escape(ours).replace(r"\#", r"(\d+)"), name)
        if match:
            for number in match.groups():
                following = "#+1" in theirs
                theirs = theirs.replace(
                    "#+1" if following else "#", str(int(number) + following), 1
                )
            return theirs + name[match.end() :]
    return None


@dataclass(frozen=True)
class ReleasedFormat:
    """The released checkpoints of one base pipeline."""

    base: str
    """The pipeline's name in params.yaml."""
    title: str
    """The system's name, for messages."""
    mark: str
    """A weight that only these checkpoints have."""
    weights_key: str
    """Where the weights are in the file's dict."""
    backbone: str
    """Start of the backbone's names."""
    text: str
    """Start of the text encoder's names."""
    renames: Renames
    pipeline: Callable[[Shapes], dict[str, Any]]
    """The pipeline's section of params.yaml, of a checkpoint with these shapes."""
    short_stream: bool
    """Whether the released model is LoSh, with both streams, or a base pipeline alone."""
    drop_path: float
    """Published; no weight shows it."""
    input: dict[str, int]
    """`window` (frames), `short_side` and `long_side` (px) that the released models saw."""
    aliases: tuple[tuple[str, str], ...] = ()
    """(start of a name, start of the name of the weight that it is another name of)."""
    resnets: bool = False
    """Whether ResNets are among its backbones."""

    def released_name(self, name: str) -> str | None:
        """Return the released name of one of our parameters; None for what the format lacks.

        It lacks cross-attention and the motion branch.
        """
        return None if name.startswith(MOTION) else released_name(name, self.renames)

    def aliases_of(self, names: list[str]) -> dict[str, str]:
        """Return the other names of those of these weights that have one: {alias: name}."""
        return {
            alias + name.removeprefix(start): name
            for alias, start in self.aliases
            for name in names
            if name.startswith(start)
        }

    def misfit(self, what: str) -> UserError:
        """Make the error for a checkpoint that lacks `what`."""
        return UserError(
            f"the checkpoint does not fit {self.title} (1 keys): missing {what}",
            "Give a file of the released code",
        )


class Shapes:
    """Sizes of a checkpoint's weights, by their released names.

    Args:
        state: the weights, without integer buffers.
        index: one of the buffers `...relative_position_index`, where there are any.
    """

    def __init__(
        self, state: dict[str, Tensor], form: ReleasedFormat, index: Tensor | None = None
    ) -> None:
        self.state, self.format, self.index = state, form, index

    def of(self, name: str) -> tuple[int, ...]:
        """Return a weight's shape.

        Raises:
            UserError: it is missing, although every checkpoint of the format has it.
        """
        if name not in self.state:
            raise self.format.misfit(name)
        return tuple(self.state[name].shape)

    def count(self, prefix: str) -> int:
        """How many numbered parts begin with `prefix`."""
        return len(
            {name[len(prefix) :].split(".")[0] for name in self.state if name.startswith(prefix)}
        )

    def backbone(self) -> dict[str, Any]:
        """Return the `backbone` section of params.yaml; a published backbone goes by its name."""
        prefix = self.format.backbone
        if self.format.resnets and f"{prefix}conv1.weight" in self.state:
            name = RESNETS.get(self.count(f"{prefix}layer3."))
            if name is None:
                raise self.format.misfit(f"{prefix}layer3, of 6 or 23 blocks")
            return {"name": name, "checkpoint": None}
        stages = self.count(f"{prefix}layers.")
        tables = [
            self.of(f"{prefix}layers.{i}.blocks.0.attn.relative_position_bias_table")
            for i in range(stages)
        ]
        sizes = {
            "embed_dim": self.of(f"{prefix}patch_embed.norm.weight")[0],
            "depths": [self.count(f"{prefix}layers.{i}.blocks.") for i in range(stages)],
            "num_heads": [heads for _, heads in tables],
            "window_size": _window(tables[0][0] if tables else 0, self.index),
        }
        published = [
            name
            for name, preset in PRESETS.items()
            if preset.embed_dim == sizes["embed_dim"]
            and all(list(getattr(preset.cut(stages), key)) == sizes[key] for key in LISTS)
        ]
        name = published[0] if published else "video_swin"
        return {"name": name, "checkpoint": None, **sizes, "drop_path": self.format.drop_path}


def infer_text_config(state: dict[str, Tensor], form: ReleasedFormat) -> dict[str, Any]:
    """Hugging Face's configuration of a RoBERTa with these weights (released names).

    Raises:
        UserError: the checkpoint has no text encoder.
    """
    shapes, text = Shapes(state, form), form.text
    vocabulary, width = shapes.of(f"{text}embeddings.word_embeddings.weight")
    return {
        "model_type": "roberta",
        "vocab_size": vocabulary,
        "hidden_size": width,
        "num_hidden_layers": shapes.count(f"{text}encoder.layer."),
        "num_attention_heads": max(1, width // HEAD_WIDTH),
        "intermediate_size": shapes.of(f"{text}encoder.layer.0.intermediate.dense.weight")[0],
        "max_position_embeddings": shapes.of(f"{text}embeddings.position_embeddings.weight")[0],
        "type_vocab_size": shapes.of(f"{text}embeddings.token_type_embeddings.weight")[0],
        "layer_norm_eps": 1e-5,
        "hidden_act": "gelu",
        "bos_token_id": 0,
        "pad_token_id": 1,
        "eos_token_id": 2,
    }


def infer_config(
    state: dict[str, Tensor],
    indexes: dict[str, Tensor],
    form: ReleasedFormat,
    text_config: dict[str, Any],
) -> dict[str, Any]:
    """Return the configuration of a model with these weights.

    Args:
        state: released names, without integer buffers.
        indexes: the integer buffers `...relative_position_index`.
        text_config: Hugging Face's configuration of the text encoder.

    Returns:
        {"model", "pipeline": the sections of params.yaml, "text_encoder_config": text_config}, and
        the published input sizes.

    Raises:
        UserError: a weight that every released checkpoint has is missing.
    """
    shapes = Shapes(state, form, next(iter(indexes.values()), None))
    base = text_config["hidden_size"] == 768 and text_config["vocab_size"] == 50265
    return {
        "model": {
            "base": form.base,
            "backbone": shapes.backbone(),
            "text_encoder": "roberta-base" if base else "roberta",
            "short_stream": form.short_stream,
            "cross_attention": False,
            "cross_attention_blocks": 1,
            "cross_attention_place": "inside",
        },
        "pipeline": form.pipeline(shapes),
        "text_encoder_config": text_config,
        **form.input,
    }


def _window(rows: int, index: Tensor | None) -> list[int]:
    """Find the window whose bias table has this many rows, (2a - 1)(2b - 1)^2.

    Where an index is given, it has a b^2 rows.
    """
    fits = [
        [a, b, b]
        for b in range(1, 17)
        for a in range(1, 33)
        if (2 * a - 1) * (2 * b - 1) ** 2 == rows and (index is None or a * b * b == len(index))
    ]
    published = [8, 7, 7]
    if published in fits or not fits:
        return published
    return fits[0]
