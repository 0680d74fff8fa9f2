"""The stage itself: from nothing, archives or a folder to data/raw/<name>."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from losh.datasets.jhmdb_sentences import JHMDBSentences
from losh.datasets.listing import FileListing
from losh.datasets.locate import (
    SOURCES,
    archives_in,
    needs_unpacking,
    place_of,
    unpacked_folder,
    variable_of,
)
from losh.datasets.published import LAYOUTS, make_reader
from losh.datasets.raw_folder import SAMPLES, write_raw
from losh.download.archives import unpack_all
from losh.download.catalogue import CATALOGUE, instructions
from losh.download.http import Wanted, fetch
from losh.download.own_folder import take_folder
from losh.download.verify import Report, verify
from losh.errors import UserError
from losh.params import DatasetParams, FolderParams, MovingShapesParams, PublishedParams
from losh.runtime.files import atomic_write, write_json
from losh.runtime.home import at_home


def download(
    name: str, params: DatasetParams, out: Path, sources: Path = SOURCES
) -> dict[str, Any]:
    """Prepare data/raw/<name>, and return dataset.json's contents.

    The dataset is generated, or a published one is found, unpacked, checked and linked.

    Raises:
        UserError: files are still to be fetched by hand (which, from where, to where), an archive
            is unsafe, a table is not as published.
    """
    # The mark of a whole folder: an unfinished run must not leave an old one.
    (out / "dataset.json").unlink(missing_ok=True)
    if isinstance(params, MovingShapesParams):
        return _generate(name, params, out)
    if isinstance(params, FolderParams):
        return take_folder(name, params, out, sources)
    source = find_source(name, params, sources)
    parts = LAYOUTS[params.kind].locate(source)
    listing = FileListing(source)
    samples = (
        _choose_samples(name, params, listing, parts, out)
        if params.kind == "jhmdb_sentences"
        else None
    )
    reader = make_reader(params.kind, name, listing, parts, samples)
    report = verify(reader, listing, parts, params.verify)
    dataset = _describe(report, "linked", parts)
    _write_report(out, report)
    write_raw(out, reader, dataset, report.manifest)
    print(report.text(), end="")
    return dataset


def find_source(name: str, params: PublishedParams, sources: Path = SOURCES) -> Path:
    """Find the folder with the published layout.

    As the user has it, or unpacked from the user's or the fetched archives.

    Raises:
        UserError: something is missing that only a person can fetch, or that could not be fetched.
    """
    layout, own = LAYOUTS[params.kind], at_home(sources / name)
    unpacked = unpacked_folder(name, sources)
    for fetched in (False, True):
        place = place_of(name, params.source, sources)
        folder = _unpack(place, params.kind, unpacked) if place else unpacked
        found = layout.locate(folder) if folder.is_dir() else {}
        if not layout.missing(found):
            return folder
        what = f"{name} lacks {', '.join(layout.missing(found))}" + (
            f" in {folder}" if folder.is_dir() else ""
        )
        manual = f"{what}; {instructions(params.kind, str(place or own), variable_of(name), found)}"
        # We write into our own folder only, and begin no long transfer while something waits for a
        # person's hand.
        if fetched or place not in (None, own) or not _fetch_rest(params.kind, own, found, manual):
            raise UserError(manual)
    raise AssertionError("both rounds return or raise")


def _unpack(place: Path, kind: str, unpacked: Path) -> Path:
    if not needs_unpacking(place, kind):
        return place
    archives = archives_in(place)
    if not archives:
        raise UserError(
            f"{place} is neither a folder nor a zip or tar archive",
            "Name the folder or the archive of the dataset",
        )
    loose = (
        [
            path
            for path in sorted(place.iterdir())
            if path not in archives and not path.name.startswith(".")
        ]
        if place.is_dir()
        else []
    )
    unpack_all(archives, [path for path in loose if ".part" not in path.suffixes], unpacked)
    return unpacked


def _fetch_rest(kind: str, own: Path, found: dict[str, str], manual: str) -> bool:
    """Fetch the items that are not there; False if one of them has no direct link."""
    wanted = [
        item
        for item in CATALOGUE[kind]
        if not item.optional and not all(part in found for part in item.parts)
    ]
    if not wanted or not all(item.url for item in wanted):
        return False
    for item in wanted:
        try:
            fetch(Wanted(item.url, md5=item.md5), own / item.file)
        except UserError as error:
            raise UserError(f"{error}\nOr by hand: {manual}") from None
    return True


def _generate(name: str, params: MovingShapesParams, out: Path) -> dict[str, Any]:
    """MovingShapes, whose media lie in the raw folder itself."""
    from losh.moving_shapes.generate import (
        generate,  # only the generated dataset needs the generator
    )

    generate(params, out)
    parts = LAYOUTS["moving_shapes"].locate(out)
    listing = FileListing(out)
    reader = make_reader("moving_shapes", name, listing, parts, strict=True)
    report = verify(reader, listing, parts, "names")
    report.expected = {"train videos": params.train_videos, "test videos": params.test_videos}
    dataset = _describe(report, "embedded", parts)
    _write_report(out, report)
    write_raw(out, reader, dataset)
    return dataset


def _choose_samples(
    name: str, params: PublishedParams, listing: FileListing, parts: dict[str, str], out: Path
) -> dict[str, list[int]]:
    """Choose JHMDB's scored frames, and keep them beside the other outputs.

    From the published list, or drawn with the seed.
    """
    reader = JHMDBSentences(name, listing, parts)
    frames = reader.published_samples()
    if frames is None and params.require_sample_list:
        raise UserError(
            f"{name} has no jhmdb_sentences_samples_metadata.json in {listing.root}, and "
            f"datasets.{name}.require_sample_list asks for the published test set",
            f"Put that file there (docs/datasets/{params.kind}.md says where it is from), or set "
            f"the parameter to false to have frames drawn",
        )
    origin = "published" if frames is not None else f"drawn with seed {params.seed}"
    if frames is None:
        frames = reader.draw_samples(params.seed)
    write_json(out / SAMPLES, {"origin": origin, "frames": frames})
    return frames


def _describe(report: Report, media: str, parts: dict[str, str]) -> dict[str, Any]:
    faults = {
        what: len(getattr(report, what))
        for what in ("missing", "surplus", "unknown", "lacking", "unreadable")
    }
    return {
        "media": media,
        "parts": parts,
        "complete": report.complete,
        "expected": report.expected,
        "found": report.found,
        "faults": faults,
        **({"release": report.release} if report.release else {}),
    }


def _write_report(out: Path, report: Report) -> None:
    with atomic_write(out / "report.txt") as part:
        part.write_text(report.text(), encoding="utf-8")
