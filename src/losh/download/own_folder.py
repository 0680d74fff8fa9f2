"""A user's own folder: taken as it is, after the check that `losh check-data` runs too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from losh.datasets.folder.check_folder import check_folder
from losh.datasets.folder.expression_rows import TABLE
from losh.datasets.folder.folder_reader import FolderReader
from losh.datasets.folder.mask_files import MASKS
from losh.datasets.folder.video_files import VIDEOS
from losh.datasets.listing import FileListing
from losh.datasets.locate import SOURCES, place_of, variable_of
from losh.datasets.raw_folder import FOLDER, write_raw
from losh.errors import UserError
from losh.params import FolderParams
from losh.runtime.files import atomic_write, write_json

SHOWN = 20
"""Faults that the stage prints; `losh check-data` prints all."""


def take_folder(
    name: str, params: FolderParams, out: Path, sources: Path = SOURCES
) -> dict[str, Any]:
    """Check the folder of dataset `name`, and write data/raw/<name>; its files stay where they are.

    Raises:
        UserError: there is no folder, or something in it is wrong; the faults are printed before.
    """
    source = place_of(name, params.source, sources)
    if source is None:
        raise UserError(
            f"there is no folder for {name}",
            f"Put it at {sources / name}, or name it in datasets.{name}.source or "
            f"{variable_of(name)}; docs/own_data.md says what it holds",
        )
    checked = check_folder(source)
    if checked.faults:
        for fault in checked.faults[:SHOWN]:
            print(fault.text(str(source)))
        raise UserError(
            f"{source} has {checked.num_faults} fault(s), the first: {checked.faults[0].text()}",
            f"`losh check-data {source}` lists them all",
        )
    listing = FileListing(source)
    reader = FolderReader(name, listing, checked.record())
    report = "\n".join(checked.lines()) + "\n"
    with atomic_write(out / "report.txt") as part:
        part.write_text(report, encoding="utf-8")
    write_json(out / FOLDER, reader.record)
    dataset = {
        "media": "linked",
        "parts": {"table": TABLE, "videos": VIDEOS, "masks": MASKS},
        "complete": True,
        "expected": {},
        "found": {"videos": len(checked.videos), "expressions": len(checked.expressions)},
        "faults": {},
    }
    write_raw(out, reader, dataset, _manifest(reader, source))
    print(f"{name}: {report}", end="")
    return dataset


def _manifest(reader: FolderReader, source: Path) -> dict[str, int]:
    """Relative path -> bytes of every file that will be read."""
    files = [source / TABLE]
    for video in reader.videos():
        names = reader.record["videos"][video.video]["frames"]
        files += [video.media / name for name in names] or [video.media]
        files += reader.annotation_files(video)
    return {path.relative_to(source).as_posix(): path.stat().st_size for path in files}
