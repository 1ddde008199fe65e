"""The largest of many values that change one at a time. A change does not look at the others."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Largest(Generic[K]):
    """Values by key, integers of at least 0. value: the largest, 0 without any."""

    def __init__(self) -> None:
        self._values: dict[K, int] = {}
        self._counts: Counter[int] = Counter()
        # Each value that is held is in the heap, negated. Values that are gone leave when they come to the top.
        self._heap: list[int] = []
        self.value = 0

    def put(self, key: K, value: int) -> None:
        """Set the value of a key."""
        before = self._values.get(key)
        if before == value:
            return
        self._values[key] = value
        self._counts[value] += 1
        if self._counts[value] == 1:
            heapq.heappush(self._heap, -value)
        self._release(before)

    def drop(self, key: K) -> None:
        """Remove a key. Does nothing if it has no value."""
        self._release(self._values.pop(key, None))

    def _release(self, value: int | None) -> None:
        if value is not None:
            self._counts[value] -= 1
            if not self._counts[value]:
                del self._counts[value]
        while self._heap and -self._heap[0] not in self._counts:
            heapq.heappop(self._heap)
        if len(self._heap) > 2 * len(self._counts) + 16:
            self._heap = [-each for each in self._counts]
            heapq.heapify(self._heap)
        self.value = -self._heap[0] if self._heap else 0
