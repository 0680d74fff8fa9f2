"""Builders that tests and scripts share: tiny datasets, small models, parity arrays."""
