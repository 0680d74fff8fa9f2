"""The samples that training reads, and their split into training and validation videos."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

from losh.clips.samples import Sample, build_samples, read_expressions
from losh.errors import UserError
from losh.frames import FrameStore
from losh.train.dataset_digests import DATA


def load_train_samples(
    names: list[str], root: Path = DATA, sparse: bool = False
) -> tuple[list[Sample], Counter]:
    """All training samples of the named datasets; and why expressions were left out.

    Args:
        sparse: those from which sparse clips are drawn.
    """
    samples: list[Sample] = []
    left_out: Counter = Counter()
    windows = set()
    for name in names:
        store = FrameStore(root / "frames" / name)
        windows.add(store.index["window"])
        found, missing = build_samples(
            store, read_expressions(root / "short_text" / f"{name}.csv"), train=True, sparse=sparse
        )
        if sparse:
            _require_all_frames(store)
        if not found:
            raise UserError(
                f"dataset {name} has no training sample",
                "Take it out of train.datasets: it is for evaluation only",
            )
        samples += found
        left_out += missing
    if len(windows) > 1:
        raise UserError(
            f"the datasets were extracted for windows of {sorted(windows)} frames",
            "Run `dvc repro extract_frames`",
        )
    return samples, left_out


def of_same_videos(samples: list[Sample], others: list[Sample]) -> list[Sample]:
    """Those samples whose videos `others` have."""
    videos = {(other.dataset, other.video) for other in others}
    return [sample for sample in samples if (sample.dataset, sample.video) in videos]


def _require_all_frames(store: FrameStore) -> None:
    for video, row in store.videos.items():
        if row["split"] == "train" and len(row["stored"]) < row["usable_frames"]:
            raise UserError(
                f"train.augmentation.clips is sparse, but of {store.index['name']}'s video "
                f"{video!r} only the frames of windows were kept",
                "Set frames.keep to all, or train.augmentation.clips to windows",
            )


def split_validation(
    samples: list[Sample], fraction: float, seed: int
) -> tuple[list[Sample], list[Sample]]:
    """Split the samples by video into training and validation samples.

    With fraction > 0 at least one is held out, and each dataset keeps one.

    A video's side follows from a digest of its name and the seed: adding a dataset moves no video
    of another.
    """

    def draw(sample: Sample) -> float:
        digest = hashlib.sha256(f"{seed}/{sample.dataset}/{sample.video}".encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64

    draws = {(sample.dataset, sample.video): draw(sample) for sample in samples}
    if fraction == 0 or len(draws) < 2:
        return samples, []
    held_out = {video for video, value in draws.items() if value < fraction} or {
        min(draws, key=draws.__getitem__)
    }
    for name in {dataset for dataset, _ in draws}:
        videos = {video for video in draws if video[0] == name}
        if videos <= held_out:  # a small dataset: it must not vanish from training
            held_out.discard(max(videos, key=draws.__getitem__))
    validation = [sample for sample in samples if (sample.dataset, sample.video) in held_out]
    return [
        sample for sample in samples if (sample.dataset, sample.video) not in held_out
    ], validation
