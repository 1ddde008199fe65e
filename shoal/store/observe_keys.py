"""Follows the API keys of a cluster. What the store said last holds while it does not answer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from shoal.core.api_keys import ApiKey
from shoal.core.errors import DataLoss
from shoal.store.interface import Delta, Listed, Store, Versioned
from shoal.store.key_codecs import decode_key
from shoal.store.keys import Keys

log = logging.getLogger("shoal.store.observe")


class ObservedKeys(Protocol):
    """The API keys that this process knows."""

    @property
    def listed(self) -> bool:
        """Whether the store has answered at all."""

    def get(self, id: str) -> ApiKey | None:
        """Return the key with this id; None if there is none."""


class KeyObserver:
    """Keeps the API keys. Calls `changed` after each change.

    A key that cannot be read opens nothing, and is logged: it must not keep others out.
    """

    def __init__(self, *, store: Store, keys: Keys, changed: Callable[[], None]) -> None:
        self._store, self._names, self._changed = store, keys, changed
        self._known: dict[str, ApiKey] = {}
        self.listed = False

    def get(self, id: str) -> ApiKey | None:
        """See ObservedKeys."""
        return self._known.get(id)

    @property
    def known(self) -> Mapping[str, ApiKey]:
        """The keys by id."""
        return self._known

    async def run(self) -> None:
        """Observe without end. Raises what trying again cannot repair."""
        async with self._store.watch(self._names.api_keys) as watch:
            while True:
                self._take(await anext(watch))

    def _take(self, news: Listed | Delta) -> None:
        match news:
            case Listed():
                self._known, self.listed = self._read(news.entries), True
            case Delta():
                gone = {each.removeprefix(self._names.api_keys) for each in (*news.deleted, *(each.key for each in news.changed))}
                kept = {id: key for id, key in self._known.items() if id not in gone}
                self._known = kept | self._read(news.changed)
        self._changed()

    def _read(self, entries: Iterable[Versioned]) -> dict[str, ApiKey]:
        found: dict[str, ApiKey] = {}
        for entry in entries:
            id = entry.key.removeprefix(self._names.api_keys)
            try:
                key = decode_key(entry.key, entry.value)
            except DataLoss as error:
                log.error("api_key_unreadable reason=%r", error.message)
                continue
            if key.id == id:
                found[id] = key
            else:
                log.error("api_key_unreadable reason=%r", f"the store's key {entry.key} holds the API key {key.id}")
        return found
