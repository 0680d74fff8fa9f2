"""Our model file: safetensors with the whole configuration inside.

So it rebuilds without flags and without a download.

The metadata has the one key `losh`: JSON of the configuration (its `model` section is what builds
the model) and of the text encoder's Hugging Face configuration. The text encoder's weights are in
the file even where they were frozen, so that a file is whole; its tokenizer is not: that comes by
the name in `model.text_encoder`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoConfig

from losh.errors import UserError
from losh.model.build import build_model
from losh.model.losh import LoSh
from losh.model.text_encoder import TextEncoder, load_tokenizer
from losh.params import ModelParams, PipelineParams
from losh.pipelines import names, parameters_class, pipeline_class
from losh.runtime.files import atomic_write

METADATA = "losh"
TEXT_CONFIG = "text_encoder_config"
ADVICE = (
    "Bring it back with `dvc checkout`, or make it with `dvc repro train` or "
    "`losh import-checkpoint`"
)


def save_model(path: Path, model: LoSh, config: dict[str, Any]) -> None:
    """Write the weights and what rebuilds them.

    The same model and configuration give the same bytes.

    Args:
        config: JSON values; `config["model"]` is the `model` section of params.yaml, and
            `config["pipeline"]` that of the base pipeline.
    """
    sections_of(config)
    whole = {**config, TEXT_CONFIG: text_config(model.text_encoder)}
    # One metadata key: safetensors writes several in an order of chance.
    metadata = {METADATA: json.dumps(whole, sort_keys=True)}
    with atomic_write(path) as part:
        save_file(
            {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()},
            part,
            metadata,
        )


def read_model_file(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the configuration and the weights of a model file, without building a model.

    Raises:
        UserError: a missing file, or one that is not ours.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing", ADVICE)
    try:
        with safe_open(path, "pt") as file:
            config = json.loads((file.metadata() or {})[METADATA])
            names = list(file.keys())
            return config, {name: file.get_tensor(name) for name in names}
    except (SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise _not_ours(path, error) from None


def _not_ours(path: Path, error: Exception) -> UserError:
    return UserError(f"{path} is no model file of ours ({str(error).splitlines()[0]})", ADVICE)


def load_model(path: Path, tokenizer: bool = True) -> tuple[LoSh, dict[str, Any]]:
    """Rebuild a model, on the CPU and in eval mode, with the configuration it was saved with.

    Args:
        tokenizer: also load the text encoder's tokenizer, by the name in `model.text_encoder`.

    Raises:
        UserError: a missing file, one that is not ours, one whose weights do not fit its own
            configuration, or no tokenizer.
    """
    config, state = read_model_file(path)
    try:
        model = model_from(config)
    except (KeyError, ValidationError) as error:
        raise _not_ours(path, error) from None
    wanted = {name: value.shape for name, value in model.state_dict().items()}
    faults = sorted(
        name
        for name in wanted.keys() | state.keys()
        if name not in wanted or name not in state or wanted[name] != state[name].shape
    )
    if faults:
        raise UserError(
            f"{path}: weights do not fit the configuration in it: {', '.join(faults)}", ADVICE
        )
    model.load_state_dict(state, assign=True)
    if tokenizer:
        model.text_encoder.tokenizer = load_tokenizer(config["model"]["text_encoder"])
    return model.eval(), config


def model_from(config: dict[str, Any]) -> LoSh:
    """Build a model of this configuration with fresh weights; nothing is loaded or downloaded.

    Args:
        config: `model` and `pipeline` (the sections of params.yaml) and `text_encoder_config`
            (Hugging Face's).
    """
    params, pipeline = sections_of(config)
    # The weights come from the file: what the backbone started from is of no matter now, and may
    # not be there.
    params = params.model_copy(
        update={"backbone": params.backbone.model_copy(update={"checkpoint": None})}
    )
    pooled = pipeline_class(params.base).uses_sentence
    return build_model(params, pipeline, text_encoder_from(config[TEXT_CONFIG], pooled))


def sections_of(config: dict[str, Any]) -> tuple[ModelParams, PipelineParams]:
    """Return the checked `model` section of a configuration and that of its base pipeline."""
    params = ModelParams.model_validate(config["model"])
    if params.base not in names():
        raise KeyError(f"the base pipeline {params.base} is not here, only {', '.join(names())}")
    return params, parameters_class(params.base).model_validate(config["pipeline"])


def text_config(encoder: TextEncoder) -> dict[str, Any]:
    """Return Hugging Face's configuration of a text encoder.

    It is without what tells of the machine or the library's version.
    """
    config = encoder.model.config.to_diff_dict()
    return {
        key: value
        for key, value in config.items()
        if key not in ("_name_or_path", "transformers_version", "architectures", "dtype")
    }


def text_encoder_from(config: dict[str, Any], pooled: bool = False) -> TextEncoder:
    """Make a text encoder of this configuration: random weights, no tokenizer."""
    return TextEncoder.from_config(AutoConfig.for_model(**config), pooled=pooled)
