"""Stage train: on one CPU, one GPU, or many with DDP; exact after any interruption."""
