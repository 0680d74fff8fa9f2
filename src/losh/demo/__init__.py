"""`losh demo`: a page in a browser to try a model on a clip and a sentence (docs/demo.md)."""
