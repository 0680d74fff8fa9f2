"""What is there against what was published: counts, missing, surplus and unreadable videos."""

from __future__ import annotations

import json
import secrets
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path

from tqdm import tqdm

from losh.datasets.listing import FileListing
from losh.datasets.mevis import NOTHING
from losh.datasets.published import EXPECTED, make_reader
from losh.datasets.reader import DatasetReader, Video
from losh.errors import UserError
from losh.media.decoding import decode_image
from losh.runtime.parallel import map_items

SHOWN = 20
"""Names that a list in the report shows before it is cut."""


@dataclass
class Report:
    """The outcome of the check.

    Names are relative to the source, so that two machines write the same report.
    """

    name: str
    verified: str
    """names or decode."""
    expected: dict[str, int]
    found: dict[str, int]
    missing: list[str] = field(default_factory=list)
    """Published videos that are not there."""
    surplus: list[str] = field(default_factory=list)
    """Videos there that the publication does not list."""
    unknown: list[str] = field(default_factory=list)
    """Videos that expressions name and no table lists."""
    lacking: list[str] = field(default_factory=list)
    """Files that a video which is there should have."""
    unreadable: list[str] = field(default_factory=list)
    manifest: dict[str, int] = field(default_factory=dict)
    """Relative path -> bytes of every file that will be read."""
    release: str = ""
    """Which of several releases it is; empty where there is but one."""

    @property
    def complete(self) -> bool:
        """Whether all that was published is there and can be read."""
        whole = all(self.found.get(what, 0) >= count for what, count in self.expected.items())
        return whole and not (self.missing or self.unknown or self.lacking or self.unreadable)

    @property
    def state(self) -> str:
        """complete, a subset (fewer videos, all of them whole), or damaged."""
        return (
            "complete"
            if self.complete
            else "damaged"
            if self.lacking or self.unreadable
            else "a subset"
        )

    def text(self) -> str:
        """Return the report for a person."""
        counts = [
            f"{self.found.get(what, 0):,} of {count:,} {what}"
            for what, count in self.expected.items()
        ]
        counts += [
            f"{count:,} {what}" for what, count in self.found.items() if what not in self.expected
        ]
        lines = [f"{self.name}: {self.state}, {', '.join(counts)} (checked: {self.verified})"]
        if self.release:
            lines.append(f"release: {self.release}")
        for title, names in (
            ("videos that are not there", self.missing),
            ("videos that the publication does not list", self.surplus),
            ("videos that expressions name and no table lists", self.unknown),
            ("files that are not there", self.lacking),
            ("files that cannot be read", self.unreadable),
        ):
            if names:
                lines.append(f"{title}: {len(names):,}")
                lines += [f"  {name}" for name in names[:SHOWN]] + (
                    ["  ..."] if len(names) > SHOWN else []
                )
        return "\n".join(lines) + "\n"


def verify(
    reader: DatasetReader, listing: FileListing, parts: dict[str, str], thorough: str
) -> Report:
    """Check a source folder.

    `thorough` is `names` (names and sizes) or `decode` (every frame and mask as well, on all cores
    or a cluster).

    Raises:
        UserError: a table that is not as published, or no video at all.
    """
    inventory, videos, expressions = reader.inventory(), reader.videos(), reader.expressions()
    if not videos:
        raise UserError(
            f"{listing.root} has none of the {len(inventory.listed)} videos of {reader.kind}",
            "Check what was unpacked there",
        )
    report = Report(reader.name, thorough, expected_counts(reader.kind, len(inventory.unused)), {})
    report.release = inventory.release
    noun = "images" if reader.protocol == "refcoco" else "videos"
    counts = _count(videos, len(expressions), noun)
    # By split only where they are published so: A2D-Sentences counts both together.
    by_split = Counter(f"{one.split} expressions" for one in expressions)
    counts.update({what: n for what, n in by_split.items() if what in report.expected})
    if reader.protocol == "mevis":
        counts.update("expressions without an object" for e in expressions if e.instance == NOTHING)
    report.found = dict(sorted(counts.items()))
    report.missing = sorted(set(inventory.listed) - {video.video for video in videos})
    report.surplus = sorted(inventory.present - set(inventory.listed) - inventory.unused)
    report.unknown = sorted(inventory.unknown)
    for name in parts.values():
        if (listing.root / name).is_file():
            report.manifest[name] = (listing.root / name).stat().st_size
    names = [video.video for video in videos]
    with map_items(
        partial(_decode, _Source.of(reader, parts)), names if thorough == "decode" else []
    ) as decoded:
        for video in tqdm(videos, desc=f"check {reader.name}", unit="video"):
            _check(reader, listing, video, report)
            if thorough == "decode":
                report.unreadable += next(decoded)
    return report


