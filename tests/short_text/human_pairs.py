"""The human-made pairs that the tests of this folder measure against."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]


def human_pairs() -> pd.DataFrame:
    """The 3,308 human pairs; skips the test where ../shared/data (or LOSH_SHARED_DIR) is not
    there.
    """
    path = (
        Path(os.environ.get("LOSH_SHARED_DIR") or ROOT / "../shared/data")
        / "a2d_short_queries_dev.csv"
    )
    if not path.is_file():
        pytest.skip(f"{path} is not here: set LOSH_SHARED_DIR to its folder")
    return pd.read_csv(path, dtype=str, keep_default_na=False)
