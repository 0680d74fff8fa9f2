"""From the stages' artefacts to batches: samples, loading, augmentation, batching. The same for
every dataset.
"""
