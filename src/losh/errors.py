"""The one error for a user's mistakes, and how entry points show it."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

ERROR_FILE = "LOSH_ERROR_FILE"
"""Environment variable that names a file. Processes that work as one have it from their parent: the
first that fails writes its one line there, and the parent shows it once.
"""
P = ParamSpec("P")
R = TypeVar("R")


class UserError(Exception):
    """Something the user can put right: which file or key, what was expected, and what to do.

    Shown as one line without a traceback; the process exits with 1.
    """

    def __init__(self, what: str, advice: str = "") -> None:
        super().__init__(f"{what.rstrip('.')}. {advice}".strip() if advice else what)
        self.what = what


def first_line(error: BaseException) -> str:
    """Return an error's text in one line, or its class where it says nothing."""
    text = str(error)
    return text.splitlines()[0] if text else type(error).__name__


def reason(error: BaseException) -> str:
    """Return an error's text in one line, without the path that our message already has."""
    return getattr(error, "strerror", None) or first_line(error)


def friendly(main: Callable[P, R]) -> Callable[P, R]:
    """Decorate an entry point: a UserError becomes one line on stderr and exit code 1."""

    @functools.wraps(main)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return main(*args, **kwargs)
        except UserError as error:
            if ERROR_FILE in os.environ:
                with (
                    contextlib.suppress(FileExistsError),
                    open(os.environ[ERROR_FILE], "x") as file,
                ):
                    file.write(str(error))
            else:
                print(f"error: {error}", file=sys.stderr)
            raise SystemExit(1) from None

    return run
