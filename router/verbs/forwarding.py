"""Forwards calls to the leading coordinator, again and again until it answers or the time is over."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from typing import TypeVar

from shoal.core.cluster_map import ClusterMap
from shoal.core.errors import DeadlineExceeded, ErrorDetails, InvalidArgument, ShoalError, Unavailable
from shoal.router.cluster.view import ClusterView
from shoal.router.logic.retry import RetryPatience, wait_before_retry

T = TypeVar("T")

_ID_CHARACTERS = 64


class LeaderForward:
    """The way to the leader that the map names. Each call must be safe to repeat."""

    def __init__(self, view: ClusterView) -> None:
        self._view = view

    async def to_leader(self, patience: RetryPatience, call: Callable[[str, float], Awaitable[T]]) -> T:
        """Return what `call(address, left_s)` returns. It is called again after an error that is retryable, also with
        the address of another leader. Raises its last error.
        """
        error: ShoalError = DeadlineExceeded("no time was left to ask the coordinator")
        for attempt in itertools.count():
            seen = self._view.current
            if patience.deadline.passed:
                break
            try:
                return await call(_leader_address(seen), patience.deadline.left_s)
            except ShoalError as failure:
                error = failure
            wait_s = wait_before_retry(attempt, patience.attempts.left_s) if error.retryable else None
            if wait_s is None:
                break
            await self._view.wait_for_change(seen, wait_s)
        raise error


def check_length(field: str, text: str) -> None:
    """Raise InvalidArgument for an id, or a name of somebody, that is too long."""
    if len(text) > _ID_CHARACTERS:
        raise InvalidArgument(f"{field} has {len(text)} characters, at most {_ID_CHARACTERS} are allowed", ErrorDetails(field=field))


def _leader_address(cluster: ClusterMap) -> str:
    if cluster.leader is None:
        raise Unavailable("no coordinator leads the cluster; nothing is created, altered, dropped or moved until one does")
    return cluster.leader.address
