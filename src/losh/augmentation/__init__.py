"""What training changes of its clips: which frames, how large, which part, what colours.

All of it follows from a clip's seed, so that it is the same on any number of processes and after a
resume.
"""
