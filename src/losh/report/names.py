"""What scores and kinds of sample are called where people read them."""

from __future__ import annotations

SCORES = {
    "mean_iou": "mean IoU",
    "overall_iou": "overall IoU",
    "precision_at_50": "precision at IoU 0.5",
    "precision_at_60": "precision at IoU 0.6",
    "precision_at_70": "precision at IoU 0.7",
    "precision_at_80": "precision at IoU 0.8",
    "precision_at_90": "precision at IoU 0.9",
    "map_all_queries": "mAP, all queries",
    "ap50_all_queries": "AP at IoU 0.5, all queries",
    "ap75_all_queries": "AP at IoU 0.75, all queries",
    "map_best_query": "mAP, best query",
    "ap50_best_query": "AP at IoU 0.5, best query",
    "ap75_best_query": "AP at IoU 0.75, best query",
    "j_and_f": "J&F",
    "j": "J, region",
    "f": "F, boundary",
}
"""Score -> its heading, in the order in which they are shown."""
AVERAGE_PRECISION = ("map_", "ap50_", "ap75_")
"""How the names of these scores begin."""
KINDS = {
    "looks": "looks decide",
    "plain": "  plain",
    "misleading": "  misleading",
    "ambiguous": "motion, place or relation decides",
    "place_or_relation": "  one frame shows which",
    "motion": "  only motion shows which",
}
"""Group of samples (losh.moving_shapes.single_frame.GROUPS) -> how it is called; those within
another are indented.
"""


def is_average_precision(key: str) -> bool:
    """Whether a score, by its dotted key, is an AP or a mean of them."""
    return key.split(".")[-1].startswith(AVERAGE_PRECISION)


def heading(key: str) -> str:
    """Return the heading of a score by its dotted key: `mean.j_and_f` -> `J&F (mean)`."""
    *sections, name = key.split(".")
    where = f" ({', '.join(sections).replace('_', ' ')})" if sections else ""
    return SCORES.get(name, name.replace("_", " ")) + where
