"""Stage download: a dataset is generated, or found, unpacked, checked and linked."""

from losh.download.prepare import download

__all__ = ["download"]
