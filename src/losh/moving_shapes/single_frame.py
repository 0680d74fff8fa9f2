"""What one frame shows of an expression's object, to those who see all but motion."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from losh.moving_shapes.arrangement import Scene
from losh.moving_shapes.meaning import Meaning, anchors_of, holds, stands

GROUPS: dict[str, tuple[str, ...]] = {
    "looks": ("plain", "misleading"),
    "plain": ("plain",),
    "misleading": ("misleading",),
    "ambiguous": ("place_or_relation", "motion"),
    "place_or_relation": ("place_or_relation",),
    "motion": ("motion",),
}
"""Group that is scored -> the kinds of sample in it (`kind_of_sample`)."""


def candidates(scene: Scene, meaning: Meaning, frame: int) -> list[str]:
    """Instances that fit all that frame `frame` shows of what an expression says.

    This oracle has the generator's own truth of one frame: all looks, all centres, sizes and
    depths, and which part of the sentence is its subject and which its anchor. It uses

    * the subject's shape, colour, size and texture,
    * its place in the frame,
    * the relations left, right, above, below, near, behind and front to an object that the anchor's
      looks name,

    by the generator's own thresholds, and an object that lies between two of them does not fit. Of
    motion it uses nothing: neither the subject's (`moving` and `still` included) nor the anchor's,
    so that any object that looks like the anchor may be it; and of `past`, which is a motion, only
    that an object does not pass itself.

    The expression's own object is always among them.
    """
    shown = replace(scene, annotated=(frame,))
    alone = replace(meaning, motion=None, relation=None)
    fitting = [shape for shape in scene.shapes if holds(shown, shape, alone)]
    relation = meaning.relation
    if relation is not None:
        anchors = anchors_of(shown, replace(relation, anchor_motion=None))
        fitting = [
            shape
            for shape in fitting
            if any(
                shape is not anchor
                and (relation.kind == "past" or stands(shown, shape, relation.kind, anchor))
                for anchor in anchors
            )
        ]
    return [shape.instance for shape in fitting]


def expected_iou(fitting: list[str], masks: dict[str, np.ndarray], truth: np.ndarray) -> float:
    """Compute the mean IoU of the best single-frame guess: one of the candidates, each as likely.

    Args:
        fitting: `candidates`; those that have no mask in this frame count 0.
        masks: instance -> bool [H, W], the true masks of the frame.
        truth: bool [H, W] of the expression's object.
    """
    total = 0.0
    for mask in (masks[name] for name in fitting if name in masks):
        union = np.count_nonzero(mask | truth)
        total += np.count_nonzero(mask & truth) / union if union else 1.0
    return total / len(fitting) if fitting else 0.0


def kind_of_sample(kind: str, fitting: list[str]) -> str:
    """Name the kind of a sample: `plain` or `misleading`, where looks decide.

    Where they do not (`ambiguous`), it is `place_or_relation` if this frame shows which object is
    meant, else `motion`.

    Args:
        kind: the expression's (`losh.moving_shapes.expressions.KINDS`).
        fitting: `candidates` in the sample's frame.
    """
    if kind != "ambiguous":
        return kind
    return "place_or_relation" if len(fitting) == 1 else "motion"
