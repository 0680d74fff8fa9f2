"""Stage extract_frames: frames and masks of every dataset in one form, one zip per video."""

from losh.frames.frame_store import FrameStore

__all__ = ["FrameStore"]
