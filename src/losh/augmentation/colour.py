"""Photometric distortion of a frame (SSD, arXiv 1512.02325, in ReferFormer's and SgMg's forms)."""

from __future__ import annotations

import cv2
import numpy as np

from losh.params import ColourParams


def distort(frame: np.ndarray, params: ColourParams, rng: np.random.Generator) -> np.ndarray:
    """Change brightness, contrast, saturation and hue, and then the order of the channels.

    Each is changed with `probability`. Contrast comes first or last, by a coin.

    What leaves 0 to 255 wraps round unless `clip` says otherwise, as it does in the published code.

    Args:
        frame: uint8 [H, W, 3] RGB.
    """
    image = frame.astype(np.float32)
    if rng.random() < params.probability:
        image += np.float32(rng.uniform(-params.brightness, params.brightness))
    if params.clip == "after_brightness":
        image = image.clip(0, 255)
    contrast_first = rng.random() < 0.5
    if contrast_first:
        image = _contrast(image, params, rng)
    image = _saturation_and_hue(image, params, rng)
    if not contrast_first:
        image = _contrast(image, params, rng)
    if rng.random() < params.permutation:
        image = image[:, :, rng.permutation(3)]
    if params.clip == "always":
        image = image.clip(0, 255)
    # Not astype(uint8) at once: what that makes of a number outside is the machine's to choose.
    return (image.astype(np.int32) & 255).astype(np.uint8)


def _contrast(image: np.ndarray, params: ColourParams, rng: np.random.Generator) -> np.ndarray:
    if rng.random() < params.probability:
        image = image * np.float32(rng.uniform(1 - params.contrast, 1 + params.contrast))
    return image


def _saturation_and_hue(
    image: np.ndarray, params: ColourParams, rng: np.random.Generator
) -> np.ndarray:
    factor, turn = 1.0, 0.0
    if rng.random() < params.probability:
        factor = rng.uniform(1 - params.saturation, 1 + params.saturation)
    if rng.random() < params.probability:
        turn = rng.uniform(-params.hue, params.hue)
    if (factor, turn) == (1.0, 0.0):
        return image
    hsv = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2HSV))  # degrees, 0 to 1, 0 to 255
    hsv[..., 0] = (hsv[..., 0] + turn) % 360
    hsv[..., 1] = hsv[..., 1] * factor
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))
