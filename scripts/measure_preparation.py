"""Measure time and disk that a clip of each published dataset takes, from one real clip.

And what that makes for the whole dataset.

    python scripts/measure_preparation.py CLIP    (a folder of at least 8 frames of one real video;
    5 minutes on one core)

The datasets themselves are not needed: two videos in each layout are made of the clip's frames, at
the dataset's usual size and length, with two drawn objects as masks. The stages' own functions then
run on them in one process. Flow is timed on one pair, both ways, with the recipe's network and
random weights (its time does not depend on them); the size of a field is that of the embedded
RAFT-small's.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

import losh.testing.dataset_fixtures as fixtures  # noqa: E402
from losh.commands.recipe import use_recipe  # noqa: E402
from losh.errors import friendly  # noqa: E402
from losh.flow.compute import neighbour_pairs, running_size, to_stored_grid  # noqa: E402
from losh.flow.estimator import FlowEstimator  # noqa: E402
from losh.flow.flow_store import write_fields  # noqa: E402
from losh.flow.raft import new_network  # noqa: E402
from losh.frames.packing import pack_video  # noqa: E402
from losh.media.resizing import resize_frame  # noqa: E402
from losh.params import Params, load_params  # noqa: E402
from losh.testing.drawn_clip import Clip  # noqa: E402


@dataclasses.dataclass(frozen=True)
class Kind:
    """One dataset: its usual clip, and how many there are."""

    recipe: str
    size: tuple[int, int]
    """Usual height and width in px."""
    frames: int
    """Usual frames per video: our estimate, where the publication gives no mean."""
    videos: int
    trained: int
    """Training videos, which need flow."""


KINDS = {
    "a2d_sentences": Kind("losh_a2d_sentences", (320, 568), 136, 3754, 3017),
    "jhmdb_sentences": Kind("losh_a2d_to_jhmdb", (240, 320), 34, 928, 0),
    "refer_youtube_vos": Kind("losh_refer_youtube_vos", (720, 1280), 27, 3673, 3471),
    "refer_davis17": Kind("losh_youtube_vos_to_davis", (480, 854), 69, 90, 60),
}
MAKERS = {
    "a2d_sentences": lambda root, n: fixtures.make_a2d(
        root, train=2, test=0, num_frames=n, missing=0
    ),
    "jhmdb_sentences": lambda root, n: fixtures.make_jhmdb(root, videos=2, num_frames=n),
    "refer_youtube_vos": lambda root, n: fixtures.make_refer_youtube_vos(
        root, train=1, valid=0, hidden=0, num_frames=n
    ),
    "refer_davis17": lambda root, n: fixtures.make_refer_davis17(
        root, train=1, val=1, num_frames=n
    ),
}


def real_clips(frames: np.ndarray, size: tuple[int, int], drawn: object) -> object:
    """Return a stand-in for the fixtures' drawing: real frames, there and back again.

    They have `size` and the drawing's masks.
    """
    images = [cv2.resize(frame, size[::-1], interpolation=cv2.INTER_AREA) for frame in frames]
    order = [*range(len(images)), *range(len(images) - 2, 0, -1)]

    def draw(number: int, num_frames: int, _: object = None, absent: object = None) -> Clip:
        objects = drawn(number, num_frames, size, absent).objects
        return Clip(np.stack([images[order[t % len(order)]] for t in range(num_frames)]), objects)

    return draw


class SameMasks:
    """A reader that gives one frame's masks for every frame."""

    def __init__(self, reader: object, frame: int) -> None:
        self.reader, self.frame = reader, frame

    def __getattr__(self, name: str) -> object:
        return getattr(self.reader, name)

    def masks(self, video: object, _: int) -> object:
        """Masks of the chosen frame."""
        return self.reader.masks(video, self.frame)


