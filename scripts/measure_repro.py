"""Measure how DVC's own work grows with the number of videos: a `dvc repro` without a change.

The real graph runs with stand-ins for the stages, which write a frames' and a flow's file of 1 KB
for each video: what DVC does depends on the files alone. Processor time is given beside the clock,
since other work on the machine does not change it.

python scripts/measure_repro.py    (two minutes on 2 cores)
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

from measuring import measured

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "workflow"))

from project import Project  # noqa: E402

EXTRA = """
for i in range({videos}):
    (Path("data/{folder}") / dataset / f"{{i:06d}}.bin").write_bytes((b"%07d" % i) * 146)
"""
BEYOND = 100_000
"""Videos to which the last two rows are extended as a straight line."""


def main() -> None:
    """Run and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, nargs="+", default=[1000, 2000, 4000])
    counts = parser.parse_args().videos
    print(
        "| videos | files | first `dvc repro` | no change: clock | processor | memory |\n"
        "|---|---|---|---|---|---|"
    )
    rows = [measure(count) for count in counts]
    if len(rows) > 1:
        (low, *before), (high, *last) = zip(counts[-2:], *zip(*rows[-2:], strict=True), strict=True)
        ratio = (BEYOND - high) / (high - low)
        show(BEYOND, [b + (b - a) * ratio for a, b in zip(before, last, strict=True)], "(line)")


def measure(videos: int) -> list[float]:
    """Show and return files, seconds of the first run, clock and processor seconds and MB."""
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder))
        for stage, part in (("extract_frames", "frames"), ("compute_flow", "flow")):
            with (project.root / "stages" / f"{stage}.py").open("a") as script:
                script.write(EXTRA.format(videos=videos, folder=part))
        began = time.monotonic()
        project.repro()
        first = time.monotonic() - began
        before = processor_seconds()
        clock, memory = measured(["-m", "dvc", "repro", "-q"], project.root)
        used = processor_seconds() - before
        files = sum(path.is_file() for path in (project.root / "data").rglob("*"))
        row = [float(files), first, clock, used, memory]
    show(videos, row)
    return row


def processor_seconds() -> float:
    """Those of all processes that this one started and that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def show(videos: int, row: list[float], note: str = "") -> None:
    """Print a row of the table."""
    files, first, clock, used, memory = row
    print(
        f"| {videos:,} {note} | {files:,.0f} | {first:.0f} s | {clock:.1f} s | {used:.1f} s | "
        f"{memory:.0f} MB |",
        flush=True,
    )


if __name__ == "__main__":
    main()
