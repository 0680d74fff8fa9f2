"""The published datasets by the word that params.yaml calls them: their layouts and their published
sizes.
"""

from __future__ import annotations

from losh.datasets import a2d_sentences, jhmdb_sentences, refer_davis17, refer_youtube_vos
from losh.datasets.layout import Layout

LAYOUTS: dict[str, Layout] = {
    "moving_shapes": a2d_sentences.LAYOUT,
    "a2d_sentences": a2d_sentences.LAYOUT,
    "jhmdb_sentences": jhmdb_sentences.LAYOUT,
    "refer_youtube_vos": refer_youtube_vos.LAYOUT,
    "refer_davis17": refer_davis17.LAYOUT,
}

EXPECTED: dict[str, dict[str, int]] = {
    "a2d_sentences": {"videos": 3782, "expressions": 6654},  # 6,655 rows, one of which is a mistake
    "jhmdb_sentences": {"videos": 928, "expressions": 928},
    "refer_youtube_vos": {"train videos": 3471, "valid videos": 202},
    "refer_davis17": {"train videos": 60, "valid videos": 30},
}
"""Published counts, checked against what is found; a subset has fewer, which is no error."""
