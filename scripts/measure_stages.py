"""Measure time and peak memory of each stage of the default, as the README's tables.

And a `dvc repro` without a change, and bytes per video.

python scripts/measure_stages.py    (runs every stage again: about 15 minutes on 2 cores)
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from measuring import measured

STAGES = [
    "download",
    "extract_frames",
    "compute_flow",
    "parse_text",
    "train_data",
    "train",
    "evaluate",
    "report",
]
DATASET = "moving_shapes"


def main() -> None:
    """Run and print."""
    print("| stage | time | peak memory of a process |\n|---|---|---|")
    total = 0.0
    for stage in STAGES:
        name = [] if stage in ("train_data", "train", "report") else [DATASET]
        shutil.rmtree(f"scratch/{stage}", ignore_errors=True)
        seconds, peak = measured([f"stages/{stage}.py", *name])
        total += seconds
        print(f"| `{stage}` | {seconds:.0f} s | {peak:.0f} MB |", flush=True)
    print(f"| all | {total:.0f} s | |")
    measured(["-m", "dvc", "commit", "-f", "-q"])
    seconds, _ = measured(["-m", "dvc", "repro"])
    print(f"| `dvc repro`, nothing changed | {seconds:.1f} s | |")
    sizes()


def sizes() -> None:
    """Return bytes per video of frames and flow, beside the naive form.

    That is raw RGB frames, and float32 .flo at full size, both ways.
    """
    frames = json.loads(Path(f"data/frames/{DATASET}/index.json").read_text())["videos"]
    stored = sum(
        path.stat().st_size for path in Path(f"data/frames/{DATASET}").glob("*.zip")
    ) / len(frames)
    raw = sum(
        len(row["stored"]) * row["height"] * row["width"] * 3 for row in frames.values()
    ) / len(frames)
    flow = json.loads(Path(f"data/flow/{DATASET}/index.json").read_text())["videos"]
    packed = sum(path.stat().st_size for path in Path(f"data/flow/{DATASET}").glob("*.h5")) / len(
        flow
    )
    naive = sum(
        len(row["pairs"]) * (12 + frames[video]["height"] * frames[video]["width"] * 8)
        for video, row in flow.items()
    ) / len(flow)
    print(f"\n| a video of {DATASET} | stored | naive form |\n|---|---|---|")
    print(f"| frames and masks | {stored / 1024:.0f} KB | {raw / 1024:.0f} KB (raw RGB) |")
    print(f"| flow | {packed / 1024:.0f} KB | {naive / 1024:.0f} KB (float32 .flo) |")


if __name__ == "__main__":
    main()
