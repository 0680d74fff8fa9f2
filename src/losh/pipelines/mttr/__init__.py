"""MTTR (arXiv 2111.14821): all that is its own."""
