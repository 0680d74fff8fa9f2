"""Stage train_data: the digests of what train.datasets names.

The one file by which DVC sees whether training must run again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from losh.errors import UserError
from losh.runtime.files import sha256_of, write_json

DATA = Path("data")


def describe_train_data(names: list[str], out: Path, root: Path = DATA) -> dict[str, Any]:
    """Write the digests of the chosen datasets' artefacts to `out` (stage train_data).

    The indexes hold the digest of every file, so that the digest of an index stands for all that it
    names.
    """
    digests = {}
    for name in names:
        paths = {
            "frames": root / "frames" / name / "index.json",
            "flow": root / "flow" / name / "index.json",
            "short_text": root / "short_text" / f"{name}.csv",
        }
        missing = [str(path) for path in paths.values() if not path.exists()]
        if missing:
            raise UserError(
                f"train.datasets names {name}, but {missing[0]} is missing", "Run `dvc repro`"
            )
        digests[name] = {key: sha256_of(path) for key, path in paths.items()}
    write_json(out, {"datasets": digests})
    return digests
