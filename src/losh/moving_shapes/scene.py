"""Clips: a scene drawn frame by frame, with exact masks and exact flow."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from losh.moving_shapes.arrangement import Scene, Shape
from losh.moving_shapes.expressions import Described, describe_scene
from losh.moving_shapes.textures import OVERSAMPLING, background, sprite


@dataclass(frozen=True)
class ClipObject:
    """One object of a clip, in words."""

    instance: str
    colour: str
    shape: str
    size: str
    texture: str
    motion: str
    expressions: tuple[Described, ...]
    """The expressions that refer to it; may be empty."""


@dataclass(frozen=True)
class RenderedClip:
    """A clip with its truth. Objects are ordered from the farthest to the nearest."""

    frames: np.ndarray
    """uint8 [T, H, W, 3] RGB."""
    masks: np.ndarray
    """bool [T, n, H, W]: the visible part of each object; they do not overlap."""
    flow_forward: np.ndarray
    """float32 [T - 1, 2, H, W]: from frame t to t + 1, for each pixel of frame t the motion of what
    is seen there.

    Channel 0 is to the right, channel 1 down; px.
    """
    flow_backward: np.ndarray
    """float32 [T - 1, 2, H, W]: from frame t + 1 to t, on the pixels of frame t + 1."""
    objects: tuple[ClipObject, ...]
    annotated: tuple[int, ...]
    """0-based frames for which the expressions were checked."""
    scene: Scene
    """What was drawn."""


def render_clip(seed: int, num_frames: int, height: int, width: int) -> RenderedClip:
    """Draw the clip of a seed; `num_frames` is at least 2.

    The same arguments give the same clip. The dataset takes its clips from seeds of 1,000,000 and
    more (`generate.clip_seed`): smaller ones are free for training other things without touching
    the test clips.
    """
    scene, described = describe_scene(seed, num_frames, height, width)
    frames, owners = draw(scene)
    count = len(scene.shapes)
    masks = owners[:, None] == np.arange(count)[None, :, None, None]
    # Row `count` is the background's path: owners index it where no object is seen.
    # [n + 1, T, 2]
    paths = np.stack([*(shape.centres for shape in scene.shapes), scene.sway]).astype(np.float32)
    steps = paths[:, 1:] - paths[:, :-1]
    forward = np.stack([steps[owners[t], t] for t in range(scene.num_frames - 1)]).transpose(
        0, 3, 1, 2
    )
    backward = np.stack([-steps[owners[t + 1], t] for t in range(scene.num_frames - 1)]).transpose(
        0, 3, 1, 2
    )
    objects = tuple(_in_words(shape, described) for shape in scene.shapes)
    return RenderedClip(
        frames,
        masks,
        np.ascontiguousarray(forward),
        np.ascontiguousarray(backward),
        objects,
        scene.annotated,
        scene,
    )


def _in_words(shape: Shape, described: list[Described]) -> ClipObject:
    look = shape.look
    own = tuple(d for d in described if d.instance == shape.instance)
    return ClipObject(
        shape.instance, look.colour, look.shape, look.size, look.texture, shape.motion.kind, own
    )


def draw(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Draw all frames, and say which object is seen at each pixel.

    uint8 [T, H, W, 3], and the index of the object (n: background), int [T, H, W].
    """
    rng = np.random.default_rng((scene.seed, 2))
    size = (scene.height, scene.width)
    pad = int(np.ceil(np.abs(scene.sway).max())) + 3
    height, width = (OVERSAMPLING * (side + 2 * pad) for side in size)
    ground = background(rng, height, width, scene.scale)
    sprites = _sprites(rng, scene)
    frames = np.empty((scene.num_frames, *size, 3), np.uint8)
    owners = np.full((scene.num_frames, *size), len(scene.shapes))
    for t in range(scene.num_frames):
        image = _sampled(ground, np.array(size[::-1]), OVERSAMPLING * (pad - scene.sway[t]))
        for k, (shape, drawn) in enumerate(zip(scene.shapes, sprites, strict=True)):
            _paint(image, owners[t], k, drawn, shape.centres[t])
        frames[t] = np.rint(image).clip(0, 255)
    return frames, owners


def _sprites(rng: np.random.Generator, scene: Scene) -> list[np.ndarray]:
    """Make one drawing per object; twins share theirs."""
    drawn: list[np.ndarray] = []
    for k, shape in enumerate(scene.shapes):
        twin = next((i for i in range(k) if scene.shapes[i].look == shape.look), None)
        drawn.append(sprite(rng, shape, scene.scale) if twin is None else drawn[twin])
    return drawn


def _sampled(texture: np.ndarray, size: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """Sample a texture at clip resolution.

    Pixel (x, y) of the result is the texture at origin + OVERSAMPLING * (x, y).
    """
    matrix = np.array([[OVERSAMPLING, 0, origin[0]], [0, OVERSAMPLING, origin[1]]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(
        texture, matrix, (int(size[0]), int(size[1])), flags=flags, borderMode=cv2.BORDER_CONSTANT
    )


def _paint(
    image: np.ndarray, owner: np.ndarray, index: int, drawn: np.ndarray, centre: np.ndarray
) -> None:
    """Paint an object with its centre (x, y) over a frame, in place, and claim its pixels."""
    half = drawn.shape[0] / 2 / OVERSAMPLING
    limit = np.array(image.shape[1::-1])
    low = np.clip(np.floor(centre - half), 0, limit).astype(int)
    high = np.clip(np.ceil(centre + half) + 1, 0, limit).astype(int)
    if (low >= high).any():
        return
    middle = (drawn.shape[0] - 1) / 2
    patch = _sampled(drawn, high - low, middle + OVERSAMPLING * (low - centre))
    rows, columns = slice(low[1], high[1]), slice(low[0], high[0])
    alpha = patch[..., 3:]
    image[rows, columns] = alpha * patch[..., :3] + (1 - alpha) * image[rows, columns]
    owner[rows, columns][alpha[..., 0] > 0.5] = index
