"""Charts as SVG that stands inside a page: no file, no network, no script."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
from markupsafe import Markup, escape
from matplotlib.ticker import MaxNLocator

from losh.report.scores import ScoreRow

BLUE, GREY = "#1f77b4", "#9a9a9a"
MARKERS = "sD^v"
SMALL = (3.3, 2.1)
"""Inches; two stand side by side on a desktop."""
WIDTH_OF_KINDS = 4.6
STYLE = {
    "svg.fonttype": "none",  # text stays text: it can be searched and takes the page's font
    "svg.hashsalt": "losh",  # the same chart is the same bytes
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.axisbelow": True,
}
Points = Sequence[tuple[float, float]]


def line_chart(
    lines: dict[str, Points],
    title: str,
    x_label: str,
    limits: tuple[float, float] | None = None,
    grey: str = "",
) -> Markup:
    """Draw lines over shared axes; more than one get a legend.

    Where every x is a whole number, so are the marks of the x axis.

    Args:
        lines: name -> its points.
        title: of the chart.
        x_label: of the x axis.
        limits: of the y axis; None: those of the points.
        grey: the line that is grey and dashed, beside what the chart is about.
    """
    with matplotlib.rc_context(STYLE):
        figure, axis = _axis(SMALL, title, x_label)
        for name, points in lines.items():
            style = {"color": GREY, "linestyle": "--"} if name == grey else {}
            axis.plot(*zip(*points, strict=True), marker=".", label=name, **style)
        if all(float(x).is_integer() for points in lines.values() for x, _ in points):
            axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if limits:
            axis.set_ylim(*limits)
        if len(lines) > 1:
            axis.legend(fontsize=7)
        return _inline(figure, title)


def bar_chart(bars: Points, width: float, title: str, x_label: str) -> Markup:
    """Bars of `width` around each x."""
    with matplotlib.rc_context(STYLE):
        figure, axis = _axis(SMALL, title, x_label)
        x, heights = zip(*bars, strict=True)
        axis.bar(x, heights, width=0.9 * width, color=BLUE)
        axis.yaxis.set_major_locator(MaxNLocator(integer=True))
        return _inline(figure, title)


def interval_chart(
    rows: list[ScoreRow], predictors: list[str], title: str, earlier_label: str
) -> Markup:
    """Draw a row of dots each.

    They are this run's value with its interval, the earlier one, the predictors'.

    Args:
        rows: one of the chart each.
        predictors: names of those whose values are in the rows.
        title: of the chart.
        earlier_label: what the earlier run is called.
    """
    with matplotlib.rc_context(STYLE):
        figure, axis = _axis((WIDTH_OF_KINDS, 1.4 + 0.3 * len(rows)), title, "mean IoU")
        for i, name in enumerate(predictors):
            marker = MARKERS[i % len(MARKERS)]
            places = [
                (row.trivial[i], y) for y, row in enumerate(rows) if row.trivial[i] is not None
            ]
            axis.plot(
                *zip(*places, strict=True),
                marker,
                color=GREY,
                markersize=4,
                label=name.replace("_", " "),
            )
        earlier = [(row.earlier, y) for y, row in enumerate(rows) if row.earlier is not None]
        if earlier:
            style = {"color": BLUE, "markerfacecolor": "none", "label": earlier_label}
            axis.plot(*zip(*earlier, strict=True), "o", **style)
        for y, row in enumerate(rows):
            low, high = row.interval or (row.value, row.value)
            axis.plot([low, high], [y, y], color=BLUE, linewidth=2)
            axis.plot(row.value, y, "o", color=BLUE, label="this run" if y == 0 else None)
        axis.set_yticks(range(len(rows)), [row.name for row in rows])
        axis.invert_yaxis()
        axis.set_xlim(-0.02, 1.02)  # a mark at an end is whole
        figure.legend(fontsize=7, loc="outside lower left", ncols=2)
        return _inline(figure, title)


def _axis(size: tuple[float, float], title: str, x_label: str) -> tuple[Any, Any]:
    figure, axis = plt.subplots(figsize=size, layout="constrained")
    axis.set_title(title, fontsize=9, loc="left")
    axis.set_xlabel(x_label)
    return figure, axis


def _inline(figure: Any, title: str) -> Markup:
    """Return the figure as an <svg> that takes the width it is given.

    Inside HTML it needs no names of name spaces; identifiers that nothing refers to would only be
    there twice.
    """
    with io.StringIO() as file:
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
        text = file.getvalue()
    plt.close(figure)
    text = re.sub(r"<metadata>.*?</metadata>\s*|<!--.*?-->\s*", "", text, flags=re.S)
    text = re.sub(r' (xmlns(:\w+)?|version)="[^"]*"', "", text[text.index("<svg") :])
    used = set(re.findall(r'#([\w-]+)["\)]', text))
    text = re.sub(r' id="([\w.-]+)"', lambda m: m[0] if m[1] in used else "", text)
    head = f'<svg role="img" aria-label="{escape(title)}"'
    text = re.sub(r'<svg( width="[^"]*"| height="[^"]*"|( viewBox="[^"]*"))+', rf"{head}\2", text)
    return Markup(text)
