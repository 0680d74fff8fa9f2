"""Stage report: one self-contained page of all that the workflow measured."""