@dataclass(frozen=True)
class _Source:
    """What a worker opens a source by, since its list of files is long."""

    kind: str
    name: str
    root: Path
    parts: tuple[tuple[str, str], ...]
    samples: str
    """JHMDB's scored frames, as JSON; others: null."""
    check: str
    """Of one check alone: another one reads the folder anew."""

    @classmethod
    def of(cls, reader: DatasetReader, parts: dict[str, str]) -> _Source:
        """Describe what `reader` reads."""
        samples = json.dumps(getattr(reader, "samples", None))
        where = tuple(sorted(parts.items()))
        check = secrets.token_hex(8)
        return cls(reader.kind, reader.name, reader.listing.root, where, samples, check)


@lru_cache(maxsize=1)
def _opened(source: _Source) -> tuple[DatasetReader, dict[str, Video]]:
    samples = json.loads(source.samples)
    listing = FileListing(source.root)
    reader = make_reader(source.kind, source.name, listing, dict(source.parts), samples)
    return reader, {video.video: video for video in reader.videos()}


def expected_counts(kind: str, unused: int) -> dict[str, int]:
    """Return published counts, less the videos that the publication ships and leaves out."""
    counts = dict(EXPECTED.get(kind, {}))
    if kind == "a2d_sentences":
        counts["videos"] -= unused
    return counts


def _count(videos: list[Video], expressions: int, noun: str) -> Counter[str]:
    counts = Counter(
        {
            noun: len(videos),
            "expressions": expressions,
            "annotated frames": sum(len(video.annotated) for video in videos),
        }
    )
    counts.update(f"{video.split} {noun}" for video in videos)
    # Public for some videos of a split alone, if at all.
    counts.update("valid videos with masks" for v in videos if v.split == "valid" and v.annotated)
    return counts


def _check(reader: DatasetReader, listing: FileListing, video: Video, report: Report) -> None:
    """Note each file of a video: present with its size, lacking, or empty."""
    media = (
        [video.media / f"{name}{reader.frame_suffix}" for name in video.frame_names]
        if reader.frame_suffix
        else [video.media]
    )
    if not media:
        report.lacking.append(f"{_relative(listing, str(video.media))}: no frame")
    if video.masked is not None and video.masked > len(video.frame_names):
        report.lacking.append(
            f"{_relative(listing, str(video.media))}: {len(video.frame_names)} frames, but masks "
            f"of {video.masked}"
        )
    if video.masked is not None and not video.annotated:
        report.lacking.append(f"{video.video}: no frame that is scored")
    for path in media + reader.annotation_files(video):
        name = path.relative_to(listing.root).as_posix()
        try:
            size = path.stat().st_size
        except OSError:
            report.lacking.append(name)
            continue
        report.manifest[name] = size
        if size == 0:
            report.unreadable.append(f"{name}: empty")


def _decode(source: _Source, name: str) -> list[str]:
    """Read every frame and mask of a video; return what is said of those that fail."""
    reader, videos = _opened(source)
    listing, video, faults = reader.listing, videos[name], list[str]()
    try:
        for frame, name in reader.frames(video):
            if isinstance(frame, bytes):
                decode_image(frame, name, reader.mend)
    except UserError as error:
        faults.append(_relative(listing, str(error)))
    for frame_index in video.annotated:
        try:
            reader.masks(video, frame_index)
        except UserError as error:
            faults.append(_relative(listing, str(error)))
    return faults


def _relative(listing: FileListing, text: str) -> str:
    """Return a message without the machine's path."""
    return text.replace(f"{listing.root}/", "")
