"""The base pipelines that LoSh wraps, one folder each."""
