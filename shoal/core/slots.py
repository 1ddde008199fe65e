"""Slots: the hash of its id assigns a point to one of 16,384 slots; a shard owns some of the slots.

Integers are hashed with the finaliser of splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number
generators, 2014); strings with blake2b of 8 bytes. The two kinds carry different tags, so 1 and "1" are unrelated. The
mapping is part of the data format: a test with stored values keeps it.
"""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shoal.core.points import IdArray

SLOTS = 16_384

_INT_TAG = np.uint64(0x9E3779B97F4A7C15)


def slots_of(ids: IdArray) -> npt.NDArray[np.int32]:
    """Return the slot of each id, (n,) int32 in [0, SLOTS). ids: (n,) int64, or object of int and str."""
    if ids.dtype == np.int64:
        return _slots_of_integers(ids)
    return np.fromiter((slot_of(value) for value in ids), dtype=np.int32, count=len(ids))


def slot_of(point_id: int | str) -> int:
    """Return the slot of one id."""
    if isinstance(point_id, str):
        digest = hashlib.blake2b(point_id.encode("utf-8"), digest_size=8).digest()
        return int.from_bytes(digest, "little") % SLOTS
    return int(_slots_of_integers(np.array([point_id], dtype=np.int64))[0])


def _slots_of_integers(ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    with np.errstate(over="ignore"):
        z = ids.astype(np.uint64) + _INT_TAG
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z % np.uint64(SLOTS)).astype(np.int32)


@dataclass(frozen=True, slots=True)
class SlotRange:
    """Slots start <= s < end."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end <= SLOTS:
            raise ValueError(f"slot range {self.start}-{self.end} is not within 0-{SLOTS}")


def split_evenly(shards: int) -> tuple[SlotRange, ...]:
    """Cut all slots into `shards` ranges whose sizes differ by at most one, in order."""
    edges = [number * SLOTS // shards for number in range(shards + 1)]
    return tuple(SlotRange(start, end) for start, end in itertools.pairwise(edges))


def owners_of_slots(ranges: list[tuple[int, tuple[SlotRange, ...]]]) -> npt.NDArray[np.int32]:
    """Return a table slot -> shard number, (SLOTS,) int32, from pairs (number, its ranges); -1 for a slot without
    owner.
    """
    owners = np.full(SLOTS, -1, dtype=np.int32)
    for number, owned in ranges:
        for part in owned:
            owners[part.start : part.end] = number
    return owners
