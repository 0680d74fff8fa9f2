"""The folder data/raw/<name>: the download stage writes it, later stages open it as a reader."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from losh.datasets.folder.folder_reader import FolderReader
from losh.datasets.listing import FileListing
from losh.datasets.locate import source_of
from losh.datasets.published import make_reader
from losh.datasets.reader import DatasetReader, Expression
from losh.errors import UserError
from losh.runtime.files import atomic_write, read_json, write_json

COLUMNS = ("split", "video", "expression_id", "instance", "text", "short_text", "expression_set")
SAMPLES = "jhmdb_samples.json"
FOLDER = "folder.json"
"""What the check of a user's own folder has found."""


def open_reader(raw_dir: Path) -> DatasetReader:
    """Open the reader of a dataset that the download stage has prepared.

    It is opened once per process, since workers ask for it once per video.

    Raises:
        UserError: data/raw/<name> is not there or not whole, or a linked dataset's source is gone.
    """
    try:
        stamp = (raw_dir / "dataset.json").stat().st_mtime_ns
    except FileNotFoundError:
        raise UserError(
            f"{raw_dir / 'dataset.json'} is missing",
            f"Make it with `dvc repro download@{raw_dir.name}`",
        ) from None
    return _open(raw_dir.absolute(), stamp)


@lru_cache(maxsize=4)
def _open(raw_dir: Path, stamp: int) -> DatasetReader:
    made_by = f"dvc repro download@{raw_dir.name}"
    dataset = read_json(raw_dir / "dataset.json", made_by)
    samples = (
        read_json(raw_dir / SAMPLES, made_by)["frames"] if (raw_dir / SAMPLES).exists() else None
    )
    if dataset["media"] == "embedded":
        listing = FileListing(raw_dir)
    else:
        listing = FileListing(
            source_of(dataset["name"], dataset["kind"]), read_manifest(raw_dir / "manifest.csv")
        )
    if dataset["kind"] == "folder":
        return FolderReader(dataset["name"], listing, read_json(raw_dir / FOLDER, made_by))
    return make_reader(
        dataset["kind"],
        dataset["name"],
        listing,
        dataset["parts"],
        samples,
        strict=dataset["media"] == "embedded",
    )


def write_raw(
    out: Path,
    reader: DatasetReader,
    dataset: dict[str, Any],
    manifest: Mapping[str, int] | None = None,
) -> None:
    """Write expressions.csv, manifest.csv (of a linked dataset) and, last, dataset.json.

    The reader's name, kind and protocol are added to the latter.
    """
    write_expressions(out / "expressions.csv", reader.expressions())
    if manifest is not None:
        with (
            atomic_write(out / "manifest.csv") as part,
            part.open("w", newline="", encoding="utf-8") as file,
        ):
            table = csv.writer(file, lineterminator="\n")
            table.writerow(("path", "bytes"))
            table.writerows(sorted(manifest.items()))
    write_json(
        out / "dataset.json",
        {"name": reader.name, "kind": reader.kind, "protocol": reader.protocol, **dataset},
    )


def write_expressions(path: Path, expressions: Iterable[Expression]) -> None:
    """Write expressions.csv."""
    with atomic_write(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        table.writerows([getattr(one, column) for column in COLUMNS] for one in expressions)


def read_manifest(path: Path) -> dict[str, int]:
    """Relative path -> bytes.

    Raises:
        UserError: the manifest is missing or malformed.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return {row["path"]: int(row["bytes"]) for row in csv.DictReader(file)}
    except FileNotFoundError:
        raise UserError(
            f"{path} is missing", f"Make it with `dvc repro -f download@{path.parent.name}`"
        ) from None
    except (KeyError, ValueError, TypeError):
        raise UserError(
            f"{path} is no manifest",
            f"Make it again with `dvc repro -f download@{path.parent.name}`",
        ) from None
