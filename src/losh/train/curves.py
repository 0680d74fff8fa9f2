"""The curves of a training: DVCLive's files for `dvc plots`, and a picture to look at."""

from __future__ import annotations

from pathlib import Path

NAMES = {"train/": "loss/", "val/": "validation/"}
"""Prefix in a training's history -> the section of metrics/train.json with the same value: one name
for one value, in text, files and pictures.
"""


def named(row: dict[str, float]) -> dict[str, float]:
    """Return an epoch's row of the history, with the names of metrics/train.json."""
    return {
        next(
            (new + key.removeprefix(old) for old, new in NAMES.items() if key.startswith(old)), key
        ): value
        for key, value in row.items()
    }


def write_curves(history: list[dict[str, float]], out: Path) -> None:
    """Write the whole history, one row per epoch counted from 1, through DVCLive to `out`.

    Written anew each time: a resumed training then has neither gaps nor doubled epochs.
    """
    import logging

    logging.getLogger("dvclive").setLevel(logging.ERROR)
    from dvclive import Live

    with Live(
        str(out), dvcyaml=None, save_dvc_exp=False, report=None, monitor_system=False
    ) as live:
        live.step = 1
        for row in history:
            for name, value in named(row).items():
                live.log_metric(name, value, timestamp=False)
            live.next_step()
    # The history's last row; metrics/train.json is the summary that people compare.
    (out / "metrics.json").unlink(missing_ok=True)


def draw_curves(history: list[dict[str, float]], out: Path) -> None:
    """Draw a picture of each loss term, the validation's scores and the rates over epochs.

    A term has axes of its own: beside the total, a term of a hundredth of it is a flat line.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import MaxNLocator

    rows = [named(row) for row in history]
    panels = curve_panels(rows)
    columns = min(4, len(panels))
    lines = -(-len(panels) // columns)
    figure, grid = plt.subplots(
        lines, columns, figsize=(4 * columns, 2.6 * lines), layout="constrained", squeeze=False
    )
    for axis, (title, names) in zip(grid.flat, panels.items(), strict=False):
        for name in names:
            points = [(epoch, row[name]) for epoch, row in enumerate(rows, 1) if name in row]
            axis.plot(*zip(*points, strict=True), marker=".", label=name.split("/", 1)[1])
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axis.grid(alpha=0.3)
        if len(names) > 1:
            axis.legend(fontsize=7)
    for axis in grid.flat[len(panels) :]:
        axis.remove()
    figure.savefig(out, dpi=90, metadata={"Software": None})
    plt.close(figure)


def curve_panels(rows: list[dict[str, float]]) -> dict[str, list[str]]:
    """Map a title to the curves that share axes.

    Each loss term is alone (the last layer's, the total first); then the scores, the rates.
    """
    names = sorted({name for row in rows for name in row})
    terms = [n for n in names if n.startswith("loss/") and not n.rsplit("_", 1)[-1].isdigit()]
    terms.sort(key=lambda name: name != "loss/total")
    panels = {name.replace("/", "."): [name] for name in terms}
    for title in ("validation", "rate"):
        panels[title] = [name for name in names if name.startswith(f"{title}/")]
    return {title: shared for title, shared in panels.items() if shared}
