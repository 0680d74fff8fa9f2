"""The one error for a user's mistakes, and how entry points show it."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

ONE_VOICE = "LOSH_ONE_VOICE"
"""Environment variable of processes that work as one: the file in which the first that fails says why, for their parent to show once."""
P = ParamSpec("P")
R = TypeVar("R")


class UserError(Exception):
    """Something the user can mend: which file or key, what was expected, and how to mend it.

    Shown as one line without a traceback; the process exits with 1.
    """

    def __init__(self, what: str, mend: str = "") -> None:
        super().__init__(f"{what.rstrip('.')}. {mend}".strip() if mend else what)


def friendly(main: Callable[P, R]) -> Callable[P, R]:
    """Decorate an entry point: a UserError becomes one line on stderr and exit code 1."""

    @functools.wraps(main)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return main(*args, **kwargs)
        except UserError as error:
            if ONE_VOICE in os.environ:
                with contextlib.suppress(FileExistsError), open(os.environ[ONE_VOICE], "x") as file:
                    file.write(str(error))
            else:
                print(f"error: {error}", file=sys.stderr)
            raise SystemExit(1) from None

    return run
