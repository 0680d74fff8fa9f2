"""What the two filters of train.resize_filter cost, and how far apart their frames are.

    python scripts/measure_resizing.py FRAME    (an image; half a minute on one core)

Processor time, so that other work on the machine does not count.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from losh.media.decoding import read_image  # noqa: E402
from losh.media.resizing import network_size, resize_frame  # noqa: E402

SIZES = {  # height, width of a frame -> short_side, long_side of its recipe
    "Refer-YouTube-VOS": ((720, 1280), (360, 640)),
    "Refer-DAVIS17": ((480, 854), (360, 640)),
    "JHMDB": ((240, 320), (320, 576)),
}
RUNS = 100


def milliseconds(frame: np.ndarray, size: tuple[int, int], name: str) -> float:
    """Median processor time of one frame."""
    times = []
    for _ in range(RUNS):
        start = time.process_time()
        resize_frame(frame, size, name)
        times.append(time.process_time() - start)
    return 1000 * float(np.median(times))


if __name__ == "__main__":
    cv2.setNumThreads(1)
    image = read_image(Path(sys.argv[1]))
    print("| frames | from | to | area | pil_bilinear | mean difference | largest |")
    print("|---|---|---|---|---|---|---|")
    for dataset, (full, sides) in SIZES.items():
        frame = cv2.resize(image, full[::-1], interpolation=cv2.INTER_CUBIC)
        size = network_size(*full, *sides)
        area, pil = (resize_frame(frame, size, name) for name in ("area", "pil_bilinear"))
        gap = np.abs(area.astype(int) - pil)
        costs = [milliseconds(frame, size, name) for name in ("area", "pil_bilinear")]
        print(
            f"| {dataset} | {full[1]} x {full[0]} | {size[1]} x {size[0]} | {costs[0]:.2f} ms "
            f"| {costs[1]:.2f} ms | {gap.mean():.2f} | {gap.max()} |"
        )
