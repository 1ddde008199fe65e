"""Carries out the effects of a primary on other members and etcd. Each effect is a task; its outcome is an event.

The machine has at most one append under way to each member and one swap in all, so the number of tasks is bounded by
the number of members.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

from shoal.core.errors import PreconditionFailed, ShoalError
from shoal.core.ids import Revision, Seq, WorkerId
from shoal.core.shard_config import ShardConfig
from shoal.runtime.logs import event
from shoal.shard_worker.logic.replication.append import Append, AppendAnswer
from shoal.shard_worker.logic.replication.events import LogRead, PeerAnswered, PeerSilent, ReplicaEvent, SwapEnded
from shoal.shard_worker.logic.replication.leadership import LeadershipEffect, ReadLog, SendAppend, SwapConfig, SwapOutcome
from shoal.shard_worker.logic.replication.record import Record

log = logging.getLogger("shoal.worker.replicate")

APPEND_TIMEOUT_S = 2.0
BYTES_PER_S = 1_000_000
"""The lowest rate of network and disk at which the largest records can still be taken."""


class PeerCalls(Protocol):
    """Calls of a replica to other workers and to the configuration of its shard."""

    async def append(self, worker: WorkerId, append: Append, timeout_s: float) -> AppendAnswer:
        """Send records to a member. Raises a ShoalError if it does not answer or cannot take them."""
        ...

    def is_registered(self, worker: WorkerId) -> bool:
        """Return whether the worker is in the newest map. One that was stopped leaves it at once."""
        ...

    async def swap(self, config: ShardConfig, base: Revision) -> tuple[SwapOutcome, Revision]:
        """Put a configuration if its epoch is still `base`.

        Also requires that the primary's worker still has the registration with which its replica was elected.
        """
        ...


class Replicate:
    """Carries out the outward effects of one replica. Used on the event loop; `close` it after the writer."""

    def __init__(
        self,
        *,
        peers: PeerCalls,
        feed: Callable[[ReplicaEvent], None],
        read_log: Callable[[Seq, int], Awaitable[tuple[Record, ...]]],
    ) -> None:
        self._peers, self._feed, self._read_log = peers, feed, read_log
        self._tasks: dict[asyncio.Task[None], None] = {}

    def perform(self, effect: LeadershipEffect) -> None:
        """Begin an effect."""
        match effect:
            case SendAppend():
                self._start(self._send(effect))
            case ReadLog():
                self._start(self._read(effect))
            case SwapConfig():
                self._start(self._swap(effect))

    async def close(self) -> None:
        """Cancel the effects under way: their outcome no longer matters."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)

    async def _send(self, effect: SendAppend) -> None:
        peer = effect.append.to
        try:
            size = sum(len(record.body) for record in effect.append.records)
            answer = await self._peers.append(effect.worker, effect.append, APPEND_TIMEOUT_S + size / BYTES_PER_S)
        except ShoalError as error:
            log.debug(event("append_unanswered", shard=effect.append.shard, worker=effect.worker, reason=error.message))
            self._feed(PeerSilent(peer=peer, serial=effect.serial, gone=not self._peers.is_registered(effect.worker)))
        except Exception:
            log.exception(event("append_failed", shard=effect.append.shard, worker=effect.worker))
            self._feed(PeerSilent(peer=peer, serial=effect.serial, gone=not self._peers.is_registered(effect.worker)))
        else:
            self._feed(PeerAnswered(peer=peer, serial=effect.serial, answer=answer))

    async def _read(self, effect: ReadLog) -> None:
        records: tuple[Record, ...] = ()
        try:
            records = await self._read_log(effect.from_seq, effect.max_bytes)
        except PreconditionFailed:
            pass
        except ShoalError as error:
            log.warning(event("log_unreadable", seq=effect.from_seq, reason=error.message))
        except Exception:
            log.exception(event("log_unreadable", seq=effect.from_seq))
        self._feed(LogRead(peer=effect.peer, from_seq=effect.from_seq, records=records))

    async def _swap(self, effect: SwapConfig) -> None:
        config = effect.config
        try:
            outcome, revision = await self._peers.swap(config, effect.base)
        except Exception:
            log.exception(event("swap_failed", shard=config.shard))
            outcome, revision = SwapOutcome.UNKNOWN, Revision(0)
        log.info(
            event("isr_swap", shard=config.shard, outcome=outcome, isr=list(config.isr), learners=list(config.learners), epoch=revision)
        )
        self._feed(SwapEnded(base=effect.base, outcome=outcome, revision=revision))
