"""Stage check: all parameters, and every file that they name, before any output is touched."""
