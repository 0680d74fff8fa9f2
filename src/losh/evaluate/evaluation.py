"""Stage evaluate: score the trained model on one dataset by its published protocol."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from losh.clips.samples import build_samples, read_expressions
from losh.errors import UserError
from losh.evaluate.metrics.rounding import rounded
from losh.evaluate.outputs.cases import flow_between, write_cases
from losh.evaluate.outputs.pictures import draw_cases
from losh.evaluate.outputs.table import write_empty_plots, write_plots, write_rows
from losh.evaluate.protocols.annotated_frames import evaluate_a2d
from losh.evaluate.protocols.refer_coco import evaluate_by_split
from losh.evaluate.protocols.setup import EvaluationSetup, Result, predictor_of
from losh.evaluate.protocols.stream_masks import with_both_streams
from losh.evaluate.protocols.videos import (
    evaluate_davis,
    evaluate_whole_videos,
    evaluate_youtube_vos,
)
from losh.frames import FrameStore
from losh.model.checkpoint import load_model
from losh.params import EvaluateParams, FlowParams
from losh.runtime.distributed import Processes, start, stop
from losh.runtime.files import write_json
from losh.runtime.folders import keepers_of
from losh.runtime.home import at_home


def evaluate(
    name: str,
    params: EvaluateParams,
    root: Path = Path("data"),
    metrics: Path = Path("metrics"),
    model: Path | None = None,
    flow: FlowParams | None = None,
) -> dict[str, Any]:
    """Score data/model/model.safetensors (or params.checkpoint, or `model`) on dataset `name`.

    Writes metrics/eval/<name>.json, metrics/plots/<name>/ (for `dvc plots`) and
    data/evaluate/<name>/ (the table, pictures, strips for the report, a submission).

    Args:
        name: of the dataset.
        params: the section `evaluate`.
        root: the folder data/.
        metrics: the folder metrics/.
        model: a model file instead of those that are named elsewhere.
        flow: with what the strips' optical flow is computed; None: they show none.
    """
    given = at_home(Path(params.checkpoint)) if params.checkpoint else None
    network, config = load_model(model or given or root / "model" / "model.safetensors")
    processes = start()
    try:
        network = network.to(processes.device)
        out = root / "evaluate" / name
        processes = keepers_of(out, processes)
        store = FrameStore(root / "frames" / name)
        predictor = predictor_of(network, config, params, store, processes.device)
        setup = EvaluationSetup(predictor, store, root, params, processes, out)
        _check_window(store, config["window"])
        result = _evaluate(setup, name)
        if processes.keeps:
            return _write(setup, result, name, metrics, flow)
        return {}
    finally:
        stop()


def _evaluate(setup: EvaluationSetup, name: str) -> Result:
    index = setup.store.index
    expressions = read_expressions(setup.root / "short_text" / f"{name}.csv")
    if (expressions["split"] == "train").all():
        _say(
            setup.processes,
            f"evaluate {name}: nothing to score, for all its expressions are of the split train",
        )
        return Result.empty()
    if index["protocol"] == "a2d":
        return _evaluate_samples(setup, expressions, name)
    if index["protocol"] == "refcoco":
        return evaluate_by_split(
            expressions, lambda rows, split: _evaluate_samples(setup, rows, f"{name} {split}")
        )
    held_out = expressions[expressions["split"] != "train"]
    here = held_out["video"].isin(setup.store.videos)
    _say(
        setup.processes,
        f"evaluate {name}: {int(here.sum())} expressions"
        + (f"; {int((~here).sum())} left out: video not extracted" if not here.all() else ""),
    )
    if not here.any():
        return Result.empty()
    if index["protocol"] == "davis":
        return evaluate_davis(setup, held_out[here])
    if index["kind"] == "folder":
        return evaluate_whole_videos(setup, held_out[here])
    return evaluate_youtube_vos(setup, held_out[here])


def _evaluate_samples(setup: EvaluationSetup, expressions: pd.DataFrame, what: str) -> Result:
    """Score one annotated frame for each sample of the expressions that are not for training."""
    samples, left_out = build_samples(setup.store, expressions, train=False)
    _say(
        setup.processes,
        f"evaluate {what}: {len(samples)} samples"
        + "".join(f"; {n} expressions left out: {why}" for why, n in sorted(left_out.items())),
    )
    return evaluate_a2d(setup, samples) if samples else Result.empty()


def _check_window(store: FrameStore, window: int) -> None:
    """Refuse windows of another length than the model was trained with."""
    index = store.index
    if index["protocol"] == "a2d" and index["window"] != window:
        raise UserError(
            f"{index['name']} is extracted for windows of {index['window']} frames, but the model "
            f"was trained with {window}",
            "Set frames.window to the model's",
        )


def _write(
    setup: EvaluationSetup, result: Result, name: str, metrics: Path, flow: FlowParams | None
) -> dict[str, Any]:
    scored = [row for row in result.rows if row.scored]
    summary = rounded(result.metrics) | {"samples": len(scored), "skipped": len(result.skipped)}
    for why in result.skipped[:10]:
        print(f"skipped: {why}")
    write_rows(setup.out / "expressions.csv", result.rows)
    if scored:
        write_plots(metrics / "plots" / name, [row.overlap for row in scored])
        draw_cases(setup.store, result, setup.params.pictures, setup.out / "pictures")
        between = None
        if flow and setup.params.pictures:
            between = flow_between(flow, str(setup.processes.device))
        complete = partial(with_both_streams, setup)
        shown = setup.params.pictures
        write_cases(setup.store, result, shown, setup.out / "cases", between, complete)
    else:
        write_empty_plots(metrics / "plots" / name)
    write_json(metrics / "eval" / f"{name}.json", summary)
    return summary


def _say(processes: Processes, text: str) -> None:
    if processes.is_main:
        print(text)
