"""Cuts long lists of values for `IN (...)` into chunks of few different sizes, so that few statements are compiled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

CHUNK = 512

Value = TypeVar("Value")


def in_chunks(values: Sequence[Value]) -> Iterator[Sequence[Value]]:
    """Yield chunks of CHUNK values; the last one is padded to a power of two by repeating its first value."""
    for at in range(0, len(values), CHUNK):
        chunk = list(values[at : at + CHUNK])
        yield chunk + [chunk[0]] * ((1 << (len(chunk) - 1).bit_length()) - len(chunk))


def marks(count: int) -> str:
    """Return `count` parameter marks for `IN (...)`."""
    return ",".join("?" * count)
