"""The base pipelines that LoSh wraps, one folder each, found by their folder's name.

A pipeline's folder has `parameters.py` (class `Parameters`: its section of params.yaml),
`network.py` (class `Pipeline`) and what it needs besides. Nothing outside names one of them.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from losh.model.pipeline import PipelineClass
    from losh.model.released_format import ReleasedFormat
    from losh.params import PipelineParams


def names() -> list[str]:
    """Return the names that `model.base` takes."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.ispkg)


def parameters_class(name: str) -> type[PipelineParams]:
    """Return the class of a pipeline's section of params.yaml; imports no network."""
    return import_module(f"{__name__}.{name}.parameters").Parameters


def pipeline_class(name: str) -> PipelineClass:
    """Return the class of a pipeline."""
    return import_module(f"{__name__}.{name}.network").Pipeline


def released_format(name: str) -> ReleasedFormat | None:
    """Return what a pipeline's released checkpoints look like; None where it describes none.

    That is `RELEASED_FORMAT` in its `released.py`.
    """
    place = f"{__name__}.{name}.released"
    return getattr(import_module(place), "RELEASED_FORMAT", None) if find_spec(place) else None
