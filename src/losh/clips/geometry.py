"""The way from a stored frame to the network's input, the same for frames, masks and flow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from losh.clips.transforms import mirror_flow
from losh.media.resizing import Filter, resize_flow, resize_frame, resize_mask


@dataclass(frozen=True)
class Crop:
    """A part of a frame that was resized to `before` = (height, width); all in pixels of that."""

    before: tuple[int, int]
    top: int
    left: int
    height: int
    width: int

    def of(self, image: np.ndarray) -> np.ndarray:
        """Cut it out of [H, W, ...]."""
        return image[self.top : self.top + self.height, self.left : self.left + self.width]


@dataclass(frozen=True)
class Geometry:
    """Resize a frame to `size` = (height, width), or resize, crop and resize it; then mirror it."""

    size: tuple[int, int]
    crop: Crop | None = None
    mirrored: bool = False
    resize_filter: Filter = "area"

    def frame(self, frame: np.ndarray) -> np.ndarray:
        """Transform uint8 [H, W, 3]."""
        if self.crop is not None:
            frame = self.crop.of(resize_frame(frame, self.crop.before, self.resize_filter))
            frame = np.ascontiguousarray(frame)
        return self._mirror(resize_frame(frame, self.size, self.resize_filter))

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """Transform bool [H, W]."""
        if self.crop is not None:
            mask = np.ascontiguousarray(self.crop.of(resize_mask(mask, self.crop.before)))
        return self._mirror(resize_mask(mask, self.size))

    def flow(self, field: np.ndarray, stride: int) -> np.ndarray:
        """Transform a flow field that covers the whole frame.

        Vectors lead where the transformed frames' points do: cut, scaled and mirrored as they are.

        Args:
            field: float32 [2, h, w] in pixels of its own grid, whatever that is.
            stride: pixels of the network's input in a cell.

        Returns:
            float32 [2, ceil(H / stride), ceil(W / stride)] in cells, at the cells' centres. Beyond
            the field's outermost centres its border is repeated.
        """
        height, width = self.size
        if self.crop is None and height % stride == 0 == width % stride:
            # OpenCV's resizing is then exactly this, and faster.
            resized = resize_flow(field, (height // stride, width // stride))
            return mirror_flow(resized) if self.mirrored else resized
        crop = self.crop or Crop(self.size, 0, 0, *self.size)
        # Centres of the cells in px of the input, then of the frame before the crop, then of the
        # field's grid.
        x = (np.arange(-(-width // stride)) + 0.5) * stride
        y = (np.arange(-(-height // stride)) + 0.5) * stride
        x = crop.left + (width - x if self.mirrored else x) * crop.width / width
        y = crop.top + y * crop.height / height
        _, field_height, field_width = field.shape
        per_x, per_y = field_width / crop.before[1], field_height / crop.before[0]
        found = sample_grid(field, y * per_y - 0.5, x * per_x - 0.5)
        found[0] *= width / crop.width / per_x / stride * (-1 if self.mirrored else 1)
        found[1] *= height / crop.height / per_y / stride
        return found

    def _mirror(self, image: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(image[:, ::-1]) if self.mirrored else image


def sample_grid(field: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Fetch [C, h, w] at every (row, column), bilinear, the border repeated -> float32 [C, R, S].

    OpenCV's remapping rounds places to 1/32 of a pixel; this does not.
    """
    (above, below, down), (before, after, along) = (
        _neighbours(places, length)
        for places, length in zip((rows, columns), field.shape[1:], strict=True)
    )
    down, along = down[:, None], along[None]
    across = [
        field[:, row][:, :, before] * (1 - along) + field[:, row][:, :, after] * along
        for row in (above, below)
    ]
    return (across[0] * (1 - down) + across[1] * down).astype(np.float32)


def _neighbours(places: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the two cells that a place lies between, and how far it is from the first."""
    inside = places.clip(0, length - 1)
    first = np.minimum(np.floor(inside).astype(int), max(length - 2, 0))
    return first, np.minimum(first + 1, length - 1), inside - first
