"""Finds a collection by name. The view may lag behind the store, so the store is read before a name counts as free."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from shoal.core.collection import Collection, check_name
from shoal.core.errors import ErrorDetails, NotFound, Unavailable
from shoal.core.ids import Revision
from shoal.core.limits import Limits
from shoal.router.cluster.view import ClusterView, wait_until
from shoal.router.logic.retry import RetryPatience
from shoal.store.interface import Store
from shoal.store.keys import Keys

T = TypeVar("T")

_LOOK_UP_S = 2.0


class Names(Protocol):
    """The names of collections that the store holds."""

    async def revision_of(self, name: str, timeout_s: float) -> Revision | None:
        """Return the revision at which the name was taken, None if it is free.

        Raises Unavailable if the store does not answer.
        """
        ...


class StoreNames:
    """Reads the names from the store. The reads are linearizable."""

    def __init__(self, store: Store, keys: Keys) -> None:
        self._store, self._keys = store, keys

    async def revision_of(self, name: str, timeout_s: float) -> Revision | None:
        """See Names."""
        found = await self._store.get(self._keys.name(name), timeout_s)
        return None if found is None else found.mod_revision


class Finder:
    """Finds collections by name."""

    def __init__(self, *, view: ClusterView, names: Names, limits: Limits) -> None:
        self._view, self._names, self._limits = view, names, limits

    async def with_usable(self, name: str, patience: RetryPatience, work: Callable[[Collection], Awaitable[T]]) -> T:
        """Return what `work` makes of the collection with this name, or of its successor, see `or_of_successor`. Raises
        as `usable` and `work` do.
        """
        collection = await self.usable(name, patience)
        return await self.or_of_successor(collection, patience, work(collection), work)

    async def or_of_successor(
        self, collection: Collection, patience: RetryPatience, begun: Awaitable[T], work: Callable[[Collection], Awaitable[T]]
    ) -> T:
        """Return the outcome of what was begun with a collection.

        If the collection is dropped meanwhile and another one has the name by now, return what `work` makes of that
        one: it may have been there before the call, and only the view lagged behind. Raises as `begun` and `work` do.
        """
        try:
            return await begun
        except NotFound:
            successor = await self._successor(collection, patience)
            if successor is None:
                raise
        return await work(successor)

    async def _successor(self, dropped: Collection, patience: RetryPatience) -> Collection | None:
        """Return the collection that has the name of another one now; None if there is none, or if nobody can tell."""
        try:
            found = await self.usable(dropped.spec.name, patience)
        except (NotFound, Unavailable):
            return None
        return None if found.id == dropped.id else found

    async def usable(self, name: str, patience: RetryPatience) -> Collection:
        """Return a collection that can be read and written.

        Raises InvalidArgument for a text that cannot be a name, NotFound, and Unavailable while the collection is being
        created, while the store does not answer, or if the view does not catch up in time.
        """
        looked_up = False
        while True:
            seen = self._view.current
            try:
                return seen.collection(name)
            except NotFound:
                if looked_up:
                    raise
                await self._catch_up(name, patience)
                looked_up = True
            except Unavailable:
                if patience.attempts.passed:
                    raise
                await self._view.wait_for_change(seen, patience.attempts.left_s)

    async def newest(self, name: str, patience: RetryPatience) -> Collection:
        """Return the collection that has the name in the store now. Raises as `usable`."""
        await self._catch_up(name, patience)
        return await self.usable(name, patience)

    async def known(self, name: str, patience: RetryPatience) -> Collection:
        """Return the collection of that name, also while it is being created. Raises as `usable` otherwise."""
        found = self._view.current.by_name.get(name)
        if found is not None:
            return found
        await self._catch_up(name, patience)
        return self._view.current.by_name.get(name) or self._view.current.collection(name)

    async def _catch_up(self, name: str, patience: RetryPatience) -> None:
        check_name(name, self._limits)
        taken_at = await self._revision_of(name, patience)
        if taken_at is None:
            return
        if not await wait_until(self._view, lambda cluster: cluster.revision >= taken_at, patience.deadline.sooner(_LOOK_UP_S)):
            raise Unavailable(f"the router's view lags behind the store, which knows collection {name!r}", ErrorDetails(field="collection"))

    async def _revision_of(self, name: str, patience: RetryPatience) -> Revision | None:
        try:
            return await self._names.revision_of(name, min(_LOOK_UP_S, patience.deadline.left_s))
        except Unavailable as error:
            raise Unavailable(
                f"collection {name!r} is not known here, and the store cannot be asked for it: {error.message}",
                ErrorDetails(field="collection"),
            ) from None
