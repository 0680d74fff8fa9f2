"""Frames as they are published: video files, folders of JPEGs, folders of PNGs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import av
import cv2
import numpy as np
from PIL import Image

from losh.errors import UserError, reason
from losh.media.upright import display_matrix, upright

CUT_SHORT = 0.9
"""A file that decodes to less than this part of the frames that its header promises was cut (our
choice). Not 1.0: a sound file may promise a few more, which its edit list hides.
"""


def decode_video(path: Path, as_shown: bool = False) -> Iterator[np.ndarray]:
    """Yield the frames of a video file in order, uint8 [H, W, 3] RGB.

    They are unrotated, as published systems read them, or (`as_shown`) turned and mirrored as a
    player shows them.

    Raises:
        UserError: the file is missing, damaged, or ends early; the message names it. A decoder
            hides damage by pictures of its own and marks them as corrupt: those count as damage.
    """
    if not path.is_file():
        raise UserError(
            f"{path} is missing",
            "It was there when the dataset was checked; put it back, or repeat the download stage",
        )
    count = 0
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise UserError(f"{path} holds no video stream", "Fetch the published file again")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            promised = stream.frames
            for frame in container.decode(stream):
                if frame.is_corrupt:
                    raise UserError(
                        f"{path} is damaged: frame {count + 1} does not decode as it was written",
                        "Fetch the published file again",
                    )
                count += 1
                picture = frame.to_ndarray(format="rgb24")
                if as_shown:
                    picture = np.ascontiguousarray(upright(picture, display_matrix(frame)))
                yield picture
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise UserError(
            f"{path} does not decode ({reason(error)}) after {count} frames",
            "Fetch the published file again",
        ) from None
    if count == 0 or count < CUT_SHORT * promised:
        raise UserError(
            f"{path} ends early: {count} of {promised or 'its'} frames decode",
            "Fetch the published file again",
        )


@lru_cache(maxsize=256)
def video_size(path: Path) -> tuple[int, int]:
    """Height and width of a video file in pixels, from its header.

    Raises:
        UserError: the header cannot be read.
    """
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            return stream.codec_context.height, stream.codec_context.width
    except (av.error.FFmpegError, OSError, IndexError) as error:
        raise UserError(
            f"{path} does not open as a video ({reason(error)})", "Fetch the published file again"
        ) from None


@lru_cache(maxsize=256)
def image_size(path: Path) -> tuple[int, int]:
    """Height and width of an image file in pixels, from its header.

    Raises:
        UserError: the file is missing or is no image.
    """
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except (OSError, SyntaxError) as error:
        raise UserError(
            f"{path} does not open as an image ({reason(error)})", "Fetch the published file again"
        ) from None


def read_bytes(path: Path) -> bytes:
    """Return a published image's bytes, not decoded.

    Raises:
        UserError: the file is missing or empty.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror})", "Put it back, or repeat the download stage"
        ) from None
    if not data:
        raise UserError(f"{path} is empty", "Fetch the published file again")
    return data


def read_image(path: Path) -> np.ndarray:
    """Return an image as uint8 [H, W, 3] RGB.

    Raises:
        UserError: the file is missing or does not decode.
    """
    # By way of bytes: OpenCV's own reader takes no odd file names on some systems.
    return decode_image(read_bytes(path), str(path))


def decode_image(
    data: bytes, name: str, advice: str = "Fetch the published file again"
) -> np.ndarray:
    """Return an image file's bytes as uint8 [H, W, 3] RGB, turned as its EXIF says.

    Raises:
        UserError: they do not decode; the message has `name` and `advice`.
    """
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if image is None:
        raise UserError(f"{name} does not decode as an image", advice)
    return np.ascontiguousarray(image[:, :, ::-1])


SLACK = 2
"""Pixels by which a mask may differ from its video (our choice): encoders round an odd size to an
even one.
"""


def as_rows_first(mask: np.ndarray, height: int, width: int, path: Path) -> np.ndarray:
    """Return a [W, H] (published) or [H, W] mask as bool [H, W] of the video's size.

    Which one it is follows from the video's size; a square video's mask is taken to be transposed,
    as published.

    Raises:
        UserError: the mask has neither shape; the message names `path`.
    """
    turned, straight = (width, height), (height, width)
    if mask.shape == turned or (mask.shape != straight and _close(mask.shape, turned)):
        mask = mask.T
    elif not _close(mask.shape, straight):
        raise UserError(
            f"{path} has masks of {mask.shape}, but the video is {height} high and {width} wide",
            "Fetch the published file again",
        )
    if mask.shape == (height, width):
        return np.ascontiguousarray(mask)
    rows, columns = (
        np.minimum(np.arange(size), have - 1)
        for size, have in zip((height, width), mask.shape, strict=True)
    )
    return mask[np.ix_(rows, columns)]


def _close(shape: tuple[int, ...], wanted: tuple[int, int]) -> bool:
    return len(shape) == 2 and all(
        abs(have - want) <= SLACK for have, want in zip(shape, wanted, strict=True)
    )


VOID = 255
"""DAVIS's index of pixels that count for nobody; never an object."""


def read_indices(path: Path) -> np.ndarray:
    """Return the palette indices (or grey values) of an annotation, uint8 [H, W].

    Raises:
        UserError: the file is missing, does not decode, or is in colour, so that its indices are
            lost.
    """
    try:
        with Image.open(path) as image:
            if image.mode not in ("P", "L", "1"):
                raise UserError(
                    f"{path} is {image.mode}, not a palette image",
                    "Something has converted it; fetch the published file again",
                )
            return np.asarray(image.convert("L") if image.mode == "1" else image)
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(
            f"{path} is missing or does not decode ({str(error).splitlines()[0]})",
            "Fetch the published file again",
        ) from None


def split_objects(indices: np.ndarray, known: Iterable[str] = ()) -> dict[str, np.ndarray]:
    """Return object id -> bool [H, W] for the objects in the image.

    The `known` ones of the video that this frame does not show are empty masks. Void is no object.
    """
    present = {str(index) for index in np.unique(indices) if index not in (0, VOID)}
    return {one: indices == int(one) for one in sorted(present | set(known), key=int)}
