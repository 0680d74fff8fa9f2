"""Stage train: from data/train_data.json and params.yaml to data/model and metrics/train."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from losh.clips.dataset import ClipDataset
from losh.clips.sampler import GlobalBatches
from losh.clips.samples import Sample, group_samples
from losh.clips.transforms import mirror_words
from losh.errors import UserError
from losh.inference.forward import Predictor
from losh.inference.text_features import TextFeatures
from losh.inference.validation import validate
from losh.model.build import build_model
from losh.model.checkpoint import save_model
from losh.params import Params
from losh.runtime.distributed import Processes, start, stop
from losh.runtime.files import read_json, write_json
from losh.runtime.resume import SCRATCH, code_digest, fingerprint, link, warn_if_changed
from losh.train.curves import draw_curves, write_curves
from losh.train.inputs import DATA
from losh.train.split import load_train_samples, split_validation
from losh.train.trainer import Stopped, Trainer

CODE = [
    "model",
    "train",
    "clips",
    "windows.py",
    "resizing.py",
    "open_files.py",
    "frames/store.py",
    "flow/store.py",
]
"""What decides the weights: a change of it starts a training afresh."""


def train(
    params: Params, out: Path, metrics: Path, root: Path = DATA, scratch: Path = SCRATCH
) -> dict[str, Any]:
    """Train and write the best and the last checkpoint to `out`, curves and train.json to
    `metrics`.

    Returns the summary that train.json holds. A training that was stopped goes on from its saved
    state.

    Raises:
        SystemExit: 128 + the signal's number, where a signal stopped it; the state is saved.
    """
    inputs = read_json(root / "train_data.json", "dvc repro train_data")
    digest = code_digest(CODE)
    work = (
        scratch
        / "train"
        / fingerprint(
            params.model.model_dump(),
            params.pipeline.model_dump(),
            params.train.model_dump(),
            inputs,
            digest,
        )
    )
    processes = start()
    try:
        summary = _train(params, out, metrics, root, work, processes)
    except Stopped as stopped:
        if processes.is_main:
            print(
                f"{stopped}; the state is saved in {work}, and the same command goes on from there",
                file=sys.stderr,
            )
        raise SystemExit(128 + stopped.signal) from None
    finally:
        stop()
    warn_if_changed(CODE, digest)
    return summary


def _train(
    params: Params, out: Path, metrics: Path, root: Path, work: Path, processes: Processes
) -> dict[str, Any]:
    samples, left_out = load_train_samples(params.train.datasets, root)
    training, validation = split_validation(
        samples, params.train.validation_fraction, params.train.seed
    )
    _announce(training, validation, left_out, processes)
    torch.manual_seed(params.train.seed)
    model = build_model(params.model, params.pipeline)
    frozen = params.train.text_encoder_learning_rate == 0
    model.base.text_encoder.frozen = frozen
    texts = TextFeatures(model.base.text_encoder.to(processes.device), processes.device, frozen)
    if frozen:
        # All at once, mirrored ones too: a sentence's features depend, in their last bits, on those
        # that it is encoded with, and a resumed training would meet them in other company.
        sentences = {text for sample in samples for text in (sample.long, sample.short)}
        texts.add(sentences | {mirror_words(text) for text in sentences})
    sizes = (params.train.short_side, params.train.long_side)
    groups = group_samples(training, params.train.expressions_per_window)
    dataset = ClipDataset(
        root, groups, *sizes, flip=params.train.flip, with_flow=params.train.losses.consistency > 0
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
    )
    trainer = Trainer(model, texts, dataset, batches, params.train, processes, work / "state.pt")
    config = {
        "model": params.model.model_dump(),
        "pipeline": params.pipeline.model_dump(),
        "window": _window(training),
        "short_side": sizes[0],
        "long_side": sizes[1],
    }
    _epochs(trainer, params, validation, root, work, config)
    if processes.is_main:
        return _write_outputs(trainer, params, work, out, metrics)
    return {}


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
    sides = (config["short_side"], config["long_side"])
    predictor = Predictor(trainer.model, trainer.texts, sides, trainer.dtype)
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
                    f"epoch {progress.epoch}: loss {means.get('total', float('nan')):.3f}, "
                    f"validation mean IoU {scores['mean_iou']:.3f}"
                )
            progress.history.append(row)
            score = row.get("val/mean_iou", -1.0)
            if not validation or score > progress.best_score:
                progress.best_score, progress.best_epoch = score, progress.epoch
                if trainer.processes.is_main:
                    save_model(work / "best.safetensors", trainer.model, config)
            trainer.save()
    if trainer.processes.is_main:
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
    """The row's values whose names begin with `prefix`, to four digits: more would be noise in `dvc
    metrics diff`.
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
