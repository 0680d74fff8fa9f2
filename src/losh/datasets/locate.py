"""Where a published dataset lies on this machine.

Environment variable, params.yaml, data/sources or data/sources-unpacked.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import yaml

from losh.datasets.published import LAYOUTS
from losh.errors import UserError
from losh.runtime.home import at_home

SOURCES = Path("data/sources")
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.bz", ".tbz2", ".tar.xz")


def variable_of(name: str) -> str:
    """Return the environment variable that names a dataset's place.

    LOSH_A2D_SENTENCES for a2d_sentences.
    """
    return "LOSH_" + re.sub(r"\W", "_", name).upper()


def is_archive(path: Path) -> bool:
    """Whether a file is an archive that the download stage unpacks."""
    return path.is_file() and path.name.lower().endswith(ARCHIVES)


def archives_in(place: Path) -> list[Path]:
    """Return the archives that a place consists of, sorted.

    The file itself, or those directly in the folder.
    """
    if place.is_file():
        return [place] if is_archive(place) else []
    return sorted(path for path in place.iterdir() if is_archive(path)) if place.is_dir() else []


def unpacked_folder(name: str, sources: Path = SOURCES) -> Path:
    """Return where the download stage unpacks a dataset's archives."""
    return at_home(sources.parent / f"{sources.name}-unpacked" / name)


def place_of(name: str, configured: str | None, sources: Path = SOURCES) -> Path | None:
    """Return the folder or archive that the user gave; None if none.

    The environment variable counts first, then params.yaml, then data/sources/<name>.

    Raises:
        UserError: the variable or params.yaml names something that does not exist.
    """
    for origin, given in (
        (variable_of(name), os.environ.get(variable_of(name))),
        (f"datasets.{name}.source", configured),
    ):
        if given:
            place = at_home(Path(given).expanduser())
            if not place.exists():
                raise UserError(
                    f"{origin} names {given}, which does not exist",
                    "Give the folder or the archive of the dataset",
                )
            return place
    own = at_home(sources / name)
    return (
        own
        if own.is_dir() and any(not path.name.startswith(".") for path in own.iterdir())
        else None
    )


def source_of(
    name: str, kind: str | None = None, params: Path = Path("params.yaml"), sources: Path = SOURCES
) -> Path:
    """Return the folder with a linked dataset's media.

    Looked for in the environment variable LOSH_<NAME>, then datasets.<name>.source of params.yaml,
    then data/sources/<name>, then data/sources-unpacked/<name>; where one of the first three holds
    archives, it is the last.

    Raises:
        UserError: the dataset lies in none of these places.
    """
    entry = _entry(name, params)
    kind = kind or entry.get("kind")
    place = place_of(name, entry.get("source"), sources)
    unpacked = unpacked_folder(name, sources)
    if place is not None and not needs_unpacking(place, kind):
        return place
    if unpacked.is_dir():
        return unpacked
    tried = f"{variable_of(name)}, datasets.{name}.source, {sources / name}, {unpacked}"
    if place is not None:
        raise UserError(
            f"the archives of {name} in {place} are not unpacked yet",
            f"Run `dvc repro -f download@{name}`",
        )
    raise UserError(
        f"the files of {name} are in none of: {tried}",
        "Put them into one of these places (docs/datasets/ says what to fetch)",
    )


def needs_unpacking(place: Path, kind: str | None) -> bool:
    """Whether a place is an archive, or a folder of archives without the unpacked layout."""
    if place.is_file():
        return True
    if kind == "folder" or not archives_in(place):
        return False
    return kind not in LAYOUTS or bool(LAYOUTS[kind].missing(LAYOUTS[kind].locate(place)))


def _entry(name: str, params: Path) -> dict[str, str]:
    """Return the dataset's entry of params.yaml.

    Empty where there is none (a reader may be used without a workflow).
    """
    try:
        return (yaml.safe_load(params.read_text(encoding="utf-8")).get("datasets") or {}).get(
            name
        ) or {}
    except (OSError, yaml.YAMLError, AttributeError):
        return {}
