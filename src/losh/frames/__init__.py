"""Frames and masks of every dataset in one form: one random-access zip per video (stage
extract_frames).
"""

from losh.frames.frame_store import FrameStore

__all__ = ["FrameStore"]
