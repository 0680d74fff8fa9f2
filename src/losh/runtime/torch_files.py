"""PyTorch files read without running code, and in our own words where that fails."""

from __future__ import annotations

import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch

UNREADABLE = (OSError, EOFError, RuntimeError, pickle.UnpicklingError, ValueError, KeyError)
"""What torch.load raises for a file that it cannot read."""
NOT_OURS = "it is no file of tensors and plain values"


def load_tensors(path: Path, mmap: bool = False) -> Any:
    """Load the contents of a PyTorch file on the CPU: tensors and plain values, nothing else.

    Raises:
        one of UNREADABLE: give it to `reason_of`.
    """
    mmap = mmap and zipfile.is_zipfile(path)  # the form of before PyTorch 1.6 is none
    return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)


def reason_of(error: Exception) -> str:
    """Why a file cannot be read, in one line.

    PyTorch's own words advise to load it without weights_only, which runs whatever code the file
    brings: they never reach a user.
    """
    text = str(error)
    if isinstance(error, pickle.UnpicklingError) or "weights_only" in text:
        found = re.search(r"(?:GLOBAL|global:?|class) `?([\w.]+\.\w+)", text)
        if found and "nsupported" in text:
            return f"it holds more than tensors: {found[1]}"
        return NOT_OURS
    if isinstance(error, EOFError) or (isinstance(error, KeyError) and " " not in text):
        return NOT_OURS
    return (text.strip() or type(error).__name__).splitlines()[0].split(". ")[0].rstrip(".")
