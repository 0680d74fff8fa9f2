"""Published tables in JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from losh.datasets.listing import FileListing
from losh.errors import UserError


def read_videos(
    listing: FileListing, name: str, check: Callable[[str, str, dict[str, Any]], None]
) -> dict[str, Any]:
    """Return `videos` of a meta_expressions.json: video -> {"frames": [...], "expressions": {...}}.

    Args:
        listing: the source folder's files.
        name: the file's place in it.
        check: called with the video, the id and the entry of each expression; raises ValueError
            where something is missing.

    Raises:
        UserError: the file is missing, or not as published; the message names it.
    """
    published = "meta_expressions.json"
    try:
        videos = read_json_table(listing, name, published)["videos"]
        for video, entry in videos.items():
            if not isinstance(entry["frames"], list):
                raise ValueError(f"video {video} has no list of frames")
            for key, one in entry["expressions"].items():
                if "exp" not in one:
                    raise ValueError(f"video {video}, sentence {key} has no exp")
                check(video, key, one)
        return videos
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{listing.path(name)} is not the published {published} ({error})",
            "Fetch the published file again",
        ) from None


def read_json_table(listing: FileListing, name: str, published: str) -> dict[str, Any]:
    """Return a JSON file's object.

    Args:
        listing: the source folder's files.
        name: the file's place in it.
        published: what it should be, for the error.

    Raises:
        UserError: the file is missing, is not JSON, or holds no object; the message names it.
    """
    try:
        table = json.loads(listing.text(name))
    except ValueError as error:
        table, why = None, str(error)
    else:
        why = f"it holds {type(table).__name__}, no object"
    if not isinstance(table, dict):
        raise UserError(
            f"{listing.path(name)} is not the published {published} ({why})",
            "Fetch the published file again",
        )
    return table
