"""SgMg, Spectrum-guided Multi-granularity (arXiv 2307.13537): all that is its own."""