def flow_cost(params: Params, images: np.ndarray, weights: Path) -> tuple[float, float]:
    """Return seconds per pair, both ways, by the recipe's network, and bytes per field."""
    size = running_size(*images.shape[1:3], params.flow)
    frames = np.stack([resize_frame(image, size) for image in images[:2]])
    timed = FlowEstimator(params.flow.model_copy(update={"checkpoint": str(weights)}))
    began = time.monotonic()
    timed.estimate_both(frames, [(0, 1)])
    seconds = time.monotonic() - began
    embedded = FlowEstimator(
        params.flow.model_copy(update={"model": "raft_small", "checkpoint": "embedded"})
    )
    both = embedded.estimate_both(frames, [(0, 1)])
    fields = {
        pair: to_stored_grid(way, params.flow.stored_stride)[0]
        for pair, way in zip(((0, 1), (1, 0)), both, strict=True)
    }
    with tempfile.TemporaryDirectory() as folder:
        write_fields(Path(folder) / "flow.h5", "measured", fields)
        return seconds, (Path(folder) / "flow.h5").stat().st_size / 2


@friendly
def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clip", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--datasets", nargs="+", choices=sorted(KINDS), default=list(KINDS))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    frames = np.stack(
        [cv2.imread(str(path))[:, :, ::-1] for path in sorted(options.clip.glob("*.jpg"))]
    )
    drawn = fixtures.draw_clip
    print(
        "| dataset | a clip | frames + masks | flow | whole dataset: frames + masks | whole "
        "dataset: flow |\n|---|---|---|---|---|---|"
    )
    for name in options.datasets:
        kind = KINDS[name]
        with tempfile.TemporaryDirectory() as folder:
            base = Path(folder)
            with contextlib.redirect_stdout(None):
                use_recipe(
                    kind.recipe, ROOT / "recipes", base / "params.yaml", base / "before.yaml"
                )
            params = load_params(base / "params.yaml")
            fixtures.draw_clip = real_clips(frames, kind.size, drawn)
            MAKERS[name](base / "raw", kind.frames)
            reader = fixtures.reader_of(name, base / "raw")
            # Three scored frames per video, which the download stage chooses.
            if name == "jhmdb_sentences":
                reader = fixtures.reader_of(
                    name, base / "raw", {one.video: [5, 15, 25] for one in reader.videos()}
                )
            video = max(reader.videos(), key=lambda one: len(one.annotated))
            # The fixture's annotated frames lie side by side, A2D's all over the clip.
            if name == "a2d_sentences":
                reader, video = (
                    SameMasks(reader, video.annotated[0]),
                    dataclasses.replace(video, annotated=(33, 67, 101)),
                )
            began = time.monotonic()
            row = pack_video(reader, video, params.frames, base / "video.zip")
            packing, size = time.monotonic() - began, (base / "video.zip").stat().st_size
            cells = [
                f"{len(row['stored'])} of {row['num_frames']} frames, {row['height']} x "
                f"{row['width']}",
                f"{packing:.2f} s, {size / 2**20:.1f} MB",
            ]
            hours, gigabytes = kind.videos * packing / 3600, kind.videos * size / 2**30
            whole = f"{hours:.2f} core hours, {gigabytes:.0f} GB"
            if not kind.trained:
                print(f"| {name} | {' | '.join(cells)} | none | {whole} | none |", flush=True)
                continue
            network = new_network(params.flow.model, params.flow.iterations)
            torch.save(network.state_dict(), base / "random.pt")
            seconds, field = flow_cost(params, fixtures.draw_clip(0, 2).frames, base / "random.pt")
            pairs = len(neighbour_pairs(row["annotated"], row["stored"]))
            cells.append(
                f"{pairs} pairs: {pairs * seconds:.0f} s, {2 * pairs * field / 2**20:.1f} MB"
            )
            hours = kind.trained * pairs * seconds / 3600
            print(
                f"| {name} | {' | '.join(cells)} | {whole} | {hours:,.0f} core hours, "
                f"{kind.trained * 2 * pairs * field / 2**30:.1f} GB |",
                flush=True,
            )


if __name__ == "__main__":
    main()
