"""The published metrics."""
