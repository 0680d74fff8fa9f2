"""The truth of a clip as JSON: its scene and what its expressions mean, for scores by kind."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from losh.moving_shapes.appearance import Appearance
from losh.moving_shapes.arrangement import Scene, Shape
from losh.moving_shapes.meaning import Meaning, Noun, Relation
from losh.moving_shapes.motion import Motion

DIGITS = 4
"""Of lengths in px: a processor's own last bits must not make other bytes."""


@dataclass(frozen=True)
class Truth:
    """A scene with what its expressions mean and of which kind each is.

    Both are in the order of the expressions' ids. The kinds are those of
    `losh.moving_shapes.expressions.KINDS`.
    """

    scene: Scene
    meanings: tuple[Meaning, ...]
    kinds: tuple[str, ...]


def truth_as_json(scene: Scene, described: Iterable[tuple[Meaning, str]]) -> dict[str, Any]:
    """Write what `read_truth` reads.

    `described` has an expression's meaning and kind, in the order of the dataset's table.
    """
    return {
        "seed": scene.seed,
        "size": [scene.height, scene.width],
        "annotated": list(scene.annotated),
        "sway": _rounded(scene.sway),
        "twins": scene.twins,
        "shapes": [
            asdict(shape)
            | {"centres": _rounded(shape.centres)}
            | {key: round(getattr(shape, key), DIGITS) for key in ("radius", "tilt")}
            | {"motion": {"kind": shape.motion.kind}}
            for shape in scene.shapes
        ],
        "expressions": [{"kind": kind, "meaning": asdict(meaning)} for meaning, kind in described],
    }


def read_truth(values: dict[str, Any]) -> Truth:
    """Read the scene, its motions by kind alone, and its expressions.

    The motions' sizes are in the paths.
    """
    shapes = tuple(
        Shape(
            one["instance"],
            Appearance(**one["look"]),
            Motion(**one["motion"]),
            one["radius"],
            one["tilt"],
            np.array(one["centres"]),
        )
        for one in values["shapes"]
    )
    height, width = values["size"]
    scene = Scene(
        values["seed"],
        height,
        width,
        shapes,
        tuple(values["annotated"]),
        np.array(values["sway"]),
        values["twins"],
    )
    told = values["expressions"]
    return Truth(
        scene,
        tuple(_meaning(one["meaning"]) for one in told),
        tuple(one["kind"] for one in told),
    )


def _meaning(values: dict[str, Any]) -> Meaning:
    relation = values["relation"]
    if relation is not None:
        relation = Relation(**relation | {"anchor": Noun(**relation["anchor"])})
    return Meaning(**values | {"noun": Noun(**values["noun"]), "relation": relation})


def _rounded(places: np.ndarray) -> list:
    return np.round(places, DIGITS).tolist()
