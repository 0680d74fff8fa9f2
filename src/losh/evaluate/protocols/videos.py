"""Whole-video protocols.

Refer-YouTube-VOS and MeViS (submission, J and F), and Refer-DAVIS17 (label maps).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from losh.errors import UserError
from losh.evaluate.metrics.average_precision import encode
from losh.evaluate.metrics.j_and_f import RunningJF
from losh.evaluate.outputs.table import ExpressionRow
from losh.evaluate.protocols.davis import (
    ObjectScore,
    UnsupervisedVideo,
    davis_results,
    label_map,
    objects_to_score,
)
from losh.evaluate.protocols.setup import EvaluationSetup, Result, ShownMask
from losh.evaluate.protocols.stream_masks import stream_masks
from losh.evaluate.protocols.youtube_vos import (
    SUBMISSIONS,
    SubmissionWriter,
    local_scores,
    merge_submissions,
)
from losh.inference.overlap import Overlap
from losh.inference.whole_video import NoRoom, Trajectory, track
from losh.model.structures import size_of
from losh.runtime.folders import bring
from losh.runtime.resume import SCRATCH

Compared = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Prediction, truth and void of a frame, bool [H, W] each."""
FRAMES_AT_ONCE = 16
"""Frames that J and F are computed on at once: enough for all cores, few enough for any memory."""


def evaluate_youtube_vos(setup: EvaluationSetup, expressions: pd.DataFrame) -> Result:
    """Write the submission zip, and score locally every expression whose masks are public.

    No zip is written where nothing is for the server (MeViS without the split valid).
    """
    processes, result = setup.processes, Result.empty()
    if processes.keeps:  # those of an evaluation that was killed
        for stale in setup.out.glob("part*.zip"):
            stale.unlink()
    processes.wait()
    part, server = setup.out / f"part{processes.rank}.zip", SUBMISSIONS[setup.protocol]
    with SubmissionWriter(part, server.folder) as submission:

        def score(video: str, rows: list[Any], tracks: list[Trajectory]) -> None:
            for row, found in zip(rows, tracks, strict=True):
                taken = submission if server.takes(row.split) else None
                _add(result, _score_expression(setup, video, row, found, taken))

        _each_video(setup, expressions, result, score)
    total = _gathered(setup, result)
    processes.wait()
    for rank in range(processes.world):
        bring(setup.out / f"part{rank}.zip", processes)
    if processes.keeps:
        parts = sorted(setup.out.glob("part*.zip"))
        (setup.out / "submission.zip").unlink(missing_ok=True)
        if any(server.takes(split) for split in expressions["split"]):
            merge_submissions(parts, setup.out / "submission.zip")
        for path in parts:
            path.unlink()
    scored = [score for _, score in _object_scores(total)]
    total.metrics = local_scores(scored) if scored else {}
    if processes.is_main and len(scored) < len(total.rows):
        whose = f"those of {server.split}" if server.split else "all of them"
        print(
            f"{len(scored)} of {len(total.rows)} expressions have public masks and are scored "
            f"here; the submission holds {whose}"
        )
    return total


def evaluate_davis(setup: EvaluationSetup, expressions: pd.DataFrame) -> Result:
    """Score the four expression sets, as papers print them and each expression alone.

    The metrics are `davis_unsupervised` and `per_expression`.
    """
    result = Result.empty()
    unsupervised: dict[str, list[ObjectScore]] = {}
    for name in sorted(set(expressions["expression_set"])):
        objects = unsupervised.setdefault(name, [])

        def score(
            video: str,
            rows: list[Any],
            tracks: list[Trajectory],
            objects: list[ObjectScore] = objects,
        ) -> None:
            objects += _score_label_maps(setup, video, rows, tracks)
            for row, found in zip(rows, tracks, strict=True):
                _add(result, _score_expression(setup, video, row, found, None))

        _each_video(setup, expressions[expressions["expression_set"] == name], result, score)
    total = _gathered(setup, result)
    by_set: dict[str, list[ObjectScore]] = {}
    for part in setup.processes.gather(unsupervised):
        for name, scores in part.items():
            if scores:
                by_set.setdefault(name, []).extend(scores)
    plain: dict[str, list[ObjectScore]] = {}
    for name, one in _object_scores(total):
        plain.setdefault(name, []).append(one)
    total.metrics = davis_results(by_set, plain) if plain else {}
    return total


