"""How much a test run tries: what `make test` has time for, or everything with SHOAL_TESTS=long.

The short form omits further cells of a matrix and further random examples, but never a whole promise.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

LONG = os.environ.get("SHOAL_TESTS") == "long"

LOAD_PAUSES = 1.0 if LONG else 3.0
"""Multiple of the usual pauses of a load that runs while something is harmed.

A call keeps four processes busy. In the short form, the load leaves the processors to what is tested beside it.
"""


def cells(every: Sequence[T], short: Sequence[T]) -> list[T]:
    """Return the cells of a matrix to run: `short`, a part of them, or all."""
    assert all(each in every for each in short), "the short form has cells that the long one lacks"
    return list(every if LONG else short)
