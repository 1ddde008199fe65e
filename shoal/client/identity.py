"""The identity of a client: request ids for its writes, and its session, which holds the positions of these writes."""

from __future__ import annotations

import itertools
import os
import uuid
from collections.abc import Iterable

from shoal.client.forks import ForkLock
from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.ids import RequestId
from shoal.core.requests import ReadAs, ShardToken
from shoal.core.shard_calls import Consistency
from shoal.core.shown import shown
from shoal.wire.search_bytes import bytes_of_tokens


class RequestIds:
    """Creates request ids. Thread-safe.

    A forked process gets ids of its own; otherwise its writes would be taken for repeats of its parent's.
    """

    def __init__(self) -> None:
        self._lock = ForkLock()
        self._begin()

    def _begin(self) -> None:
        self._process, self._client, self._numbers = os.getpid(), uuid.uuid4().hex, itertools.count(1)

    def next(self) -> RequestId:
        """Return an id that was never returned before."""
        with self._lock:
            if self._process != os.getpid():
                self._begin()
            return RequestId(self._client, next(self._numbers))


class _Seen:
    """What was acknowledged in one collection. encoded: bytes of the tokens, once made; else it is never changed."""

    __slots__ = ("by_shard", "encoded", "tokens")

    def __init__(self, by_shard: dict[int, ShardToken]) -> None:
        self.by_shard, self.tokens = by_shard, tuple(by_shard.values())
        self.encoded: bytes | None = None


_NOTHING = _Seen({})


class Session:
    """The highest acknowledged position of each shard, for reads that must see this client's own writes.

    Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = ForkLock()
        self._seen: dict[str, _Seen] = {}

    def acknowledge(self, collection: str, tokens: Iterable[ShardToken]) -> None:
        """Store the positions of a write. Positions of an older collection of the same name are removed."""
        with self._lock:
            known = self._seen.get(collection, _NOTHING).by_shard
            for token in tokens:
                if any(each.collection_id != token.collection_id for each in known.values()):
                    known = {}
                before = known.get(token.shard)
                if before is None or before.seq < token.seq:
                    known = known | {token.shard: token}
            self._seen[collection] = _Seen(known)

    def forget(self, collection: str) -> None:
        """Forget a collection that was dropped."""
        with self._lock:
            self._seen.pop(collection, None)

    def read_as(self, collection: str, consistency: str) -> ReadAs:
        """Return the conditions of a read. Raises InvalidArgument for an unknown consistency."""
        try:
            wanted = Consistency(consistency)
        except ValueError:
            raise InvalidArgument(
                f"consistency is {shown(consistency)}, it must be one of any, session, primary", ErrorDetails(field="consistency")
            ) from None
        if wanted is not Consistency.SESSION:
            return ReadAs(consistency=wanted)
        return ReadAs(consistency=wanted, tokens=self._seen.get(collection, _NOTHING).tokens)

    def encoded(self, collection: str) -> bytes:
        """Return the tokens of a read of this session as a search has them in its bytes."""
        seen = self._seen.get(collection)
        if seen is None:
            return b""
        if seen.encoded is None:
            seen.encoded = bytes_of_tokens(seen.tokens)
        return seen.encoded
