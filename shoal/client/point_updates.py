"""The verbs of both clients that change points that exist, or remove all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from shoal.client import inputs, updates
from shoal.client.flow import Flow
from shoal.client.verbs import Verbs
from shoal.client.writes import Write
from shoal.core.point_change import PayloadChange


class PointUpdates(ABC):
    """Verbs of the blocking client."""

    _verbs: Verbs

    def set_payload(
        self,
        name: str,
        payload: Mapping[str, Any],
        ids: Any = None,
        filter: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
    ) -> int:
        """Set keys in the payloads of points that exist; returns how many points were changed.

        payload: a dict as `upsert` takes it. Its keys are set, each as a whole; other keys of a payload stay. ids,
        filter: the points with these ids, those that match, or with both the ids that match. Ids that do not exist are
        ignored. An empty filter is refused.

        Ids are cut into messages of at most 1,000. Each shard changes its points of one message at one moment;
        conditions hold at that moment. If a payload would become longer than 1 MiB, InvalidArgument names the id, and
        nothing of its shard is changed by that message. By a filter alone, each shard is changed in steps; points that
        are written meanwhile may be changed or not, and if the call was retried internally, the number is that of the
        last attempt.
        """
        return self._update(name, updates.set_payload(payload), ids, filter, timeout)

    def replace_payload(
        self,
        name: str,
        payload: Mapping[str, Any],
        ids: Any = None,
        filter: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
    ) -> int:
        """Replace the payloads of points that exist; returns how many points were changed. Vectors stay.

        payload: a dict as `upsert` takes it; ids, filter and the rest: see `set_payload`.
        """
        return self._update(name, updates.replace_payload(payload), ids, filter, timeout)

    def delete_payload(
        self,
        name: str,
        keys: str | Iterable[str | Sequence[str]],
        ids: Any = None,
        filter: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
    ) -> int:
        """Remove fields of the payloads of points that exist; returns how many points were matched.

        keys: "color", or "author.name" for a field inside a dict, as filters write it; or several of them, of which
        each may also be a list of keys, as in [["author", "name"]]. Lists of a payload are not entered. A field that is
        missing is no error. ids, filter and the rest: see `set_payload`.
        """
        return self._update(name, updates.delete_payload(keys), ids, filter, timeout)

    def update_vectors(self, name: str, ids: Any, vectors: Any, *, timeout: float | None = None) -> int:
        """Replace the vectors of points that exist; returns how many points were changed. Payloads stay.

        ids, vectors: as `upsert` takes them, but each id once. Ids that do not exist are ignored. In a collection with
        named vectors, vectors that are not given stay: those of other names, and where a list has None.
        """
        return self._upsert(*_counted(updates.update_vectors(inputs.name_from_input(name), ids, vectors, self._verbs.sender(timeout))))

    def clear(self, name: str, *, timeout: float | None = None) -> int:
        """Delete all points of a collection; returns how many there were. Its spec and its text fields stay.

        It is a `delete` of what is there: each shard deletes in steps until nothing is left, and a point that is
        written meanwhile may be deleted or stay. Faster for millions of points: drop the collection and create it.
        """
        return self._upsert(*_counted((self._verbs.clear(name, timeout), None)))

    def _update(self, name: str, change: PayloadChange, ids: Any, filter: Any, timeout: float | None) -> int:
        return self._upsert(*_counted(updates.update(inputs.name_from_input(name), change, ids, filter, self._verbs.sender(timeout))))

    @abstractmethod
    def _upsert(self, write: Write, before: Flow[None] | None, done: Callable[[int], None]) -> int:
        """Run a write, and a flow before it; return the points written."""


class AwaitedPointUpdates(ABC):
    """Verbs of the asyncio client."""

    _verbs: Verbs

    async def set_payload(
        self,
        name: str,
        payload: Mapping[str, Any],
        ids: Any = None,
        filter: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
    ) -> int:
        """See Client."""
        return await self._update(name, updates.set_payload(payload), ids, filter, timeout)

    async def replace_payload(
        self,
        name: str,
        payload: Mapping[str, Any],
        ids: Any = None,
        filter: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
    ) -> int:
        """See Client."""
        return await self._update(name, updates.replace_payload(payload), ids, filter, timeout)

    async def delete_payload(
        self,
        name: str,
        keys: str | Iterable[str | Sequence[str]],
        ids: Any = None,
        filter: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
    ) -> int:
        """See Client."""
        return await self._update(name, updates.delete_payload(keys), ids, filter, timeout)

    async def update_vectors(self, name: str, ids: Any, vectors: Any, *, timeout: float | None = None) -> int:
        """See Client."""
        return await self._upsert(
            *_counted(updates.update_vectors(inputs.name_from_input(name), ids, vectors, self._verbs.sender(timeout)))
        )

    async def clear(self, name: str, *, timeout: float | None = None) -> int:
        """See Client."""
        return await self._upsert(*_counted((self._verbs.clear(name, timeout), None)))

    async def _update(self, name: str, change: PayloadChange, ids: Any, filter: Any, timeout: float | None) -> int:
        return await self._upsert(*_counted(updates.update(inputs.name_from_input(name), change, ids, filter, self._verbs.sender(timeout))))

    @abstractmethod
    async def _upsert(self, write: Write, before: Flow[None] | None, done: Callable[[int], None]) -> int:
        """Run a write, and a flow before it; return the points written."""


def _counted(prepared: updates.Prepared) -> tuple[Write, Flow[None] | None, Callable[[int], None]]:
    write, before = prepared
    return write, before, write.counting(None)
