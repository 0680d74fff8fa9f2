"""MeViS' mask_dict.json: the masks of each object, read one object at a time."""

from __future__ import annotations

import json
import mmap
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from losh.errors import UserError

KEY = re.compile(rb'"(\d+)"\s*:\s*\[')
"""An object's key. Within its value no string is a number, and run-length codes hold no quotes."""
KEPT = 64
"""Objects that are kept decoded: those of a video or two."""


class MaskDict:
    """`{"<object>": [run-length code or null for each frame]}`.

    The file of train has hundreds of megabytes, and every worker opens it: the places of the
    objects in it are found by one pass, and only what is asked for is parsed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as m:
                starts = [(found[1].decode(), found.end() - 1) for found in KEY.finditer(m)]
                size = len(m)
        except OSError as error:
            raise UserError(
                f"{path} cannot be read ({error.strerror})",
                "Put it back, or repeat the download stage",
            ) from None
        except ValueError:  # an empty file cannot be mapped
            starts, size = [], 0
        if not starts:
            raise UserError(
                f"{path} is not the published mask_dict.json (it has no object)",
                "Fetch the published file again",
            )
        ends = [start for _, start in starts[1:]] + [size]
        self._places = {key: (start, end) for (key, start), end in zip(starts, ends, strict=True)}
        self._read = lru_cache(maxsize=KEPT)(self._parse)

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def codes(self, key: str) -> list[Any]:
        """Return an object's codes, one a frame; None where it is not visible.

        Raises:
            UserError: the object is not in the file, or its value is damaged.
        """
        if key not in self._places:
            raise UserError(
                f"{self.path} has no masks of object {key}", "Fetch the published file again"
            )
        return self._read(key)

    def _parse(self, key: str) -> list[Any]:
        start, end = self._places[key]
        with self.path.open("rb") as file:
            file.seek(start)
            text = file.read(end - start).decode("utf-8", "replace")
        try:
            return json.JSONDecoder().raw_decode(text)[0]
        except ValueError as error:
            raise UserError(
                f"{self.path} is damaged at object {key} ({error})",
                "Fetch the published file again",
            ) from None
