"""The features of all sentences of a training.

Encoded once by the processes together, kept in scratch/, and shared by all.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

import torch

from losh.errors import UserError
from losh.inference.text_features import TextFeatures
from losh.model.text_encoder import SentenceFeatures
from losh.runtime.distributed import Processes
from losh.runtime.files import atomic_write
from losh.runtime.folders import bring
from losh.runtime.resume import fingerprint, keep_newest, link
from losh.runtime.torch_files import UNREADABLE, load_tensors, reason_of

BATCH = 64
"""Sentences encoded at once. A sentence's features depend, in their last bits, on those that it is
encoded with: the batches are the same whatever the number of processes.
"""
KEPT = 2
"""Files of features that stay in scratch: RoBERTa's of 60,000 sentences take about 2 GB."""


def encode_together(
    texts: TextFeatures,
    sentences: Iterable[str],
    encoder: list[str],
    work: Path,
    processes: Processes,
) -> None:
    """Give `texts` the features of all sentences; each process encodes its share of the batches.

    The file is mapped into memory, so that processes of one machine hold it once.

    Args:
        encoder: what identifies the text encoder and the code that runs it.
        work: the training's folder in scratch/train; the features wait in scratch/text_features.
    """
    ordered = sorted({texts.as_read(sentence) for sentence in sentences})
    cache = work.parents[1] / "text_features"
    key = fingerprint(encoder, texts.encoder.pooled, texts.device.type, ordered)
    kept = cache / f"{key}.pt"
    shared = work / "text_features.pt"
    if any(processes.gather(kept.exists())):
        bring(kept, processes)
    else:
        if processes.keeps:  # those of a run that was killed: other sentences, or another's share
            for part in work.glob("text_features.*.pt"):
                part.unlink()
        processes.wait()
        _encode_share(texts, ordered, work, processes)
        processes.wait()
        parts = [_part(work, rank) for rank in range(processes.world)]
        for part in parts:
            bring(part, processes)
        if processes.keeps:
            _save(kept, {name: one for part in parts for name, one in _load(part).items()})
            for part in parts:
                part.unlink()
    if processes.keeps:
        link(kept, shared)  # the training's own: another one may remove the other name
        with contextlib.suppress(FileNotFoundError):
            os.utime(kept)  # used again: it counts as new
        keep_newest(cache, KEPT)
    processes.wait()
    texts.features.update(_load(shared))


def _encode_share(
    texts: TextFeatures, ordered: list[str], work: Path, processes: Processes
) -> None:
    batches = [ordered[start : start + BATCH] for start in range(0, len(ordered), BATCH)]
    mine = batches[processes.rank :: processes.world]
    for batch in mine:
        texts.add(batch)
    share = [sentence for batch in mine for sentence in batch]
    _save(_part(work, processes.rank), {sentence: texts.features[sentence] for sentence in share})


def _part(work: Path, rank: int) -> Path:
    return work / f"text_features.{rank}.pt"


def _save(path: Path, features: dict[str, SentenceFeatures]) -> None:
    """Write features by sentence, as views of one tensor: thousands would load slowly."""
    words, pooled = {}, {}
    if features:
        lengths = [len(one.words) for one in features.values()]
        joined = torch.cat([one.words for one in features.values()]).split(lengths)
        words = dict(zip(features, joined, strict=True))
    vectors = {name: one.sentence for name, one in features.items() if one.sentence is not None}
    if vectors:
        pooled = dict(zip(vectors, torch.stack(list(vectors.values())).unbind(), strict=True))
    with atomic_write(path) as part:
        torch.save({"words": words, "sentence": pooled}, part)


def _load(path: Path) -> dict[str, SentenceFeatures]:
    try:
        found = load_tensors(path, mmap=True)
    except UNREADABLE as error:
        raise UserError(f"{path} cannot be read ({reason_of(error)})", "Remove it") from None
    return {
        name: SentenceFeatures(words, found["sentence"].get(name))
        for name, words in found["words"].items()
    }
