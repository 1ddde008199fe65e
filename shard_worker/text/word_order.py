"""Order words by their bytes, and find equal ones, without an object for each word.

Words are compared by seven bytes at a time, as numbers: sorted lists that lie one after the other are merged soon.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from shoal.shard_worker.text.vocabulary import Vocabulary, starts_of

Ranks = npt.NDArray[np.int64]
"""(w,): for each word of a list, its code in a vocabulary."""

_STEP = 7
_MORE = np.uint64(_STEP + 1)
_LENGTH = np.uint64(0xFF)
_DIGIT_BITS = 16
_KEPT = np.array([(1 << 64) - (1 << 8 * (8 - size)) for size in range(_STEP + 1)] + [(1 << 64) - (1 << 8)], dtype=np.uint64)
"""Masks that keep the first 0 to 7 bytes of eight; for longer words the first 7."""


def united(lists: Sequence[Vocabulary]) -> tuple[Vocabulary, list[Ranks]]:
    """Return the different words of all lists, ascending, and the code of each word of each list among them.

    The words of one list may be in any order, and may be equal.
    """
    blob = np.frombuffer(b"".join(each.blob for each in lists), dtype=np.uint8)
    starts = starts_of(np.concatenate([np.zeros(0, dtype=np.int64), *(np.diff(each.offsets) for each in lists)]))
    order, new = _ordered(blob, starts)
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.cumsum(new) - 1
    ends = np.cumsum([len(each) for each in lists])[:-1]
    return _taken(blob, starts, order[new]), np.split(ranks, ends)


def chosen(words: Vocabulary, codes: npt.NDArray[np.int64]) -> Vocabulary:
    """Return the words with these codes, in their order."""
    return _taken(np.frombuffer(words.blob, dtype=np.uint8), words.offsets, codes)


def stable_order(keys: npt.NDArray[np.integer[Any]], most: int) -> npt.NDArray[np.intp]:
    """Return the order of keys (n,), from 0 to `most`; equal ones keep theirs.

    Numpy sorts numbers of 16 bits by radix, in a fraction of the time that larger ones take.
    """
    order = np.argsort(keys.astype(np.uint16), kind="stable")
    for shift in range(_DIGIT_BITS, most.bit_length(), _DIGIT_BITS):
        digits = (keys >> keys.dtype.type(shift)).astype(np.uint16)
        order = order[np.argsort(digits[order], kind="stable")]
    return order


def _ordered(blob: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64]) -> tuple[Ranks, npt.NDArray[np.bool_]]:
    """Return the order of the words, and which of them, in this order, differ from the one before."""
    padded = np.concatenate((blob, np.zeros(8, dtype=np.uint8)))
    windows: npt.NDArray[Any] = np.ndarray(shape=(len(blob) + 1,), dtype=">u8", buffer=padded.data, strides=(1,))
    begins, lengths = starts[:-1], np.diff(starts)
    keys = _keys(windows, begins, lengths)
    # Sorted lists that lie one after the other are runs, which this sort merges.
    order: Ranks = np.argsort(keys, kind="stable")
    keys = keys[order]
    new = np.ones(len(order), dtype=np.bool_)
    new[1:] = keys[1:] != keys[:-1]
    # Equal so far, and longer: their next bytes decide.
    undecided = np.flatnonzero(_shared(new) & ((keys & _LENGTH) == _MORE))
    skipped = _STEP
    while len(undecided):
        words, group = order[undecided], np.cumsum(new)[undecided]
        keys = _keys(windows, begins[words] + skipped, lengths[words] - skipped)
        within = np.lexsort((keys, group))
        order[undecided], keys = words[within], keys[within]
        differ = np.ones(len(undecided), dtype=np.bool_)
        differ[1:] = (keys[1:] != keys[:-1]) | (group[1:] != group[:-1])
        new[undecided[differ]] = True
        undecided = undecided[_shared(differ) & ((keys & _LENGTH) == _MORE)]
        skipped += _STEP
    return order, new


def _keys(windows: npt.NDArray[Any], begins: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    """Return for each word its next 7 bytes, and in the last byte how many of them it has; 8: it has more."""
    sizes = np.minimum(lengths, _STEP + 1)
    keys: npt.NDArray[np.uint64] = windows[begins].astype(np.uint64)
    keys &= _KEPT.take(sizes)
    keys |= sizes.astype(np.uint64)
    return keys


def _shared(new: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return which elements are equal to a neighbour."""
    shared = ~new
    shared[:-1] |= shared[1:]
    return shared


def _taken(blob: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64], words: npt.NDArray[np.int64]) -> Vocabulary:
    begins = starts[words]
    lengths = starts[words + 1] - begins
    offsets = starts_of(lengths)
    places = np.arange(offsets[-1]) + np.repeat(begins - offsets[:-1], lengths)
    return Vocabulary(memoryview(blob.take(places).tobytes()), offsets)
