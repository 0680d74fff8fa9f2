"""What makes a training this one: its code, parameters, data and the weights that parameters name.

Work that waits in scratch/train is reused only where all of it is the same.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from transformers.utils import cached_file

from losh.backbones.weights import TORCHVISION
from losh.params import Params
from losh.runtime.files import content_digest, read_json
from losh.runtime.home import at_home
from losh.runtime.resume import fingerprint, stage_params

WITHOUT_EFFECT = ["checkpoint_blocks"]
"""Keys of `train` that change no result: a training that ran out of memory goes on with another
value.
"""


def training_fingerprint(params: Params, root: Path, code: str) -> str:
    """Return 16 hex digits that name a training's folder in scratch/train.

    Args:
        root: the folder data/.
        code: `stage_digest` of the stage train.
    """
    decisive = stage_params("train", **params.by_section())
    decisive["train"] = {
        key: value for key, value in decisive["train"].items() if key not in WITHOUT_EFFECT
    }
    data = read_json(root / "train_data.json", "dvc repro train_data")
    # What the stage check found of the files that parameters name, where it ran.
    checked = root / "inputs" / "train.json"
    files = read_json(checked, "dvc repro check") if checked.exists() else {}
    return fingerprint(code, decisive, data, files, named_weights(params))


def named_weights(params: Params) -> dict[str, str]:
    """Identify the weights that `model` and `train` name, by parameter.

    Other weights of the same name give other values.

    A file or folder is digested, a torchvision name stands for its address (which holds a digest),
    a Hugging Face name for the commit that is in use. Embedded weights are files of the stage's
    deps. What cannot be found is left out: loading it gives the user's error.
    """
    found = {}
    model, start = params.model, params.train.start_from
    checkpoint, encoder = model.backbone.checkpoint, model.text_encoder
    if start is not None and at_home(Path(start)).is_file():
        found["train.start_from"] = content_digest(at_home(Path(start)))
    if checkpoint == "torchvision" and model.backbone.name in TORCHVISION:
        found["model.backbone.checkpoint"] = TORCHVISION[model.backbone.name].url
    elif checkpoint not in (None, "embedded") and Path(checkpoint).exists():
        found["model.backbone.checkpoint"] = content_digest(Path(checkpoint))
    if encoder != "embedded":
        found["model.text_encoder"] = (
            content_digest(Path(encoder)) if Path(encoder).is_dir() else _commit(encoder)
        )
    return found


def _commit(name: str) -> str:
    """Return the commit of a Hugging Face model that loading it takes.

    It is the cached one, else the newest.
    """
    for local in (True, False):
        with contextlib.suppress(OSError, ValueError):
            return Path(cached_file(name, "config.json", local_files_only=local)).parent.name
    return ""
