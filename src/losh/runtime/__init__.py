"""How things run: files, machine, processes, resuming.

Nothing here may change what a stage writes, and DVC does not watch it.
"""
