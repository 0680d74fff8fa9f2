"""Readers: each published dataset in its own layout, behind one protocol (losh.datasets.reader)."""

from losh.datasets.locate import source_of
from losh.datasets.published import make_reader
from losh.datasets.raw_folder import open_reader, write_raw
from losh.datasets.reader import DatasetReader, Expression, Video

__all__ = [
    "DatasetReader",
    "Expression",
    "Video",
    "make_reader",
    "open_reader",
    "source_of",
    "write_raw",
]
