"""Measure how preparation and `dvc status` grow with the number of videos.

Tiny frames, 250 and 1,000 videos, in each published dataset's layout.

python scripts/measure_scaling.py    (about 3 minutes on 2 cores)
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from measuring import measured

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from losh.testing.dataset_fixtures import (  # noqa: E402
    make_a2d,
    make_jhmdb,
    make_refer_davis17,
    make_refer_youtube_vos,
)
from losh.testing.tiny_training import tiny_raw  # noqa: E402

SIZE = (32, 40)  # px
HELD_OUT = 20  # videos
LAYOUTS = {
    "a2d_sentences": lambda root, videos: make_a2d(
        root, train=videos - HELD_OUT, test=HELD_OUT, num_frames=10, size=SIZE, missing=0
    ),
    "jhmdb_sentences": lambda root, videos: make_jhmdb(root, videos=videos, size=SIZE),
    "refer_youtube_vos": lambda root, videos: make_refer_youtube_vos(
        root, train=videos - HELD_OUT, valid=HELD_OUT, size=SIZE
    ),
    "refer_davis17": lambda root, videos: make_refer_davis17(
        root, train=videos - HELD_OUT, val=HELD_OUT, size=SIZE
    ),
}
STAGES = ["download", "extract_frames", "parse_text"]


def main() -> None:
    """Run and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, nargs="+", default=[250, 1000])
    parser.add_argument("--layouts", choices=LAYOUTS, nargs="+", default=list(LAYOUTS))
    arguments = parser.parse_args()
    print(
        "| layout | videos | "
        + " | ".join(f"`{stage}`" for stage in STAGES)
        + " | `dvc status` |\n"
        + "|---" * 6
        + "|"
    )
    for layout in arguments.layouts:
        for count in arguments.videos:
            with tempfile.TemporaryDirectory() as folder:
                clone, source = Path(folder, "clone"), Path(folder, "source")
                subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
                LAYOUTS[layout](source, count)
                raw = tiny_raw(
                    {"many": {"kind": layout, "source": str(source)}}, train__datasets=["many"]
                )
                (clone / "params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
                measured(["-m", "dvc", "repro", "check"], clone)  # `download` waits for its file
                taken = [
                    measured(["-m", "dvc", "repro", "-s", f"{stage}@many"], clone)
                    for stage in STAGES
                ]
                taken.append(
                    measured(["-m", "dvc", "status", *(f"{stage}@many" for stage in STAGES)], clone)
                )
                cells = [f"{seconds:.1f} s, {peak:.0f} MB" for seconds, peak in taken]
                print(f"| {layout} | {count} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
