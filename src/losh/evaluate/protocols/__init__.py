"""The published protocols: which samples are scored, and how."""
