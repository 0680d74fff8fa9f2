"""Pseudo clips: a picture and copies of it that look as if the camera had moved.

So the published systems train on pictures and videos together (ReferFormer's joint training). Its
copies are made by imgaug, which is no longer kept and seeded from the clock there; these are ours,
of the same ranges, and follow from a seed.
"""

from __future__ import annotations

import cv2
import numpy as np

BRIGHTNESS = 40
"""Grey levels that are added to a copy, at most, either way."""
HUE_SATURATION = 5
"""Levels of 255 that are added to its hue and saturation."""
PERSPECTIVE = 0.08
"""Standard deviation of how far each corner of what a copy shows is moved inwards; of the side."""
ROTATION = 20
"""Degrees, at most, either way."""
TRANSLATION = 0.1
"""Of both sides alike, at most, either way."""
BLUR = 0.25
"""Probability of motion blur."""
KERNELS = (9, 11)
"""Its lengths in px."""


def pseudo_clip(
    picture: np.ndarray, masks: dict[str, np.ndarray], frames: int, rng: np.random.Generator
) -> tuple[list[np.ndarray], list[dict[str, np.ndarray]]]:
    """Make a clip of `frames` frames: the picture and moved copies, in random order.

    Args:
        picture: uint8 [H, W, 3] RGB.
        masks: instance -> bool [H, W]; moved with the picture, each frame has its own.
        frames: how many; 1 is the picture alone.
        rng: decides everything.

    Returns:
        `frames` pictures, and as many sets of masks. What a copy does not cover is black, and no
        mask is there.
    """
    made = [(picture, masks)]
    while len(made) < frames:
        height, width = picture.shape[:2]
        view = camera(height, width, rng)
        copy = _moved(recoloured(picture, rng), view, cv2.INTER_LINEAR)
        if rng.random() < BLUR:
            copy = cv2.filter2D(copy, -1, blur_kernel(rng))
        made.append(
            (
                copy,
                {
                    name: _moved(mask.astype(np.uint8), view, cv2.INTER_NEAREST).astype(bool)
                    for name, mask in masks.items()
                },
            )
        )
    order = rng.permutation(frames)
    return [made[i][0] for i in order], [made[i][1] for i in order]


def recoloured(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change brightness, hue and saturation, or one of these two; uint8 [H, W, 3] RGB."""
    both = rng.random() < 0.5
    bright = both or rng.random() < 0.5
    if bright:
        added = int(rng.integers(-BRIGHTNESS, BRIGHTNESS + 1))
        picture = (picture.astype(np.int16) + added).clip(0, 255).astype(np.uint8)
    if both or not bright:
        added = int(rng.integers(-HUE_SATURATION, HUE_SATURATION + 1))
        hsv = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV_FULL).astype(np.int16)
        hsv[..., 0] = (hsv[..., 0] + added) % 256  # the full form of OpenCV: a turn has 256 levels
        hsv[..., 1] = (hsv[..., 1] + added).clip(0, 255)
        picture = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB_FULL)
    return picture


def camera(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Draw where the picture's points lie in a copy: float64 [3, 3], homogeneous, in px.

    A perspective that fills the frame with a part of the picture, then a rotation about the centre
    and a shift.
    """
    frame = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    inwards = np.abs(rng.normal(0, PERSPECTIVE, (4, 2))) % 0.5
    signs = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    shown = (frame + inwards * signs * (width, height)).astype(np.float32)
    turn = np.vstack(
        [
            cv2.getRotationMatrix2D(
                (width / 2, height / 2), float(rng.uniform(-ROTATION, ROTATION)), 1.0
            ),
            [0, 0, 1],
        ]
    )
    shift = np.eye(3)
    shift[:2, 2] = rng.uniform(-TRANSLATION, TRANSLATION) * np.array([width, height])
    return shift @ turn @ cv2.getPerspectiveTransform(shown, frame)


def blur_kernel(rng: np.random.Generator) -> np.ndarray:
    """Draw a line through the centre, at any angle, whose weights rise or fall along it.

    float32 [k, k], of sum 1.
    """
    size = int(rng.choice(KERNELS))
    slope = rng.random()
    line = np.zeros((size, size), np.float32)
    line[:, size // 2] = np.linspace(slope, 1 - slope, size)
    turn = cv2.getRotationMatrix2D((size // 2, size // 2), float(rng.uniform(0, 360)), 1.0)
    kernel = cv2.warpAffine(line, turn, (size, size))
    return kernel / kernel.sum()


def _moved(image: np.ndarray, view: np.ndarray, interpolation: int) -> np.ndarray:
    height, width = image.shape[:2]
    return cv2.warpPerspective(image, view, (width, height), flags=interpolation)
