"""The connection between one client and a store in memory, which tests can cut."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from shoal.core.errors import PreconditionFailed
from shoal.store.interface import StoreUnavailable
from tests.twins.store.cluster import MemoryCluster
from tests.twins.store.state import MemoryState


class MemoryLink:
    """The connection between one client and the cluster: cut and restored from outside, closed for good by the
    client.
    """

    def __init__(self, cluster: MemoryCluster) -> None:
        self.cluster = cluster
        self.cut = False
        self.closed = False

    @contextmanager
    def touch(self) -> Iterator[tuple[MemoryState, float]]:
        """Return the state and the time. Raises StoreUnavailable while cut, PreconditionFailed when closed."""
        if self.closed:
            raise PreconditionFailed("the store is closed")
        if self.cut:
            raise StoreUnavailable("the store in memory is cut off")
        with self.cluster.touch() as held:
            yield held
