"""The shared data sets, read in place: from ../shared/data or from the folder that SHOAL_DATA names. Tests that need an
absent one are skipped.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tests.support.repository import ROOT

_DEFAULT = ROOT.parent / "shared" / "data"


def load(name: str) -> dict[str, np.ndarray]:
    """Return the arrays of one .npz file. Skips the test when the file is absent."""
    path = Path(os.environ.get("SHOAL_DATA", _DEFAULT)) / name
    if not path.is_file():
        pytest.skip(f"{path} is absent: set SHOAL_DATA to the folder that holds {name}")
    with np.load(path) as archive:
        return {key: archive[key] for key in archive.files}


def recall(found: list[list[int]], truth: np.ndarray, k: int) -> float:
    """Return the share of the true k nearest neighbours that were found, over all queries."""
    return float(np.mean([len(set(ids[:k]) & set(row[:k].tolist())) / k for ids, row in zip(found, truth, strict=True)]))
