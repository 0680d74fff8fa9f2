"""`losh predict`: a clip and sentences in, an overlay video, masks and scores out.

What the network needs takes seconds to import. So it is imported last, when all else was checked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from losh.errors import UserError, reason
from losh.media.drawing import overlay
from losh.media.resizing import resize_frame
from losh.own_video.clip_input import Clip, open_clip
from losh.own_video.legend import colour_of, legend
from losh.own_video.masked_frame import MaskedFrame
from losh.own_video.output_places import Output, check_outputs
from losh.own_video.result_files import Add, mask_folder, rle_file, score_file
from losh.own_video.settings import Settings, check_model_file
from losh.own_video.spoken import Expression, about_several, check_sentence, check_shorts
from losh.own_video.video_writer import VideoWriter, video_writer

if TYPE_CHECKING:
    from losh.own_video.model import Model

UNCALIBRATED = (
    "what the network gives the chosen query, 0 to 1; not calibrated: it may be high where the "
    "object is absent"
)


@dataclass(frozen=True)
class Files:
    """What is written."""

    overlay: Path
    """The overlay video, .mp4."""
    masks: Path | None = None
    """A folder of PNGs."""
    rle: Path | None = None
    """COCO's RLE, .json."""
    scores: Path | None = None
    """Scores per frame, .json."""

    def check(self, clip: Path) -> None:
        """Refuse what cannot be written, or would destroy the clip or another, before any work.

        Raises:
            UserError: names the path, the option, and what is in the way.
        """
        outputs = [Output(self.overlay, "-o", ".mp4")]
        for path, option, suffix in (
            (self.masks, "--masks", ""),
            (self.rle, "--rle", ".json"),
            (self.scores, "--scores", ".json"),
        ):
            if path is not None:
                outputs.append(Output(path, option, suffix))
        check_outputs(outputs, clip)

    def written(self) -> list[str]:
        """Return what is there when all is done."""
        masks = [] if self.masks is None else [f"{self.masks}/"]
        rest = [str(path) for path in (self.rle, self.scores) if path is not None]
        return [str(self.overlay), *masks, *rest]


@dataclass(frozen=True)
class Summary:
    """What a prediction came to."""

    shorts: list[str]
    """The short expression of each sentence."""
    scores: list[float]
    """Of each sentence, the mean over the frames; not calibrated."""
    covered: list[float]
    """The part of the pixels that each sentence's masks cover."""
    frames: int
    notes: list[str]
    """What there is to tell, each one line."""


def predict(
    path: Path,
    sentences: Sequence[str],
    files: Files,
    model: Path,
    shorts: Sequence[str] | None = None,
    settings: Settings | None = None,
    rate: float | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Summary:
    """Mask what each sentence refers to in every frame of a clip.

    Args:
        path: a video file, or a folder of images.
        model: a model file of ours.
        shorts: the short expression of each sentence; None: the workflow's rule makes them.
        rate: frames per second of a folder of images.
        say: gets what a person should know before the work begins.

    Raises:
        UserError: an input cannot be used, or an output not be written; nothing is then left.
    """
    # All that can be refused is refused before the network is loaded, or its libraries are.
    for sentence in sentences:
        check_sentence(sentence)
    check_shorts(sentences, shorts)
    files.check(path)
    check_model_file(model)
    clip = open_clip(path, rate)
    for note in about_several(sentences):
        say(f"note: {note}")
    from losh.own_video.knowledge import about_unknown
    from losh.own_video.model import load

    loaded = load(model, settings=settings)
    say(f"weights: {loaded.knows}")
    said = loaded.expressions(sentences, shorts)
    if unknown := about_unknown(loaded.unknown_words(sentences)):
        say(unknown)
    for one in said:
        say(f"short expression: {one.short}")
    return mask_into_files(clip, loaded, said, files)


def mask_into_files(
    clip: Clip,
    model: Model,
    said: list[Expression],
    files: Files,
    watching: Sequence[Add] = (),
    streams: bool = False,
) -> Summary:
    """Mask what each sentence refers to in every frame, and write the files.

    Args:
        watching: each also gets every frame with its masks.
        streams: give those who watch what each stream alone would mask, too.

    Raises:
        UserError: the clip does not decode, or a file cannot be written; nothing is then left.
    """
    try:
        return _Work(clip, model, said, files).run(watching, streams)
    except OSError as error:
        raise UserError(f"{files.overlay} cannot be written ({reason(error)})") from None


class _Work:
    """One clip's way to its files."""

    def __init__(self, clip: Clip, model: Model, said: list[Expression], files: Files) -> None:
        self.clip, self.model, self.said, self.files = clip, model, said, files
        self.strip: np.ndarray | None = None
        self.size: tuple[int, int] | None = None
        self.notes: list[str] = []
        self.covered, self.scores = np.zeros(len(said)), np.zeros(len(said))

    def run(self, watching: Sequence[Add], streams: bool) -> Summary:
        """Read, mask, draw and write, frame by frame."""
        count = 0
        with ExitStack() as stack:
            writer = stack.enter_context(video_writer(self.files.overlay, self.clip))
            adders = [*self._adders(stack), *watching]
            stream = self.model.stream(self.clip, self.said, streams=streams)
            stack.callback(stream.close)
            # Silent where nobody watches: a bar in a log is noise.
            bar = tqdm(stream, total=self.clip.count, unit="frame", smoothing=0.1, disable=None)
            for count, found in enumerate(bar, 1):
                time = round(float(found.frame.pts * self.clip.time_base), 6)
                for add in adders:
                    add(count - 1, found, time)
                self._draw(writer, found)
            self.notes += self.clip.notes
        self.notes += writer.notes
        if count > self.model.chunk:
            self.notes.append(
                f"masked {self.model.chunk} frames at a time, each time on their own: the object "
                "may change between them (--chunk)"
            )
        shorts = [one.short for one in self.said]
        scores, covered = ((sums / count).tolist() for sums in (self.scores, self.covered))
        return Summary(shorts, scores, covered, count, self.notes)

    def _adders(self, stack: ExitStack) -> list[Add]:
        said = [{"sentence": one.long, "short": one.short} for one in self.said]
        head = {"clip": self.clip.name, "frames_per_second": float(self.clip.rate), "said": said}
        adders = []
        if self.files.masks is not None:
            adders.append(stack.enter_context(mask_folder(self.files.masks, len(said))))
        if self.files.rle is not None:
            adders.append(stack.enter_context(rle_file(self.files.rle, head)))
        if self.files.scores is not None:
            head |= {"about_scores": UNCALIBRATED}
            adders.append(stack.enter_context(score_file(self.files.scores, head)))
        return adders

    def _draw(self, writer: VideoWriter, found: MaskedFrame) -> None:
        self.scores += found.scores
        self.covered += found.masks.mean((1, 2))
        picture = found.frame.image
        for i, mask in enumerate(found.masks):
            picture = overlay(picture, mask, colour_of(i))
        if self.strip is None or self.size is None:
            self.size = (picture.shape[0], picture.shape[1])
            self.strip, notes = legend([one.long for one in self.said], self.size[1], self.size[0])
            self.notes += notes
        picture = resize_frame(picture, self.size)
        writer.write(np.concatenate([picture, self.strip]), found.frame)
