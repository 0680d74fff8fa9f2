"""One video's zip: the frames that windows will need, and all masks, under the frame's index."""

from __future__ import annotations

import json
import zipfile
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from losh.datasets.reader import FrameReader, Video
from losh.errors import UserError
from losh.frames.encoding import encode_frame, stored_size, suffix_of
from losh.media.decoding import VOID
from losh.media.windows import window_around
from losh.params import FramesParams
from losh.runtime.files import add_to_zip, atomic_write, sha256_of


def needed_frames(
    annotated: tuple[int, ...], num_frames: int, window: int, protocol: str
) -> list[int]:
    """Return the indices that any window reads.

    Those around annotated frames where few are annotated (a2d), else all.

    The neighbours t - 1 and t + 1 of an annotated frame are always among them, since flow needs
    them.
    """
    if protocol != "a2d":
        return list(range(num_frames))
    wanted = {t for c in annotated for t in window_around(c, max(window, 3), num_frames)}
    return sorted(wanted)


def keeps_all(video: Video, params: FramesParams) -> bool:
    """Whether frames that no window reads are stored too: sparse clips are for training alone."""
    return params.keep == "all" and video.split == "train"


def pack_video(
    reader: FrameReader, video: Video, params: FramesParams, target: Path
) -> dict[str, Any]:
    """Write one video's zip.

    Returns:
        Its row of the index, with two lists besides: `without_pixels`, annotated instances without
        a mask's pixel, and `clamped`, annotations beyond the video's end.

    Raises:
        UserError: a frame or mask is missing or does not decode.
    """
    encoded, size, count = _encoded_frames(reader, video, params)
    usable = count if video.masked is None else min(count, video.masked)
    if not usable and video.annotated:
        raise UserError(
            f"{reader.mask_place(video, 0)}: there is no mask at all",
            reader.mend,
        )
    sources, clamped = _clamp(video, usable)
    targets = tuple(sorted(sources))
    stored = needed_frames(targets, usable, params.window, reader.protocol)
    if keeps_all(video, params):
        stored = list(range(usable))
    instances: dict[str, list[str]] = {}
    without_pixels: list[str] = []
    with atomic_write(target) as part, zipfile.ZipFile(part, "w") as archive:
        for t in stored:
            add_to_zip(archive, f"frames/{t:06d}{suffix_of(encoded[t])}", encoded[t])
        for t in targets:
            masks = reader.masks(video, sources[t])
            if reader.protocol in ("a2d", "refcoco"):
                # An absent object is not listed at all there, so an empty mask is a fault.
                without_pixels += [
                    f"{reader.mask_place(video, sources[t])}: the mask of instance {name} has no "
                    f"pixel"
                    for name, mask in masks.items()
                    if not mask.any()
                ]
            instances[str(t)] = sorted(
                name for name, mask in masks.items() if mask.any() and name != str(VOID)
            )
            add_to_zip(archive, f"masks/{t:06d}.json", _encode_masks(masks, *size))
    return {
        "split": video.split,
        "num_frames": count,
        "usable_frames": usable,
        "frame_names": list(video.frame_names),
        "height": size[0],
        "width": size[1],
        "stored": stored,
        "annotated": list(targets),
        "instances": instances,
        "without_pixels": without_pixels,
        "clamped": clamped,
        "sha256": sha256_of(target),
        **({"unions": video.unions} if video.unions else {}),
    }


def _encoded_frames(
    reader: FrameReader, video: Video, params: FramesParams
) -> tuple[dict[int, bytes], tuple[int, int], int]:
    """Encode the frames that a window may read, by index.

    Also returned: (height, width) as stored, and how many frames the video has.
    """
    encoded: dict[int, bytes] = {}
    size, count = (0, 0), 0
    # The length of a video file is not known before it is decoded: frames past the last window are
    # read, not kept. The last ones are, for annotations beyond them.
    reach = params.window + 2
    centers = [t if video.masked is None else min(t, video.masked - 1) for t in video.annotated]
    near = {t for c in centers for t in range(c - reach, c + reach + 1)}
    tail: deque[tuple[int, bytes | np.ndarray, str]] = deque(maxlen=reach + 1)
    for count, (frame, name) in enumerate(reader.frames(video), start=1):
        if count == 1:
            size = stored_size(frame, name, params, reader.mend)
        if reader.protocol != "a2d" or keeps_all(video, params) or count - 1 in near:
            encoded[count - 1] = encode_frame(frame, name, params, reader.mend)
        else:
            tail.append((count - 1, frame, name))
    if count == 0:
        raise UserError(f"{video.media} holds no frame", reader.mend)
    if any(t >= count for t in video.annotated):
        encoded |= {t: encode_frame(frame, name, params, reader.mend) for t, frame, name in tail}
    return encoded, size, count


def _clamp(video: Video, usable: int) -> tuple[dict[int, int], list[str]]:
    """Return frame -> the annotated frame whose masks it gets, and notes for the index.

    A note names each annotation beyond the usable frames.

    As published, such an annotation goes with the last frame (decoders disagree on a video's last
    frames). Where the masks themselves end (JHMDB-Sentences), the last frame has its own.
    """
    sources = {t: t for t in video.annotated if t < usable}
    notes = []
    for t in sorted(set(video.annotated) - sources.keys()):
        what = f"{video.media} has {usable} usable frames, but the annotation names frame {t + 1}"
        if usable - 1 in sources:
            notes.append(f"{what}: left out, since frame {usable} has an annotation already")
        else:
            sources[usable - 1] = t if video.masked is None else usable - 1
            notes.append(f"{what}: taken for frame {usable}")
    return sources, notes


def _encode_masks(masks: dict[str, np.ndarray], height: int, width: int) -> bytes:
    """COCO RLE of each instance; at the annotation's own size, which need not be the frame's."""
    size = next((list(mask.shape) for mask in masks.values()), [height, width])
    runs = {
        name: coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
        for name, mask in sorted(masks.items())
    }
    return json.dumps({"size": size, "instances": runs}, sort_keys=True).encode()
