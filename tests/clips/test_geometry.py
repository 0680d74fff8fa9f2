"""Frames, masks and flow take one way: flow of a transformed clip is the transformed frames' flow.

The clip is generated: a texture that grows and shifts by a known affine map, whose flow is known
at every point.
"""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from losh.clips.geometry import Crop, Geometry, sample_grid
from losh.media.resizing import resize_flow

HEIGHT, WIDTH = 180, 320
MAP = np.array([[1.04, 0.02, -5.0], [-0.015, 0.97, 4.0]])
"""Where frame 0's points (x, y, 1) lie in frame 1."""
GEOMETRIES = {
    "resized": Geometry((144, 256)),
    "to a size that is no multiple of the stride": Geometry((121, 215)),
    "mirrored": Geometry((121, 215), mirrored=True),
    "cropped": Geometry((140, 122), Crop((200, 355), 30, 121, 133, 117)),
    "cropped, mirrored": Geometry((140, 122), Crop((200, 355), 30, 121, 133, 117), mirrored=True),
    "cropped, shrunk": Geometry((66, 98), Crop((200, 355), 11, 57, 160, 239)),
}


def texture(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    waves = [np.sin(x / 7 + y / 11), np.sin(x / 13 - y / 9), np.cos(x / 9) * np.sin(y / 6)]
    return np.rint(np.stack([127 + 100 * wave for wave in waves], -1)).astype(np.uint8)


def centres(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """x and y of pixels' centres, [height, width] each."""
    y, x = np.mgrid[:height, :width] + 0.5
    return x, y


def clip() -> tuple[np.ndarray, np.ndarray]:
    """Frames 0 and 1."""
    x, y = centres(HEIGHT, WIDTH)
    back = np.linalg.inv(np.vstack([MAP, [0, 0, 1]]))[:2]
    old = np.tensordot(back, np.stack([x, y, np.ones_like(x)]), 1)
    return texture(x, y), texture(*old)


def stored_flow(height: int = 45, width: int = 80) -> np.ndarray:
    """The flow from frame 0 to 1 on a stored grid, in its pixels."""
    x, y = centres(height, width)
    scale = np.array([WIDTH / width, HEIGHT / height])
    points = np.stack([x * scale[0], y * scale[1], np.ones_like(x)])
    moved = np.tensordot(MAP, points, 1) - points[:2]
    return (moved / scale[:, None, None]).astype(np.float32)


def places(geometry: Geometry) -> np.ndarray:
    """x and y in the original frame of each transformed pixel's centre: the original's coordinates
    are taken for a picture and go the way of a frame, by OpenCV.
    """
    picture = np.stack(centres(HEIGHT, WIDTH), -1).astype(np.float32)
    if geometry.crop is not None:
        picture = cv2.resize(picture, geometry.crop.before[::-1])
        picture = geometry.crop.of(picture)
    picture = cv2.resize(picture, geometry.size[::-1])
    return picture[:, ::-1] if geometry.mirrored else picture


def true_flow(geometry: Geometry, stride: int) -> np.ndarray:
    """The flow of the transformed frames at the cells' centres, in cells, from the map alone."""
    height, width = geometry.size
    found = places(geometry)
    # Of the way from original to transformed coordinates, which is affine: fitted where no border
    # was repeated.
    inner = np.s_[4 : height - 4, 4 : width - 4]
    x, y = (axis[inner].ravel() for axis in centres(height, width))
    old = np.column_stack([found[inner].reshape(-1, 2), np.ones(len(x))])
    onward, *_ = np.linalg.lstsq(old, np.column_stack([x, y]), rcond=None)
    back, *_ = np.linalg.lstsq(np.column_stack([x, y, np.ones(len(x))]), old[:, :2], rcond=None)
    cells = np.stack(centres(-(-height // stride), -(-width // stride)), -1) * stride
    original = np.concatenate([cells, np.ones_like(cells[..., :1])], -1) @ back
    moved = np.concatenate([original, np.ones_like(original[..., :1])], -1) @ MAP.T
    landed = np.concatenate([moved, np.ones_like(moved[..., :1])], -1) @ onward
    return np.moveaxis((landed - cells) / stride, -1, 0)


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
@pytest.mark.parametrize("stride", [1, 4])
def test_flow_is_that_of_the_transformed_frames(geometry: Geometry, stride: int):
    found, expected = geometry.flow(stored_flow(), stride), true_flow(geometry, stride)
    assert found.shape == expected.shape and found.dtype == np.float32
    # At the frame's border the stored grid ends half a cell before it.
    edge = -(-8 // stride)
    inner = np.s_[:, edge:-edge, edge:-edge]
    np.testing.assert_allclose(found[inner], expected[inner], atol=2e-3)
    assert np.abs(expected).max() > 0.5


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_the_transformed_neighbour_moved_along_the_flow_is_the_transformed_frame(
    geometry: Geometry,
):
    before, after = (geometry.frame(frame).astype(np.float32) for frame in clip())
    flow = geometry.flow(stored_flow(), 1)
    rows, columns = np.mgrid[: geometry.size[0], : geometry.size[1]].astype(np.float32)
    warped = cv2.remap(after, columns + flow[0], rows + flow[1], cv2.INTER_LINEAR)
    inside = np.s_[14:-14, 14:-14]
    wrong = np.abs(after - before)[inside].mean()
    assert np.abs(warped - before)[inside].mean() < 3 < 10 < wrong


def test_where_cells_fit_the_size_it_is_opencvs_resizing():
    for size, grid in (((144, 256), (36, 64)), ((96, 160), (24, 40)), ((240, 400), (60, 100))):
        flow, crop = stored_flow(), Crop(size, 0, 0, *size)
        np.testing.assert_allclose(
            Geometry(size, crop).flow(flow, 4), resize_flow(flow, grid), atol=1e-5
        )


def test_masks_go_with_frames():
    """A disc that is drawn in the frame: what the mask covers afterwards is its colour."""
    x, y = centres(HEIGHT, WIDTH)
    disc = (x - 190) ** 2 + (y - 100) ** 2 < 40**2
    frame = np.where(disc[..., None], np.uint8(250), np.uint8(5)) * np.ones(3, np.uint8)
    for geometry in GEOMETRIES.values():
        found, mask = geometry.frame(frame), geometry.mask(disc)
        assert found.shape[:2] == mask.shape == geometry.size and mask.any()
        inner = cv2.erode(mask.astype(np.uint8), np.ones((5, 5)), borderValue=1).astype(bool)
        outer = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5))).astype(bool)
        assert (found[inner] > 200).all() and (found[~outer] < 50).all()


def test_a_grid_repeats_its_border():
    field = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    found = sample_grid(field, np.array([-3.0, 0.5, 9.0]), np.array([-1.0, 0.25, 7.0]))
    assert found[0].tolist() == [[0, 0.25, 2], [1.5, 1.75, 3.5], [3, 3.25, 5]]
    assert sample_grid(field[:, :1, :1], np.zeros(2), np.ones(2)).tolist() == [[[0, 0], [0, 0]]]
