"""ReferFormer (arXiv 2201.00487): all that is its own."""
