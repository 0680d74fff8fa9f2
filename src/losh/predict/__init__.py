"""Masks for anybody's own video: `losh predict CLIP "a sentence" -o overlay.mp4`."""
