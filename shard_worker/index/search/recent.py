"""A table of bounded size in bytes: what was used longest ago goes first. Safe in several threads."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import Generic, TypeVar

Entry = TypeVar("Entry")


class Recent(Generic[Entry]):
    """Entries by key of a segment and name, at most `limit_bytes` together."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._entries: OrderedDict[tuple[int, str], tuple[Entry, int]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def memory_bytes(self) -> int:
        """Return the memory of all entries, at most the limit."""
        return self._bytes

    def find(self, segment: int, name: str) -> Entry | None:
        """Return the entry, which counts as used now."""
        with self._lock:
            entry = self._entries.get((segment, name))
            if entry is None:
                return None
            self._entries.move_to_end((segment, name))
            return entry[0]

    def peek(self, segment: int, name: str) -> Entry | None:
        """Return the entry without counting a use."""
        entry = self._entries.get((segment, name))
        return None if entry is None else entry[0]

    def keep(self, segment: int, name: str, entry: Entry, held_bytes: int) -> None:
        """Store the entry, or its new size, and drop others beyond the limit. What does not fit at all is not kept."""
        with self._lock:
            self._put((segment, name), entry, held_bytes)

    def update(self, segment: int, name: str, entry: Entry, held_bytes: int) -> None:
        """Store the new size of an entry, unless it was dropped or replaced meanwhile."""
        with self._lock:
            known = self._entries.get((segment, name))
            if known is not None and known[0] is entry:
                self._put((segment, name), entry, held_bytes)

    def forget(self, segments: Iterable[int]) -> None:
        """Drop the entries of these segments."""
        gone = set(segments)
        with self._lock:
            for name in [name for name in self._entries if name[0] in gone]:
                self._drop(name)

    def _put(self, name: tuple[int, str], entry: Entry, held_bytes: int) -> None:
        self._drop(name)
        if held_bytes > self.limit_bytes:
            return
        self._entries[name] = (entry, held_bytes)
        self._bytes += held_bytes
        while self._bytes > self.limit_bytes:
            self._drop(next(iter(self._entries)))

    def _drop(self, name: tuple[int, str]) -> None:
        entry = self._entries.pop(name, None)
        if entry is not None:
            self._bytes -= entry[1]
