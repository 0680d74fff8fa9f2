"""Frames, masks and flow fields: decoding, resizing, windows, drawing. Shared by several stages."""
