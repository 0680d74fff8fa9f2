"""LoSh: long-short referring video object segmentation as a workflow of DVC stages.

As a library: `losh.load(FILE).segment(frames, "the red car")` (docs/library.md). What that needs is
imported when it is first asked for, so that `import losh` takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from losh.own_video.masked_frame import MaskedFrame
    from losh.own_video.model import Model, load
    from losh.own_video.settings import Settings

__version__ = "0.1.0"
__all__ = ["MaskedFrame", "Model", "Settings", "__version__", "load"]

_PLACES = {
    "MaskedFrame": "losh.own_video.masked_frame",
    "Model": "losh.own_video.model",
    "Settings": "losh.own_video.settings",
    "load": "losh.own_video.model",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
