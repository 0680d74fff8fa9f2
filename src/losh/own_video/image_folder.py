"""A folder of images as a clip."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from PIL import Image

from losh.errors import UserError
from losh.media.decoding import decode_image
from losh.media.natural_order import natural
from losh.own_video.clip_input import Frame

IMAGES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}
ORIENTATION = 0x0112
"""EXIF's tag; 5 to 8 are turned by a quarter."""
MEND = "Replace or remove it"
SLACK = 2
"""Pixels by which a frame's sides may differ from the first frame's (our choice): some tools round
an odd side for some frames and not for others. They are masked at their own size.
"""


class ImageFolder:
    """The images of a folder, in natural order: 0, 1, 2, 10."""

    sound = None

    def __init__(self, path: Path, rate: Fraction) -> None:
        """List the images and compare their sizes, from their headers.

        Raises:
            UserError: there is none, one is no image, or they have different sizes.
        """
        found = [
            file
            for file in path.iterdir()
            if file.suffix.lower() in IMAGES and not file.name.startswith(".") and file.is_file()
        ]
        if not found:
            raise UserError(
                f"{path} holds no image ({' '.join(sorted(IMAGES))})",
                "Give a video file, or a folder of images",
            )
        self.files = sorted(found, key=lambda file: natural(file.name))
        self.name, self.count, self.rate = str(path), len(found), rate
        self.time_base, self.start, self.notes = 1 / rate, Fraction(0), list[str]()
        self.size = _size(self.files[0])
        for file in self.files[1:]:
            self._compare(file)

    def frames(self) -> Iterator[Frame]:
        """See Clip."""
        for t, file in enumerate(self.files):
            try:
                data = file.read_bytes()
            except OSError as error:
                raise UserError(f"{file} cannot be read ({error.strerror})") from None
            yield Frame(decode_image(data, str(file), MEND), t, 1)

    def _compare(self, file: Path) -> None:
        size = _size(file)
        if any(abs(a - b) > SLACK for a, b in zip(size, self.size, strict=True)):
            raise UserError(
                f"{file} is {size[1]} x {size[0]}, but {self.files[0].name} is "
                f"{self.size[1]} x {self.size[0]}",
                "Frames of one clip have one size: resize them, or put them in folders of their "
                "own",
            )


def _size(file: Path) -> tuple[int, int]:
    """Height and width as shown, from the header."""
    try:
        with Image.open(file) as image:
            turned = image.getexif().get(ORIENTATION, 1) >= 5
            return (image.width, image.height) if turned else (image.height, image.width)
    except (OSError, SyntaxError, ValueError):
        raise UserError(f"{file} does not open as an image", MEND) from None
