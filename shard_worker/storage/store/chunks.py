"""Long lists of values for `IN (...)`, cut so that few different statements are ever compiled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

CHUNK = 512

Value = TypeVar("Value")


def in_chunks(values: Sequence[Value]) -> Iterator[Sequence[Value]]:
    """Cut into chunks of CHUNK; the last is padded by repeating its first value up to a power of two."""
    for at in range(0, len(values), CHUNK):
        chunk = list(values[at : at + CHUNK])
        yield chunk + [chunk[0]] * ((1 << (len(chunk) - 1).bit_length()) - len(chunk))


def marks(count: int) -> str:
    """`count` parameters for `IN (...)`."""
    return ",".join("?" * count)
