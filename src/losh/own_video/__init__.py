"""A person's own video: read it as it is, mask what sentences refer to, write what plays anywhere.

Nothing here decides a stage's output.
"""
