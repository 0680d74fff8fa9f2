"""Stage train: from data/train_data.json and params.yaml to data/model and metrics/train."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from losh.augmentation.augmented_clips import AugmentedClips
from losh.clips.sampler import GlobalBatches
from losh.clips.samples import Sample, group_samples, without_copies
from losh.clips.transforms import mirror_words
from losh.errors import UserError
from losh.frames import FrameStore
from losh.inference.forward import Predictor
from losh.inference.text_features import TextFeatures
from losh.inference.validation import validate
from losh.media.resizing import InputSize
from losh.model.build import build_model
from losh.model.checkpoint import save_model
from losh.model.losh import LoSh
from losh.params import Params
from losh.runtime.distributed import (
    Divisible,
    Processes,
    start,
    stop,
)
from losh.runtime.files import write_json
from losh.runtime.folders import bring, keepers_of
from losh.runtime.resume import (
    SCRATCH,
    held,
    keep_newest,
    link,
    stage_digest,
    warn_if_changed,
)
from losh.train.curves import draw_curves, write_curves
from losh.train.dataset_digests import DATA
from losh.train.fingerprint import named_weights, training_fingerprint
from losh.train.split import load_train_samples, of_same_videos, split_validation
from losh.train.start import start_from
from losh.train.state import saved_step
from losh.train.text_cache import encode_together
from losh.train.trainer import Stopped, Trainer

KEPT = 3
"""Folders of other trainings, finished or stopped, that stay in scratch/train: those that changed
last.
"""


def divisible_into_clips(batch_size: int) -> Divisible:
    """Say into how many processes a training divides: each needs a clip of every batch."""
    return Divisible(batch_size, f"train.batch_size is {batch_size}")


def train(
    params: Params, out: Path, metrics: Path, root: Path = DATA, scratch: Path = SCRATCH
) -> dict[str, Any]:
    """Train, and write the checkpoints to `out`, curves and train.json to `metrics`.

    The checkpoints are the best and the last.

    Returns the summary that train.json holds. A training that was stopped goes on from its saved
    state.

    Raises:
        SystemExit: 128 + the signal's number, where a signal stopped it; the state is saved.
    """
    code = stage_digest("train", **params.by_section())
    work = scratch / "train" / training_fingerprint(params, root, code)
    processes = start()
    try:
        with _work_folder(work, processes) as keepers:
            summary = _train(params, out, metrics, root, work, keepers, code)
    except Stopped as stopped:
        if processes.is_main:
            print(
                f"{stopped}; the state is saved in {work}, and the same command goes on from there",
                file=sys.stderr,
            )
        raise SystemExit(128 + stopped.signal) from None
    finally:
        stop()
    if processes.is_main:
        warn_if_changed(code, "train", **params.by_section())
    return summary


@contextmanager
def _work_folder(work: Path, processes: Processes) -> Iterator[Processes]:
    """Make the training's folder on every machine and hold it; remove old ones.

    Yields the processes as keepers of theirs.
    """
    processes = keepers_of(work, processes)
    _bring_state(work, processes)
    if not processes.keeps:
        yield processes
        return
    os.utime(work)  # a finished training that is used again counts as new
    keep_newest(work.parent, 1 + KEPT)
    with held(work):
        yield processes


def _bring_state(work: Path, processes: Processes) -> None:
    """Give each machine the newest state, and the best weights until then.

    One that has lost its disk, or joined late, goes on from where the others are.
    """
    state, best = work / "state.pt", work / "best.safetensors"
    reached = saved_step(state)
    bring(best, processes, reached)
    bring(state, processes, reached)


def _train(
    params: Params,
    out: Path,
    metrics: Path,
    root: Path,
    work: Path,
    processes: Processes,
    code: str,
) -> dict[str, Any]:
    samples, left_out = load_train_samples(params.train.datasets, root)
    training, validation = split_validation(
        samples, params.train.validation_fraction, params.train.seed
    )
    validation = [without_copies(sample) for sample in validation]
    if params.train.augmentation.clips == "sparse":
        anchored, left_out = load_train_samples(params.train.datasets, root, sparse=True)
        training = of_same_videos(anchored, training)
    _announce(training, validation, left_out, processes)
    torch.manual_seed(params.train.seed)
    model = build_model(params.model, params.pipeline)
    if params.train.start_from is not None:
        notes = start_from(model, params)
        if processes.is_main:
            print("\n".join(notes))
    model.base.backbone.checkpoint_blocks = params.train.checkpoint_blocks
    model.base.backbone.freeze_stages(params.train.backbone_frozen_stages)
    texts = _texts(model, samples, params, root, work, processes, code)
    size = InputSize(params.train.short_side, params.train.long_side, params.train.resize_filter)
    groups = group_samples(training, params.train.expressions_per_window)
    dataset = AugmentedClips(
        root,
        groups,
        size,
        params.train.flip,
        params.train.augmentation,
        with_flow=params.train.losses.consistency > 0,
    )
    weights = params.train.sampling_weights
    named = dict(zip(params.train.datasets, weights, strict=True)) if weights else None
    batches = GlobalBatches(
        [group[0].dataset for group in groups],
        params.train.batch_size,
        params.train.seed,
        named,
        processes.rank,
        processes.world,
        params.train.last_batch == "keep",
    )
    if batches.notice and processes.is_main:
        print(batches.notice)
    trainer = Trainer(model, texts, dataset, batches, params.train, processes, work / "state.pt")
    config = {
        "model": params.model.model_dump(),
        "pipeline": params.pipeline.model_dump(),
        "window": _window(training),
        "datasets": {name: params.datasets[name].kind for name in params.train.datasets},
        **asdict(size),
    }
    _epochs(trainer, params, validation, root, work, config)
    if keepers_of(out, processes).keeps:
        return _write_outputs(trainer, params, work, out, metrics)
    return {}


def _texts(
    model: LoSh,
    samples: list[Sample],
    params: Params,
    root: Path,
    work: Path,
    processes: Processes,
    code: str,
) -> TextFeatures:
    """Return what the model gets of sentences.

    With a frozen encoder it is the features of all of them.
    """
    frozen = params.train.text_encoder_learning_rate == 0
    encoder = model.text_encoder
    encoder.frozen = frozen
    folds = all(
        model.base.folds_text(FrameStore(root / "frames" / name).index["protocol"], training=True)
        for name in params.train.datasets
    )
    texts = TextFeatures(encoder.to(processes.device), processes.device, frozen, folds)
    if frozen:
        # All at once, mirrored ones too: a sentence's features depend, in their last bits, on those
        # that it is encoded with, and a resumed training would meet them in other company.
        sentences = {text for sample in samples for text in (sample.long, sample.short)}
        sentences |= {mirror_words(text) for text in sentences}
        # The encoder's weights come by its name, or with those that training starts from.
        named = named_weights(params)
        weights = [named.get(key, "") for key in ("model.text_encoder", "train.start_from")]
        encoder_is = [params.model.text_encoder, *weights, *params.train.start_without, code]
        encode_together(texts, sentences, encoder_is, work, processes)
    return texts


def _epochs(
    trainer: Trainer,
    params: Params,
    validation: list[Sample],
    root: Path,
    work: Path,
    config: dict[str, Any],
) -> None:
    """Run what is left of the epochs; after each, validate where it is due, keep the best, save."""
    steps, progress = trainer.batches.steps, trainer.progress
    size = InputSize.of_config(config)
    predictor = Predictor(trainer.model, trainer.texts, size, trainer.dtype)
    done = progress.epoch * steps + progress.step
    with tqdm(
        total=params.train.epochs * steps,
        initial=done,
        desc="train",
        unit="step",
        disable=not trainer.processes.is_main,
    ) as bar:
        while progress.epoch < params.train.epochs:
            bar.set_description(f"train epoch {progress.epoch + 1}/{params.train.epochs}")
            means = trainer.run_epoch(bar)
            row = {f"train/{name}": value for name, value in sorted(means.items())}
            row |= {
                f"rate/{group['name']}": group["lr"] for group in trainer.optimizer.param_groups
            }
            last = progress.epoch == params.train.epochs
            if validation and (last or progress.epoch % params.train.validation_every == 0):
                scores = validate(predictor, validation, root, trainer.processes)
                row |= {f"val/{name}": value for name, value in scores.items()}
                bar.write(
                    f"epoch {progress.epoch}: loss.total {means.get('total', float('nan')):.3f}, "
                    f"validation.mean_iou {scores['mean_iou']:.3f}"
                )
            progress.history.append(row)
            score = row.get("val/mean_iou", -1.0)
            if not validation or score > progress.best_score:
                progress.best_score, progress.best_epoch = score, progress.epoch
                if trainer.processes.keeps:
                    save_model(work / "best.safetensors", trainer.model, config)
            trainer.save()
    if trainer.processes.keeps:
        save_model(work / "last.safetensors", trainer.model, config)
    trainer.stop.restore()


def _write_outputs(
    trainer: Trainer, params: Params, work: Path, out: Path, metrics: Path
) -> dict[str, Any]:
    history, progress = trainer.progress.history, trainer.progress
    for name, target in (("best", "model"), ("last", "last")):
        link(work / f"{name}.safetensors", out / f"{target}.safetensors")
    write_curves(history, metrics / "train")
    draw_curves(history, metrics / "train" / "curves.png")
    best = history[progress.best_epoch - 1]
    summary = {
        "best_epoch": progress.best_epoch,
        "epochs": progress.epoch,
        "skipped_steps": progress.skipped,
        "loss": _rounded(history[-1], "train/"),
        "validation": _rounded(best, "val/"),
    }
    write_json(metrics / "train.json", summary)
    return summary


def _rounded(row: dict[str, float], prefix: str) -> dict[str, float]:
    """Return the row's values whose names begin with `prefix`, to four digits.

    More would be noise in `dvc metrics diff`.
    """
    return {
        name.removeprefix(prefix): round(value, 4)
        for name, value in row.items()
        if name.startswith(prefix)
    }


def _window(samples: list[Sample]) -> int:
    return len(samples[0].window)


def _announce(
    training: list[Sample], validation: list[Sample], left_out: Counter, processes: Processes
) -> None:
    if not training:
        raise UserError(
            "no training sample is left", "Check train.datasets and train.validation_fraction"
        )
    if processes.is_main:
        missing = "".join(
            f"; {count} expressions left out: {why}" for why, count in sorted(left_out.items())
        )
        where = f"{processes.world} process(es) on {processes.device.type}"
        print(
            f"train: {len(training)} samples, {len(validation)} held out for validation, "
            f"{where}{missing}"
        )
