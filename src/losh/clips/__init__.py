"""From the stages' artefacts to batches, alike for every dataset: samples, loading, transforms."""
