"""Evaluation: the metrics of the published protocols, and the stage that computes them."""
