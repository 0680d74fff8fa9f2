"""Measure the flow stage against ptlflow's plain loop on the same pairs of frames.

    python scripts/measure_flow_speed.py --videos 120 --turns 3

After `make run`: it takes the frames of data/frames/moving_shapes. The plain loop is what ptlflow's
documentation shows: one process, and for each pair and each way the two frames are read, enlarged
as params.yaml says, handed to ptlflow's adapter and to the network. The stage is run as `dvc repro`
runs it, into a temporary folder. Both start as processes of their own, in turns; the start (imports
and weights) is taken off: each form is timed on two numbers of videos, of which the smaller one
is enough for the stage to start all of its processes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from losh.flow.compute import NEED, neighbour_pairs
from losh.frames import FrameStore
from losh.params import load_params
from losh.runtime.machine import core_count

FRAMES = Path("data/frames/moving_shapes")


def subset(videos: int, out: Path) -> int:
    """Make a frame store of the first training videos; return how many pairs of frames it has."""
    index = json.loads((FRAMES / "index.json").read_text())
    training = {v: row for v, row in index["videos"].items() if row["split"] == "train"}
    index["videos"] = dict(list(training.items())[:videos])
    out.mkdir(parents=True)
    for path in FRAMES.iterdir():
        (out / path.name).symlink_to(path.absolute())
    (out / "index.json").unlink()
    (out / "index.json").write_text(json.dumps(index))
    rows = index["videos"].values()
    return sum(len(neighbour_pairs(row["annotated"], row["stored"])) for row in rows)


def plain_loop(frames_root: Path) -> None:
    """Both ways of each pair, one at a time, by ptlflow alone."""
    import torch

    from losh.flow.compute import running_size
    from losh.flow.raft import load_network
    from losh.media.resizing import resize_frame

    params, frames = load_params().flow, FrameStore(frames_root)
    network = load_network(params.model, params.checkpoint, params.iterations)
    from ptlflow.utils.io_adapter import IOAdapter

    adapter = None
    for video, row in frames.videos.items():
        for a, b in neighbour_pairs(row["annotated"], row["stored"]):
            for first, second in ((a, b), (b, a)):
                images = [frames.frame(video, t) for t in (first, second)]
                size = running_size(*images[0].shape[:2], params)
                images = [resize_frame(image, size) for image in images]
                adapter = adapter or IOAdapter(network.output_stride, size)
                inputs = adapter.prepare_inputs(images)
                with torch.inference_mode():
                    adapter.unscale(network(inputs))["flows"].numpy()


def stage(frames_root: Path) -> None:
    """Run the stage's own code, into a temporary folder."""
    from losh.flow.compute import compute_flow
    from losh.runtime.machine import keep_freed_memory

    keep_freed_memory()
    with tempfile.TemporaryDirectory() as out:
        compute_flow(frames_root, Path(out) / "flow", load_params().flow, Path(out), progress=False)


def seconds(form: str, frames_root: Path) -> float:
    """Time one form in a process of its own."""
    began = time.monotonic()
    subprocess.run([sys.executable, __file__, "--form", form, str(frames_root)], check=True)
    return time.monotonic() - began


def main() -> None:
    """Print pairs per second (both ways) of the two forms, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--videos", type=int, default=120)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--form", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.form:
        form, where = arguments.form
        {"plain": plain_loop, "stage": stage}[form](Path(where))
        return
    with tempfile.TemporaryDirectory() as folder:
        many, few = Path(folder) / "many", Path(folder) / "few"
        pairs = subset(arguments.videos, many) - subset(NEED.worth * core_count(), few)
        rates: dict[str, list[float]] = {"plain": [], "stage": []}
        for _ in range(arguments.turns):
            for form, found in rates.items():
                found.append(pairs / (seconds(form, many) - seconds(form, few)))
        for form, found in rates.items():
            shown = ", ".join(f"{rate:.1f}" for rate in found)
            print(f"{form}: {statistics.median(found):.1f} pairs/s, both ways ({shown})")
        by_turn = [b / a for a, b in zip(rates["plain"], rates["stage"], strict=True)]
        print(f"stage / plain: {statistics.median(by_turn):.2f}")


if __name__ == "__main__":
    main()
