"""The curves of a training: DVCLive's files for `dvc plots`, and a picture to look at."""

from __future__ import annotations

from pathlib import Path


def write_curves(history: list[dict[str, float]], out: Path) -> None:
    """Write the whole history, one row per epoch, through DVCLive to `out`.

    Written anew each time: a resumed training then has neither gaps nor doubled epochs.
    """
    import logging

    logging.getLogger("dvclive").setLevel(logging.ERROR)
    from dvclive import Live

    with Live(
        str(out), dvcyaml=None, save_dvc_exp=False, report=None, monitor_system=False
    ) as live:
        for row in history:
            for name, value in row.items():
                live.log_metric(name, value, timestamp=False)
            live.next_step()
    # The history's last row; metrics/train.json is the summary that people compare.
    (out / "metrics.json").unlink(missing_ok=True)


def draw_curves(history: list[dict[str, float]], out: Path) -> None:
    """A picture of loss terms, rates and validation scores over epochs."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    groups = {
        "training loss": [
            name
            for name in history[0]
            if name.startswith("train/") and not name[-2:].startswith("_")
        ],
        "validation": sorted({name for row in history for name in row if name.startswith("val/")}),
        "learning rate": [name for name in history[0] if name.startswith("rate/")],
    }
    figure, axes = plt.subplots(1, 3, figsize=(15, 4), layout="constrained")
    for axis, (title, names) in zip(axes, groups.items(), strict=True):
        for name in names:
            points = [(epoch + 1, row[name]) for epoch, row in enumerate(history) if name in row]
            axis.plot(*zip(*points, strict=True), marker=".", label=name.split("/")[1])
        axis.set(title=title, xlabel="epoch")
        axis.grid(alpha=0.3)
        if names:
            axis.legend(fontsize=8)
    axes[0].set_yscale("log")
    figure.savefig(out, dpi=90, metadata={"Software": None})
    plt.close(figure)