def evaluate_whole_videos(setup: EvaluationSetup, expressions: pd.DataFrame) -> Result:
    """Score videos of which every frame has its masks (a user's own).

    J and F are means over expressions; the IoUs and precisions of A2D-Sentences are over all
    frames that show the object, of the same masks.
    """
    result, overlap = Result.empty(), Overlap()

    def score(video: str, rows: list[Any], tracks: list[Trajectory]) -> None:
        for row, found in zip(rows, tracks, strict=True):
            _add(result, _score_expression(setup, video, row, found, None, overlap))

    _each_video(setup, expressions, result, score)
    total, pooled = _gathered(setup, result), Overlap()
    for part in setup.processes.gather(overlap):
        pooled.merge(part)
    scored = [score for _, score in _object_scores(total)]
    if scored:
        total.metrics = local_scores(scored)
    if pooled.areas:
        total.metrics |= pooled.scores()
    return total


def _each_video(
    setup: EvaluationSetup,
    expressions: pd.DataFrame,
    result: Result,
    score: Callable[[str, list[Any], list[Trajectory]], None],
) -> None:
    """Call `score` with each of this process's videos, its expressions and their trajectories.

    A video whose stored frames or masks cannot be read is an error; with on_error `skip` each of
    its expressions is counted in `result.skipped`, and neither scored nor submitted.
    """
    store, processes = setup.store, setup.processes
    groups = sorted(expressions.groupby("video", sort=True))
    mine = [(video, list(rows.itertuples())) for video, rows in groups if video in store.videos][
        processes.rank :: processes.world
    ]
    for video, rows in tqdm(
        mine, desc=f"evaluate {store.index['name']}", unit="video", disable=not processes.is_main
    ):
        sentences = [(row.text, row.short_text) for row in rows]
        frames = store.videos[video]["num_frames"]
        frame_of = partial(store.frame, video)
        chunk, scratch = setup.params.chunk, SCRATCH / "evaluate"
        try:
            if setup.params.on_error == "skip":
                _read_masks(setup, video)
            with track(
                setup.predictor, frame_of, frames, sentences, chunk, setup.protocol, scratch
            ) as tracks:
                score(video, rows, tracks)
        except UserError as error:
            if setup.params.on_error == "stop" or isinstance(error, NoRoom):
                raise
            result.skipped += [
                f"{video}, expression {row.expression_set} {row.expression_id}: {error}"
                for row in rows
            ]


def _read_masks(setup: EvaluationSetup, video: str) -> None:
    """Read all masks of a video once.

    So one that cannot be read is found before anything of the video is scored or submitted.
    """
    for t in setup.store.videos[video]["annotated"]:
        setup.store.masks(video, t)


def _add_frames(running: RunningJF, frames: list[Compared]) -> None:
    prediction, truth, void = (np.stack(masks) for masks in zip(*frames, strict=True))
    running.add(prediction, truth, void)


