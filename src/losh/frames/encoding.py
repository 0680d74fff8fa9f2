"""How a frame is stored: published JPEGs as they are, decoded frames as JPEG or lossless PNG."""

from __future__ import annotations

import cv2
import numpy as np

from losh.errors import UserError
from losh.media.decoding import decode_image
from losh.params import FramesParams

PNG_SIGNATURE = b"\x89PNG"
PNG_OPTIONS = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP]
"""Level and filter that read and write fastest (measured, docs/datasets/a2d_sentences.md); given,
lest another OpenCV's defaults change the bytes.
"""


def encode_frame(frame: bytes | np.ndarray, name: str, params: FramesParams, mend: str) -> bytes:
    """JPEG or PNG bytes of a frame.

    Args:
        frame: published bytes, kept as they are if they decode, or uint8 [H, W, 3] RGB, stored at
            the wanted size and quality.
        name: for errors.
        params: `short_side` and `jpeg_quality`.
        mend: for errors, what to do about published bytes.

    Raises:
        UserError: published bytes that do not decode.
    """
    if isinstance(frame, bytes):
        decode_image(frame, name, mend)
        return frame
    height, width = _shrunk(frame.shape[0], frame.shape[1], params.short_side)
    if (height, width) != frame.shape[:2]:
        frame = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
    if params.jpeg_quality == "lossless":
        suffix, options = ".png", PNG_OPTIONS
    else:
        suffix, options = ".jpg", [cv2.IMWRITE_JPEG_QUALITY, params.jpeg_quality]
    done, data = cv2.imencode(suffix, np.ascontiguousarray(frame[:, :, ::-1]), options)
    if not done:
        raise UserError(f"{name} cannot be encoded as {suffix}")
    return data.tobytes()


def stored_size(
    frame: bytes | np.ndarray, name: str, params: FramesParams, mend: str
) -> tuple[int, int]:
    """Height and width in pixels that `encode_frame` gives a frame; it raises the same errors."""
    if isinstance(frame, bytes):
        return decode_image(frame, name, mend).shape[:2]
    return _shrunk(frame.shape[0], frame.shape[1], params.short_side)


def suffix_of(data: bytes) -> str:
    """Return the suffix that says how a stored frame is encoded."""
    return ".png" if data.startswith(PNG_SIGNATURE) else ".jpg"


def _shrunk(height: int, width: int, short_side: int | None) -> tuple[int, int]:
    if short_side is None or min(height, width) <= short_side:
        return height, width
    ratio = short_side / min(height, width)
    return round(height * ratio), round(width * ratio)
