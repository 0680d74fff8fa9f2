"""One clip and one sentence through the model: the files and numbers that the page shows."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from losh.demo.limits import Limits
from losh.demo.side_by_side import SideBySide
from losh.errors import UserError
from losh.own_video.knowledge import about_unknown
from losh.own_video.masked_frame import MaskedFrame
from losh.own_video.model import Model
from losh.own_video.predict import Files, mask_into_files
from losh.own_video.spoken import Expression, check_sentence, split_sentences
from losh.own_video.video_writer import video_writer

Progress = Callable[[int, int | None], None]
"""(frames done, frames in all where known)."""


@dataclass(frozen=True)
class Row:
    """Numbers of one frame."""

    time: float
    """Seconds."""
    score: float
    """What the network gives the chosen query, 0 to 1; not calibrated."""
    covered: dict[str, float]
    """Part of the frame that each mask covers, in percent: long, short, joint."""


@dataclass(frozen=True)
class Shown:
    """What the page shows of one try."""

    said: Expression
    overlay: Path
    """The clip with its masks, .mp4."""
    streams: Path
    """Long stream, short stream and joint mask side by side, .mp4."""
    archive: Path
    """A zip of masks/00000.png on, masks.json (COCO's RLE) and scores.json."""
    rows: list[Row] = field(repr=False)
    notes: list[str]


def short_text_of(model: Model, sentence: str) -> str:
    """Return the short text that the workflow's rule makes; empty where there is no sentence yet.

    Raises:
        UserError: the sentence cannot be used.
    """
    if not sentence.strip():
        return ""
    return spoken(model, sentence, None).short


def spoken(model: Model, sentence: str, short: str | None) -> Expression:
    """Return a sentence with its short text, as the model will read them.

    Args:
        short: as a person wrote it; None or blank: the workflow's rule makes it.

    Raises:
        UserError: one of them cannot be used.
    """
    if len(split_sentences(sentence)) > 1:
        raise UserError("these are several sentences", "Say one object in one sentence")
    check_sentence(sentence)
    if short is None or not short.strip():
        return model.expressions(sentence)[0]
    if not any(letter.isalpha() for letter in short):
        raise UserError(f"there is no word in the short text {short!r}", "Empty it to get it made")
    return model.expressions(sentence, short.strip())[0]


def try_out(
    model: Model, path: Path, said: Expression, folder: Path, limits: Limits, progress: Progress
) -> Shown:
    """Mask a clip and write what the page shows into `folder`.

    Raises:
        UserError: the clip cannot be used.
    """
    clip = limits.open(path)
    names = stream_names(model, said)
    masks = folder / "masks"
    files = Files(
        folder / "overlay.mp4", masks / "masks", masks / "masks.json", masks / "scores.json"
    )
    rows: list[Row] = []

    def note(t: int, found: MaskedFrame, time: float) -> None:
        rows.append(_row(found, time, list(names)))
        progress(t + 1, clip.count)

    with ExitStack() as stack:
        writer = stack.enter_context(video_writer(folder / "streams.mp4", clip))
        beside = SideBySide(writer, names)
        summary = mask_into_files(clip, model, [said], files, [beside.add, note], streams=True)
    archive = Path(shutil.make_archive(str(folder / "masks"), "zip", masks))
    shutil.rmtree(masks)
    unknown = about_unknown(model.unknown_words([said.long]))
    notes = [f"masked {summary.frames} frames", *([unknown] if unknown else []), *summary.notes]
    return Shown(said, files.overlay, folder / "streams.mp4", archive, rows, notes)


def stream_names(model: Model, said: Expression) -> dict[str, str]:
    """Return what each picture shows: its name, and what stands below it."""
    rule = model.settings.rule
    if rule == "long" or not model.predictor.model.short_stream:
        return {"long": said.long}
    return {"long": said.long, "short": said.short, "joint": f"both, by the rule {rule}"}


def _row(found: MaskedFrame, time: float, names: list[str]) -> Row:
    if found.streams is None:
        raise ValueError("the streams' masks were not asked for")
    masks = [*found.streams[0], found.masks[0]]
    covered = {name: 100 * float(mask.mean()) for name, mask in zip(names, masks, strict=False)}
    return Row(time, float(found.scores[0]), covered)
