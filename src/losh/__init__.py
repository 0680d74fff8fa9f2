"""LoSh: long-short referring video object segmentation as a workflow of DVC stages."""

__version__ = "0.1.0"
