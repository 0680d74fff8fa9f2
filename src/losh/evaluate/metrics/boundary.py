"""Boundary measure F of the DAVIS benchmark: how well the contours of two masks agree.

Perazzi et al., "A benchmark dataset and evaluation methodology for video object segmentation" (CVPR
2016), section 5; the details that the paper leaves open are those of the benchmark's public
evaluation (davischallenge.org), as facts:

* A pixel lies on the boundary if it differs from its right, its lower or its lower-right neighbour.
  Beyond the image the nearest pixel repeats, so that an object cut by the image's border has no
  boundary along it.
* A boundary pixel is matched if the other mask's boundary has a pixel within the tolerance: 0.008
  of the image's diagonal, rounded up to whole pixels (8 at 480 x 854).
* Precision and recall are the matched parts of the predicted and the true boundary; F is their
  harmonic mean. If both boundaries are empty F = 1; if one is, or nothing matches, F = 0.
"""

from __future__ import annotations

from math import ceil, hypot

import numpy as np

from losh.evaluate.metrics import bitmaps

TOLERANCE = 0.008  # of the image's diagonal


def tolerance_of(height: int, width: int) -> int:
    """Return the distance in pixels within which boundaries match, for an image of this size."""
    return ceil(TOLERANCE * hypot(height, width))


def boundary_words(words: np.ndarray, width: int) -> np.ndarray:
    """Return the boundary maps of packed masks of `width` pixels, uint64 `[..., H, words]`."""
    right = bitmaps.from_right(words, 1)
    # The last column repeats.
    right[..., -1] |= words[..., -1] & np.uint64(1 << ((width - 1) % bitmaps.WORD))
    boundary = words ^ right
    # The last row repeats too, and differs from its repetition nowhere: only the rows above it look
    # down.
    boundary[..., :-1, :] |= words[..., :-1, :] ^ words[..., 1:, :]
    boundary[..., :-1, :] |= words[..., :-1, :] ^ right[..., 1:, :]
    return boundary


def boundary_map(masks: np.ndarray) -> np.ndarray:
    """Return the boundary pixels of masks: bool `[..., H, W]` -> bool `[..., H, W]`."""
    width = masks.shape[-1]
    return bitmaps.unpack(boundary_words(bitmaps.pack(masks), width), width)


def pairwise_f(predictions: np.ndarray, truths: np.ndarray, width: int) -> np.ndarray:
    """F of every predicted with every true object, from packed masks; each object is dilated once.

    Args:
        predictions: uint64 `[P, T, H, words]` (`bitmaps.pack`), P objects in T frames.
        truths: uint64 `[O, T, H, words]`.
        width: of the masks in pixels.

    Returns:
        float64 `[P, O, T]`.
    """
    radius = tolerance_of(predictions.shape[-2], width)
    both = np.concatenate([boundary_words(predictions, width), boundary_words(truths, width)])
    both = _cropped(both)
    near = bitmaps.dilate(both, radius)
    sizes = bitmaps.count(both)  # [P + O, T]
    num = len(predictions)
    result = np.empty((num, len(truths), both.shape[1]))
    for p in range(num):
        for o in range(len(truths)):
            matched_prediction = bitmaps.count(both[p] & near[num + o])
            matched_truth = bitmaps.count(both[num + o] & near[p])
            result[p, o] = _f(matched_prediction, sizes[p], matched_truth, sizes[num + o])
    return result


def boundary_f(
    prediction: np.ndarray, truth: np.ndarray, void: np.ndarray | None = None
) -> np.ndarray:
    """F of each frame.

    Args:
        prediction, truth: bool `[T, H, W]`, or `[H, W]` for a single frame.
        void: bool, broadcast to them; taken out of both masks before their boundaries are found, as
            DAVIS does.

    Returns:
        float64 `[T]`, or a single number's array for a single frame.
    """
    if void is not None:
        prediction, truth = prediction & ~void, truth & ~void
    frames = (1, -1, *prediction.shape[-2:])
    packed = (bitmaps.pack(prediction.reshape(frames)), bitmaps.pack(truth.reshape(frames)))
    return pairwise_f(*packed, width=prediction.shape[-1])[0, 0].reshape(prediction.shape[:-2])


def _cropped(boundaries: np.ndarray) -> np.ndarray:
    """Return the smallest block of rows and words that holds every boundary pixel.

    `[..., H, words]`; at least one row and one word.

    Nothing is lost: what counts is whether a boundary pixel has another one near it, and both lie
    in the block, as do the run along the one's row and the step along the other's column by which
    the dilation gets there.
    """
    rows = np.flatnonzero(
        boundaries.any(axis=tuple(i for i in range(boundaries.ndim) if i != boundaries.ndim - 2))
    )
    words = np.flatnonzero(boundaries.any(axis=tuple(range(boundaries.ndim - 1))))
    if not len(rows):
        return boundaries[..., :1, :1]
    return np.ascontiguousarray(boundaries[..., rows[0] : rows[-1] + 1, words[0] : words[-1] + 1])


def _f(
    matched_prediction: np.ndarray,
    size_prediction: np.ndarray,
    matched_truth: np.ndarray,
    size_truth: np.ndarray,
) -> np.ndarray:
    """Return F from pixel counts, all `[T]`.

    The conventions for empty boundaries are in the head of this file.
    """
    precision = matched_prediction / np.maximum(size_prediction, 1)
    recall = matched_truth / np.maximum(size_truth, 1)
    total = precision + recall
    f = np.where(total > 0, 2 * precision * recall / np.where(total > 0, total, 1), 0.0)
    return np.where((size_prediction == 0) & (size_truth == 0), 1.0, f)
