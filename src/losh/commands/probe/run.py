"""`losh probe`: swap the actions of MovingShapes' test sentences, and see what predictions do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from tabulate import tabulate
from tqdm import tqdm

from losh.clips.samples import Sample, build_samples, read_expressions
from losh.commands.experiments import cached_output
from losh.commands.probe.measures import MEASURES, Change, change_of, summary
from losh.commands.probe.swaps import Swap, swap_of
from losh.errors import UserError
from losh.evaluate.metrics.rounding import rounded
from losh.evaluate.protocols.setup import predictor_of
from losh.frames import FrameStore
from losh.inference.forward import Predictor
from losh.model.checkpoint import load_model
from losh.model.structures import FrameSizes, size_of
from losh.moving_shapes.truth import read_truth
from losh.own_video.settings import DEFAULT_MODEL
from losh.params import EvaluateParams
from losh.runtime.files import write_json
from losh.runtime.machine import pick_device

WORDINGS = ("as said", "swapped", "reworded")


def probe(
    models: list[str],
    dataset: str,
    params: EvaluateParams,
    root: Path = Path("data"),
    metrics: Path = Path("metrics"),
) -> dict[str, Any]:
    """Probe models on a MovingShapes dataset, print a table, write metrics/probe.json.

    Args:
        models: model files, or experiments or commits, whose model DVC's cache gives; none: the
            workspace's.
        dataset: its name in params.yaml.
        params: the section `evaluate`: the rule that joins the streams, the threshold.
        root: the folder data/.
        metrics: the folder metrics/.

    Raises:
        UserError: the dataset's truth is not known; a model is not there.
    """
    store = FrameStore(root / "frames" / dataset)
    swaps = find_swaps(store, root, dataset)
    if not swaps:
        raise UserError(
            f"{dataset} has no test sentence whose action can be swapped",
            "Give it more test clips (test_videos)",
        )
    found = {}
    for model in models or [str(DEFAULT_MODEL)]:
        with TemporaryDirectory() as folder:
            network, config = load_model(model_file(model, Path(folder)))
        device = pick_device()
        predictor = predictor_of(network.to(device), config, params, store, device)
        found[model] = rounded(summary(measure(predictor, store, root, swaps)))
    write_json(metrics / "probe.json", {"dataset": dataset, "rule": params.rule, "models": found})
    print(table(found))
    return found


def find_swaps(store: FrameStore, root: Path, dataset: str) -> list[tuple[Sample, str, Swap]]:
    """Find the samples that can be probed, each with its kind and its swap.

    Raises:
        UserError: the dataset is not a generated one.
    """
    scenes = store.index.get("scenes")
    if scenes is None:
        raise UserError(
            f"nothing says what the sentences of {dataset} mean",
            "Probe a dataset of kind moving_shapes, made by `dvc repro`",
        )
    truths = {video: read_truth(values) for video, values in scenes.items()}
    samples, _ = build_samples(
        store, read_expressions(root / "short_text" / f"{dataset}.csv"), train=False
    )
    found = []
    for sample in samples:
        truth, place = truths[sample.video], int(sample.expression_id)
        kind, meaning = truth.kinds[place], truth.meanings[place]
        swap = swap_of(truth.scene, meaning, kind, sample.instance, sample.long)
        if swap is not None:
            found.append((sample, kind, swap))
    return found


def measure(
    predictor: Predictor, store: FrameStore, root: Path, swaps: list[tuple[Sample, str, Swap]]
) -> list[Change]:
    """Predict each sample in its three wordings.

    The short expression, which names no action, stays as it is.
    """
    asked = [
        replace(sample, long=text, sample_id=f"{sample.sample_id} {wording}")
        for sample, _, swap in swaps
        for wording, text in zip(WORDINGS, (sample.long, swap.text, swap.reworded), strict=True)
    ]
    masks: dict[str, np.ndarray] = {}
    with tqdm(total=len(asked), desc="probe", unit="sentence") as bar:
        for batch, predictions in predictor.windows(asked, root, best_only=True):
            padded = size_of(batch.clips.frames.shape[-2:])
            for (clip, sample), prediction in zip(batch.samples(), predictions, strict=True):
                truth = store.masks(sample.video, _frame(sample))[sample.instance]
                sizes = FrameSizes(padded, size_of(clip.frames.shape[1:3]), size_of(truth.shape))
                protocol = store.index["protocol"]
                masks[sample.sample_id] = predictor.masks(prediction, 0, sizes, protocol)[0]
            bar.update(len(predictions))
    changes = []
    for sample, kind, swap in swaps:
        truths = store.masks(sample.video, _frame(sample))
        before, after, reworded = (masks[f"{sample.sample_id} {wording}"] for wording in WORDINGS)
        own, other = truths[sample.instance], truths[swap.other]
        changes.append(change_of(sample.video, kind, (before, after, reworded), own, other))
    return changes


def model_file(model: str, folder: Path) -> Path:
    """Return the model's file.

    It is a path, or else what DVC's cache has of an experiment or commit, put into `folder`.

    Raises:
        UserError: it is neither.
    """
    if Path(model).is_file():
        return Path(model)
    data = cached_output(DEFAULT_MODEL, model)
    if data is None:
        raise UserError(
            f"{model} is no model file, and no experiment or commit whose model is here",
            f"`dvc exp show` lists experiments; the workspace's model is {DEFAULT_MODEL}",
        )
    out = folder / DEFAULT_MODEL.name
    out.write_bytes(data)
    return out


def table(found: dict[str, Any]) -> str:
    """Make a line per model and kind."""
    head = ["model", "kind", "samples", *(name.replace("_", " ") for name in MEASURES)]
    lines = [
        [model, kind, str(row["samples"]), *(f"{row[name]:.3f}" for name in MEASURES)]
        for model, kinds in found.items()
        for kind, row in kinds.items()
    ]
    return tabulate(lines, head, tablefmt="github", disable_numparse=True)


def _frame(sample: Sample) -> int:
    return sample.window[sample.annotated[0]]
