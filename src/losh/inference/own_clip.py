"""A user's own clip, a video file or a folder of frames, in the form that all stages read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from losh.datasets.reader import Expression, Video
from losh.errors import UserError
from losh.frames import FrameStore
from losh.frames.packing import pack_video
from losh.media.decoding import decode_video, read_bytes, read_image
from losh.params import FramesParams
from losh.runtime.files import write_json

IMAGES = {".jpg", ".jpeg", ".png"}


class OwnClip:
    """A FrameReader of one video without annotation."""

    name, kind, protocol = "own", "own", "youtube_vos"

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise UserError(
                f"{path} does not exist", "Give a video file or a folder of .jpg or .png frames"
            )
        names: tuple[str, ...] = ()
        if path.is_dir():
            names = tuple(sorted(p.name for p in path.iterdir() if p.suffix.lower() in IMAGES))
            if not names:
                raise UserError(
                    f"{path} holds no .jpg or .png frame", "Give a video file or a folder of frames"
                )
        self.video = Video(path.name, "test", path, names, ())

    def videos(self) -> list[Video]:
        """The one video."""
        return [self.video]

    def expressions(self) -> list[Expression]:
        """None: the sentence comes from the command line."""
        return []

    def frames(self, video: Video) -> Iterator[tuple[bytes | np.ndarray, str]]:
        """See FrameReader."""
        if not video.frame_names:
            for t, frame in enumerate(decode_video(video.media)):
                yield frame, f"{video.media}, frame {t + 1}"
        for name in video.frame_names:
            path = video.media / name
            yield read_image(path) if path.suffix.lower() == ".png" else read_bytes(path), str(path)

    def masks(self, video: Video, frame: int) -> dict[str, np.ndarray]:
        """Never asked for: no frame is annotated."""
        raise NotImplementedError

    def mask_place(self, video: Video, frame: int) -> str:
        """Never asked for: no frame is annotated."""
        raise NotImplementedError


@contextmanager
def extracted(path: Path) -> Iterator[tuple[FrameStore, str]]:
    """The clip through the very frame extraction of the workflow: (store, video id), valid inside
    the `with` block.
    """
    clip = OwnClip(path)
    params = FramesParams(window=1, short_side=None, jpeg_quality=95, on_error="stop")
    with TemporaryDirectory(prefix="losh-") as folder:
        root = Path(folder)
        row = pack_video(clip, clip.video, params, root / "clip.zip")
        write_json(
            root / "index.json",
            {
                "name": "own",
                "kind": "own",
                "protocol": "youtube_vos",
                "window": 1,
                "videos": {"clip": row},
                "skipped": [],
            },
        )
        yield FrameStore(root), "clip"
