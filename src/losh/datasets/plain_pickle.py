"""Published pickles of plain values, read without running any code that they may hold."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

from losh.errors import UserError, first_line
from losh.media.decoding import read_bytes


def read_plain_pickle(path: Path) -> Any:
    """Return what a pickle of lists, tuples, dicts, strings and numbers holds.

    A pickle can only call what it has named first, and here nothing that it names is given to it:
    no class, no function, no extension, no persistent object. Strings of Python 2 are taken for
    Latin-1, which every byte is.

    Raises:
        UserError: the file is missing or no pickle, or it asks for a class or a function; the
            message names it.
    """
    try:
        return _PlainUnpickler(io.BytesIO(read_bytes(path)), encoding="latin-1").load()
    except _Refused as refused:
        raise UserError(
            f"{path} is not only data: it asks for {refused}, which could run code",
            "It was not read; fetch the published file again",
        ) from None
    except Exception as error:  # damaged bytes make the unpickler raise nearly anything
        raise UserError(
            f"{path} does not read as a pickle ({first_line(error)})",
            "Fetch the published file again",
        ) from None


class _Refused(Exception):
    """A pickle names something that is no plain value."""


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        raise _Refused(f"{module_name}.{global_name}")

    def persistent_load(self, pid: Any) -> Any:
        raise _Refused("a persistent object")
