"""data/raw/<name>: written once by the download stage, opened by those after it."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from losh.datasets.a2d_sentences import A2DSentences
from losh.datasets.jhmdb_sentences import JHMDBSentences
from losh.datasets.listing import FileListing
from losh.datasets.locate import source_of
from losh.datasets.reader import DatasetReader, Expression
from losh.datasets.refer_davis17 import ReferDAVIS17
from losh.datasets.refer_youtube_vos import ReferYouTubeVOS
from losh.errors import UserError
from losh.runtime.files import atomic_write, read_json, write_json

COLUMNS = ("split", "video", "expression_id", "instance", "text", "short_text", "expression_set")
SAMPLES = "jhmdb_samples.json"


def make_reader(
    kind: str,
    name: str,
    files: FileListing,
    parts: Mapping[str, str],
    samples: Mapping[str, list[int]] | None = None,
    strict: bool = False,
) -> DatasetReader:
    """The reader of one kind over a source folder; `parts` says where in it the layout's parts lie
    (losh.datasets.layout).
    """
    if kind in ("a2d_sentences", "moving_shapes"):
        return A2DSentences(name, files, parts, kind, strict)
    if kind == "jhmdb_sentences":
        return JHMDBSentences(name, files, parts, samples or {})
    if kind == "refer_youtube_vos":
        return ReferYouTubeVOS(name, files, parts)
    if kind == "refer_davis17":
        return ReferDAVIS17(name, files, parts)
    raise UserError(f"{kind!r} is no kind of dataset", "Take one of those that params.yaml lists")


def open_reader(raw_dir: Path) -> DatasetReader:
    """The reader of a dataset that the download stage has prepared; opened once a process, since
    workers ask for it once a video.

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
        files = FileListing(raw_dir)
    else:
        files = FileListing(
            source_of(dataset["name"], dataset["kind"]), read_manifest(raw_dir / "manifest.csv")
        )
    return make_reader(
        dataset["kind"],
        dataset["name"],
        files,
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
    """Write expressions.csv, manifest.csv (of a linked dataset) and, last, dataset.json with the
    reader's name, kind and protocol added.
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
