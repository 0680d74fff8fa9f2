"""MovingShapes: the embedded dataset, in A2D-Sentences' own layout, with exact masks and flow.

`appearance` and `motion` say what an object may look like and how it may move, `layout` places
objects in a scene, `meaning` decides what is true of them, `grammar` and `expressions` put it in
words, `textures` and `scene` draw it, `generate` writes the dataset.
"""
