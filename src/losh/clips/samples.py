"""Samples: which window of which video goes with which pair of expressions."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from losh.errors import UserError
from losh.frames import FrameStore
from losh.media.windows import consecutive_windows, window_around

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Sample:
    """One expression on one window."""

    sample_id: str
    dataset: str
    video: str
    expression_id: str
    expression_set: str
    instance: str
    long: str
    short: str
    window: tuple[int, ...]
    """Frame indices of the window, clamped to the video."""
    annotated: tuple[int, ...]
    """Positions in the window that have a target."""
    picture: bool = False
    """Whether all frames of the window are made of one picture (losh.clips.pseudo_clip)."""


def read_expressions(path: Path) -> pd.DataFrame:
    """Read data/short_text/<name>.csv as text, empty where empty.

    An expression that reads "NA" stays one.
    """
    import pandas as pd  # 0.6 s, which `losh predict` need not wait for

    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise UserError(
            f"{path} is missing", f"Make it with `dvc repro parse_text@{path.stem}`"
        ) from None


def build_samples(
    store: FrameStore, expressions: pd.DataFrame, train: bool, sparse: bool = False
) -> tuple[list[Sample], Counter]:
    """Return the samples of a split, and how many expressions were left out, by reason.

    The split is the training split, or with `train` false the other one.

    a2d protocol: one sample for each (expression, annotated frame) in which the instance has a
    mask. refcoco: one for each expression, a pseudo clip to train on, the picture alone otherwise.
    Others: one for each (expression, window) in which the instance appears at all; every frame of
    the window is a target.

    With `sparse` only the first annotated frame of a sample's window counts: augmentation draws a
    window around it. The published samples are then the same of a2d, and of others each expression
    with each T-th frame of its video, those without the instance included.
    """
    window, protocol, name = store.index["window"], store.index["protocol"], store.index["name"]
    left_out: Counter = Counter()
    samples: list[Sample] = []
    for row in expressions.itertuples():
        if (row.split == "train") != train:
            continue
        video = store.videos.get(row.video)
        if video is None:
            left_out["video not extracted"] += 1
            continue
        spans: list[tuple[int, tuple[int, ...], tuple[int, ...]]]
        if protocol == "a2d":
            spans = [
                (t, tuple(window_around(t, window, video["usable_frames"])), (window // 2,))
                for t in video["annotated"]
            ]
        elif protocol == "refcoco":
            frames_made = window if train else 1
            spans = [(0, (0,) * frames_made, tuple(range(frames_made)))]
        elif sparse:
            count = video["num_frames"]
            spans = [
                (t, tuple(window_around(t + window // 2, window, count)), tuple(range(window)))
                for t in range(0, count, window)
            ]
        else:
            spans = [
                (w[0], tuple(w), tuple(range(window)))
                for w in consecutive_windows(video["num_frames"], window)
            ]
        found = 0
        # Sparse windows are drawn later: the instance may be anywhere in the video.
        anywhere = (
            sparse
            and protocol != "a2d"
            and any(row.instance in names for names in video["instances"].values())
        )
        for start, frames, positions in spans:
            seen = any(
                row.instance in video["instances"].get(str(frames[p]), []) for p in positions
            )
            if seen or anywhere:
                found += 1
                sample_id = _sample_id(protocol, row, start)
                samples.append(
                    Sample(
                        sample_id,
                        name,
                        row.video,
                        row.expression_id,
                        row.expression_set,
                        row.instance,
                        row.text,
                        row.short_text,
                        frames,
                        positions,
                        protocol == "refcoco",
                    )
                )
        if not found:
            left_out["instance without a mask"] += 1
    return samples, left_out


def _sample_id(protocol: str, row: Any, start: int) -> str:
    """Return the published id where there is one, made unique by the expression's id.

    A2D and JHMDB: `v_<video>_f_<1-based frame>_i_<instance>`.
    """
    if protocol == "a2d":
        return f"v_{row.video}_f_{start + 1}_i_{row.instance}_e_{row.expression_id}"
    return f"v_{row.video}_f_{start}_{row.expression_set}_e_{row.expression_id}"


def without_copies(sample: Sample) -> Sample:
    """Return the sample as it is scored: of a picture, that one frame instead of a pseudo clip."""
    return replace(sample, window=(0,), annotated=(0,)) if sample.picture else sample


def group_samples(samples: list[Sample], most: int) -> list[list[Sample]]:
    """Put samples of one window together, at most `most` in a group.

    So its frames are read and encoded once (our choice).
    """
    windows: dict[tuple, list[Sample]] = {}
    for sample in samples:
        windows.setdefault(
            (sample.dataset, sample.video, sample.window, sample.annotated), []
        ).append(sample)
    return [group[i : i + most] for group in windows.values() for i in range(0, len(group), most)]
