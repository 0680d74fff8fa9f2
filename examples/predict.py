"""Mask two objects of the example clip with the library.

Usage, after `make run`: python examples/predict.py [MODEL]
"""

import sys
from pathlib import Path

import losh

CLIP = Path(__file__).parent / "shapes.mp4"
SENTENCES = ["the large orange square", "the red circle"]


def main() -> None:
    """Print how much of the clip each object covers, then its place frame by frame."""
    model = losh.load(*sys.argv[1:2])
    print(model.knows)
    masks = model.segment(CLIP, SENTENCES)  # bool [N, T, H, W]
    for sentence, part in zip(SENTENCES, masks.mean((1, 2, 3)), strict=True):
        print(f"{sentence}: {100 * part:.1f} % of all pixels")
    # The same for a video of any length: one frame at a time.
    for t, found in enumerate(model.stream(CLIP, SENTENCES[0])):
        rows, columns = found.masks[0].nonzero()
        place = f"x {columns.mean():.0f}, y {rows.mean():.0f}" if len(rows) else "not seen"
        print(f"frame {t}: {place}")


if __name__ == "__main__":
    main()
