"""Identifiers in documentation, such as `tidb_mem_quota` and `RocksDB`, and the words that ask for them. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SLICE_CHARS = 1_200
PLACES = 10
ASKED = 500
_MOST_PLACES = 10
"""An identifier in more chunks is not asked for: which of them is right, nobody knows."""

_WRITTEN = re.compile(r"(?<=.)(?<![\w.\-/])[A-Za-z][A-Za-z0-9]*(?:_[A-Za-z0-9]+)*(?![\w\-/])(?=.)", flags=re.DOTALL)
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Identifier:
    """words: its parts, in lower case, with blanks between; places: positions of the slices that have it."""

    text: str
    words: str
    places: tuple[int, ...]


def slices_of(texts: Sequence[str], chars: int = SLICE_CHARS) -> list[str]:
    """Return the texts in slices of at most `chars` characters, without those of white space only."""
    slices = (text[start : start + chars] for text in texts for start in range(0, len(text), chars))
    return [each for each in slices if each.strip()]


def identifiers_of(slices: Sequence[str], most: int = ASKED, seed: int = 0) -> list[Identifier]:
    """Return up to `most` identifiers of two and more words that stand in at most ten slices.

    Equal seeds give equal ones. What is at an end of a slice may have been cut, and does not count. Hashes, `sha256`
    and `x1` are no identifiers of words.
    """
    places: dict[str, set[int]] = {}
    for at, text in enumerate(slices):
        for word in _WRITTEN.findall(text):
            places.setdefault(word, set()).add(at)
    known = sorted(word for word, found in places.items() if len(found) <= _MOST_PLACES and _is_of_words(parts_of(word)))
    picked = np.random.default_rng(seed).permutation(len(known))[:most].tolist()
    return [
        Identifier(text=known[each], words=" ".join(parts_of(known[each])), places=tuple(sorted(places[known[each]]))) for each in picked
    ]


def parts_of(identifier: str) -> list[str]:
    """Return the parts of an identifier, by underscores and upper case, in lower case."""
    return [part.lower() for piece in identifier.split("_") for part in _PART.findall(piece)]


def _is_of_words(parts: Sequence[str]) -> bool:
    return len(parts) > 1 and all(len(part) > 1 and part.isalpha() for part in parts)
