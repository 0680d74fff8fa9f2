"""The ablation's rows as bars."""

from __future__ import annotations

import math
from pathlib import Path

from losh.commands.ablation.statistics import Summary
from losh.runtime.files import atomic_write


def draw(summed: list[Summary], score: str, out: Path) -> None:
    """Bars of the rows with 95 % intervals, and a dot for each of several seeds.

    The interval is that of the mean over seeds (Student's t); of a row with one seed that over
    clips, and none where it is not known.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    several = {part: len({getattr(s, part) for s in summed}) > 1 for part in ("base", "dataset")}
    names = [_name(one, several) for one in summed]
    figure, axis = plt.subplots(figsize=(8, 1.1 + 0.34 * len(summed)), layout="constrained")
    means = [one.mean for one in summed]
    axis.barh(names, means, color="#9ecae1")
    pairs = [(one, _limits(one, score)) for one in summed]
    ends = [max(*(limit or (one.mean,)), *one.values.values()) for one, limit in pairs]
    for place, (one, limit) in enumerate(pairs):
        if limit:
            widths = [[one.mean - limit[0]], [limit[1] - one.mean]]
            axis.errorbar(one.mean, place, xerr=widths, color="black", capsize=3)
        if len(one.values) > 1:
            axis.plot(list(one.values.values()), [place] * len(one.values), "o", color="#08519c")
        axis.annotate(
            f"{one.mean:.3f}",
            (ends[place], place),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axis.invert_yaxis()
    seeds = max(len(one.values) for one in summed)
    over = f"seeds; dots: seeds, up to {seeds}" if seeds > 1 else "clips"
    if seeds > 1 and any(len(one.values) == 1 for one in summed):
        over += "; one seed: over clips, or none"
    axis.set(xlabel=f"{score} (95 % interval over {over})")
    axis.set_xlim(0, 1.12 * max(ends))
    with atomic_write(out) as part:
        figure.savefig(part, format="png", dpi=100, metadata={"Software": None})
    plt.close(figure)


def _name(one: Summary, several: dict[str, bool]) -> str:
    parts = [one.row, one.changed]
    parts += [one.base] if several["base"] else []
    parts += [one.dataset] if several["dataset"] else []
    return " ".join(part for part in parts if part)


def _limits(one: Summary, score: str) -> tuple[float, float] | None:
    if not math.isnan(one.half_width):
        return one.mean - one.half_width, one.mean + one.half_width
    low, high = (one.means.get(f"{score}_interval.{end}") for end in ("low", "high"))
    return None if low is None or high is None else (low, high)
