"""The published datasets by their `kind` in params.yaml: layout, reader and published counts."""

from __future__ import annotations

from collections.abc import Mapping

from losh.datasets import (
    a2d_sentences,
    jhmdb_sentences,
    mevis,
    refcoco,
    refer_davis17,
    refer_youtube_vos,
)
from losh.datasets.layout import Layout
from losh.datasets.listing import FileListing
from losh.datasets.reader import DatasetReader
from losh.errors import UserError

LAYOUTS: dict[str, Layout] = {
    "moving_shapes": a2d_sentences.LAYOUT,
    "a2d_sentences": a2d_sentences.LAYOUT,
    "jhmdb_sentences": jhmdb_sentences.LAYOUT,
    "refer_youtube_vos": refer_youtube_vos.LAYOUT,
    "refer_davis17": refer_davis17.LAYOUT,
    "mevis": mevis.LAYOUT,
    **refcoco.LAYOUTS,
}

EXPECTED: dict[str, dict[str, int]] = {
    "a2d_sentences": {"videos": 3782, "expressions": 6654},  # 6,655 rows, one of which is a mistake
    "jhmdb_sentences": {"videos": 928, "expressions": 928},
    "refer_youtube_vos": {"train videos": 3471, "valid videos": 202},
    "refer_davis17": {"train videos": 60, "valid videos": 30},
    "mevis": {"train videos": 1662, "valid_u videos": 50, "valid videos": 140},
    "refcoco": {
        "train images": 16994,
        "val images": 1500,
        "testA images": 750,
        "testB images": 750,
        "train expressions": 120624,
        "val expressions": 10834,
        "testA expressions": 5657,
        "testB expressions": 5095,
    },
    "refcoco_plus": {
        "train expressions": 120191,
        "val expressions": 10758,
        "testA expressions": 5726,
        "testB expressions": 4889,
    },
    "refcocog": {
        "train images": 21899,
        "val images": 1300,
        "test images": 2600,
        "train expressions": 80512,
        "val expressions": 4896,
        "test expressions": 9602,
    },
}
"""Published counts, checked against what is found; a subset has fewer, which is no error.

RefCOCO's are the literature's.
"""


def make_reader(
    kind: str,
    name: str,
    listing: FileListing,
    parts: Mapping[str, str],
    samples: Mapping[str, list[int]] | None = None,
    strict: bool = False,
) -> DatasetReader:
    """Return the reader of one kind over a source folder.

    Args:
        kind: a key of LAYOUTS.
        name: of the dataset in params.yaml.
        listing: the source folder's files.
        parts: where in it the layout's parts lie (`Layout.locate`).
        samples: JHMDB-Sentences alone: video -> 0-based frames that are scored.
        strict: A2D-Sentences' layout alone: every listed video must be there (a generated dataset).

    Raises:
        UserError: an unknown kind.
    """
    if kind in ("a2d_sentences", "moving_shapes"):
        return a2d_sentences.A2DSentences(name, listing, parts, kind, strict)
    if kind == "jhmdb_sentences":
        return jhmdb_sentences.JHMDBSentences(name, listing, parts, samples or {})
    if kind == "refer_youtube_vos":
        return refer_youtube_vos.ReferYouTubeVOS(name, listing, parts)
    if kind == "refer_davis17":
        return refer_davis17.ReferDAVIS17(name, listing, parts)
    if kind == "mevis":
        return mevis.MeViS(name, listing, parts)
    if kind in refcoco.LAYOUTS:
        return refcoco.RefCOCO(name, listing, parts, kind)
    raise UserError(f"{kind!r} is no kind of dataset", f"Take one of {', '.join(LAYOUTS)}")
