"""Published tables in JSON."""

from __future__ import annotations

import json
from typing import Any

from losh.datasets.listing import FileListing
from losh.errors import UserError


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
