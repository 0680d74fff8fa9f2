"""The protocol of RefCOCO, RefCOCO+ and RefCOCOg: each split by itself, a picture at a time.

Published numbers are the overall IoU of each split: the sum of all intersections over the sum of
all unions (ReferFormer's evaluation; the referring image segmentation literature).
"""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from losh.evaluate.protocols.setup import Result


def evaluate_by_split(
    expressions: pd.DataFrame, score: Callable[[pd.DataFrame, str], Result]
) -> Result:
    """Score every split but train; the metrics have the split's name: `val.overall_iou` and so on.

    Args:
        expressions: of all splits, with their `split`.
        score: from the expressions of a split, and its name.
    """
    total = Result.empty()
    for split in dict.fromkeys(expressions["split"]):
        if split != "train":
            part = score(expressions[expressions["split"] == split], split)
            total.merge(part)
            if part.metrics:
                total.metrics[split] = part.metrics
    return total
