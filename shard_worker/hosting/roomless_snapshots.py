"""Snapshots for which there was no room: when they are fetched again, and what the worker's status says of them."""

from __future__ import annotations

from collections.abc import MutableMapping

from shoal.core.errors import ShoalError
from shoal.core.ids import ShardId

FIRST_REST_S, MOST_REST_S = 10.0, 160.0
"""Pause in seconds before a snapshot is fetched again. It doubles each time: a try costs its source a copy of a
store.
"""


class RoomlessSnapshots:
    """What one worker knows of its last tries. told: why replicas cannot be had, by shard, as the status tells it."""

    def __init__(self, told: MutableMapping[ShardId, str]) -> None:
        self._told = told
        self._tries: dict[ShardId, int] = {}

    def refused(self, shard: ShardId, error: ShoalError) -> float:
        """Take that a snapshot was refused. Return the seconds to wait.

        An error that names no limit comes from a source that has many snapshots to give out: that is no failure.
        """
        if not error.details.limit:
            return FIRST_REST_S
        tries = self._tries.get(shard, 0)
        self._tries[shard] = tries + 1
        self._told[shard] = error.message
        return float(min(FIRST_REST_S * 2**tries, MOST_REST_S))

    def ended(self, shard: ShardId) -> None:
        """Take that a snapshot has come, or is not needed any more."""
        self._tries.pop(shard, None)
        self._told.pop(shard, None)
