"""How preparation and `dvc status` grow with the number of videos: tiny frames, 250 and 1,000 videos, in A2D-Sentences' layout.

python scripts/measure_scaling.py    (about 5 minutes on 2 cores)
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "src")]

from fixtures_datasets import make_a2d  # noqa: E402
from tiny import tiny_raw  # noqa: E402

STAGES = ["download@many", "extract_frames@many", "parse_text@many"]


def clone(target: Path) -> None:
    """The working tree's tracked files as a git and DVC repository."""
    subprocess.run(["git", "clone", "-q", str(ROOT), str(target)], check=True)


def measured(command: list[str], where: Path) -> tuple[float, float]:
    """Seconds, and the largest resident set of any process of the command in MB."""
    probe = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[2:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL); "
        "open(sys.argv[1], 'w').write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))"
    )
    peak = where.parent / "peak"
    began = time.monotonic()
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1"}
    subprocess.run([sys.executable, "-c", probe, str(peak), *command], cwd=where, env=environment, check=True)
    return time.monotonic() - began, int(peak.read_text()) / 1024


def main() -> None:
    """Run and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, nargs="+", default=[250, 1000])
    arguments = parser.parse_args()
    print("| videos | " + " | ".join(f"`{stage.split('@')[0]}`" for stage in STAGES) + " | `dvc status` |\n" + "|---" * 5 + "|")
    for count in arguments.videos:
        with tempfile.TemporaryDirectory() as folder:
            base = Path(folder)
            clone(base / "clone")
            make_a2d(base / "source", train=count - 20, test=20, num_frames=10, size=(32, 40), missing=0)
            raw = tiny_raw({"many": {"kind": "a2d_sentences", "source": str(base / "source")}}, train__datasets=["many"])
            (base / "clone" / "params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
            cells = []
            for stage in STAGES:
                seconds, peak = measured([sys.executable, "-m", "dvc", "repro", "-s", stage], base / "clone")
                cells.append(f"{seconds:.1f} s, {peak:.0f} MB")
            seconds, peak = measured([sys.executable, "-m", "dvc", "status", *STAGES], base / "clone")
            print(f"| {count} | " + " | ".join(cells) + f" | {seconds:.1f} s, {peak:.0f} MB |", flush=True)
            shutil.rmtree(base / "source")


if __name__ == "__main__":
    main()