def _score_expression(
    setup: EvaluationSetup,
    video: str,
    row: Any,
    found: Trajectory,
    submission: SubmissionWriter | None,
    overlap: Overlap | None = None,
) -> tuple[ExpressionRow, ShownMask | None]:
    """Score one expression over its video, and add the frames that show its object to `overlap`.

    Returns its row of the table, and a frame's prediction for the pictures.
    """
    store = setup.store
    index = store.videos[video]
    annotated = set(index["annotated"]) if row.instance else set()
    size = (index["height"], index["width"])
    running, waiting = RunningJF(), list[Compared]()
    middle = sorted(annotated)[len(annotated) // 2] if annotated else index["num_frames"] // 2
    shown = None
    for t in range(index["num_frames"]):
        if t in annotated:
            truths = store.masks(video, t)
            truth = truths.get(row.instance)
            void = store.void(video, t)
            truth = (
                np.zeros(next(iter(truths.values())).shape if truths else size, bool)
                if truth is None
                else truth
            )
            waiting.append(
                (
                    found.mask(t, truth.shape),
                    truth,
                    np.zeros_like(truth) if void is None else void,
                )
            )
            predicted = waiting[-1][0]
            if overlap is not None and truth.any():
                seen = ~waiting[-1][2]
                overlap.add(f"{video}/{row.expression_id}/{t}", predicted & seen, truth & seen)
            if len(waiting) == FRAMES_AT_ONCE:
                _add_frames(running, waiting)
                waiting = []
        elif submission is not None or t == middle:
            predicted = found.mask(t, size)
        else:
            continue
        if t == middle:
            sizes = found.sizes(size_of(predicted.shape))
            streams = stream_masks(setup, found.logits_at(t), sizes)
            shown = ShownMask(t, encode(predicted[None])[0], streams)
        if submission is not None:
            submission.add(
                video,
                row.expression_id,
                index["frame_names"][t] if index["frame_names"] else f"{t:05d}",
                predicted,
            )
    if waiting:
        _add_frames(running, waiting)
    table_row = ExpressionRow(
        video,
        row.expression_set,
        row.expression_id,
        row.instance,
        None,
        running.frames,
        row.text,
        row.short_text,
        found.score,
    )
    if not running.frames:
        return table_row, None
    j, f = running.j, running.f
    return replace(table_row, j=j, f=f, j_and_f=(j + f) / 2), shown


def _score_label_maps(
    setup: EvaluationSetup, video: str, rows: list[Any], tracks: list[Trajectory]
) -> list[ObjectScore]:
    """One video of one expression set through DAVIS's unsupervised task."""
    store = setup.store
    annotated = store.videos[video]["annotated"]
    instances = objects_to_score(
        name for name, mask in store.masks(video, annotated[0]).items() if mask.any()
    )
    order = sorted(range(len(rows)), key=lambda i: int(rows[i].instance))
    scorer = UnsupervisedVideo(video, len(rows), instances)
    for start in range(0, len(annotated), FRAMES_AT_ONCE):
        labels, truths, voids = [], [], []
        for t in annotated[start : start + FRAMES_AT_ONCE]:
            masks = store.masks(video, t)
            size = (
                next(iter(masks.values())).shape
                if masks
                else (store.videos[video]["height"], store.videos[video]["width"])
            )
            absent = np.zeros(size, bool)
            labels.append(label_map(np.stack([tracks[i].probability(t, size) for i in order])))
            truths.append([masks.get(name, absent) for name in instances])
            void = store.void(video, t)
            voids.append(absent if void is None else void)
        # [frames, objects, H, W] -> [objects, frames, H, W]
        scorer.add(np.stack(labels), np.stack(truths).swapaxes(0, 1), np.stack(voids))
    return scorer.scores()


def _add(result: Result, scored: tuple[ExpressionRow, ShownMask | None]) -> None:
    row, shown = scored
    result.rows.append(row)
    if shown is not None:
        result.predictions[row.key] = shown


def _object_scores(result: Result) -> list[tuple[str, ObjectScore]]:
    """J and F of every row that has them, with its expression set."""
    return [
        (row.expression_set, ObjectScore(row.video, row.instance, row.j, row.f))
        for row in result.rows
        if row.j is not None and row.f is not None
    ]


def _gathered(setup: EvaluationSetup, result: Result) -> Result:
    total = Result.empty()
    for other in setup.processes.gather(result):
        total.merge(other)
    return total
