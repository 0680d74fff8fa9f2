"""Make examples/shapes.mp4, a clip of MovingShapes, and print what can be said of it.

No training and no test of the default has seen the clip, and it is the same clip each time. Usage:
python scripts/make_example_clip.py [-o examples/shapes.mp4] [--index 1]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from losh.moving_shapes.generate import clip_seed
from losh.moving_shapes.scene import render_clip
from losh.moving_shapes.video import write_video

SEED = 99
"""Of a dataset of its own: params.yaml's has 1."""
FRAMES, HEIGHT, WIDTH = 36, 192, 256


def main() -> None:
    """Write the clip."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", type=Path, default=Path("examples/shapes.mp4"))
    parser.add_argument("--index", type=int, default=1, help="which clip of that dataset")
    arguments = parser.parse_args()
    clip = render_clip(clip_seed(SEED, "test", arguments.index), FRAMES, HEIGHT, WIDTH)
    write_video(arguments.out, clip.frames)
    for one in clip.objects:
        for said in one.expressions:
            print(f"{said.instance}: {said.text}")


if __name__ == "__main__":
    main()
