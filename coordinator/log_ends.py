"""Asks workers about their replicas, before an election or a recovery.

An answer is a hint, not a proof: safety never depends on it. A worker that does not answer in time is left out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import grpc

from shoal.coordinator.logic.reconcile import Questions
from shoal.coordinator.logic.snapshot import Told
from shoal.core.cluster_map import WorkerEntry
from shoal.core.errors import ShoalError
from shoal.core.ids import WorkerId
from shoal.core.shard_calls import WorkerStatus
from shoal.runtime.logs import event
from shoal.v1 import replication_pb2_grpc, worker_pb2_grpc
from shoal.wire.channels import client_options
from shoal.wire.log_ends import log_ends_from_message, log_ends_request
from shoal.wire.remote_call import call_remote
from shoal.wire.renewed_channel import internal_channel
from shoal.wire.shard_calls import status_from_message, status_request
from shoal.wire.tls import Tls

log = logging.getLogger("shoal.coordinator.log_ends")

# Generated code carries no types.
_REPLICATION_STUB: Any = replication_pb2_grpc.ReplicationStub
_WORKER_STUB: Any = worker_pb2_grpc.WorkerStub


class ReplicaReports(Protocol):
    """Asks all workers at the same time, each for at most timeout_s seconds.

    A worker that does not answer is missing in the result.
    """

    async def log_ends(self, questions: Questions, workers: Mapping[WorkerId, WorkerEntry], timeout_s: float) -> Told:
        """Return where the logs of the open replicas of these shards end."""
        ...

    async def failures(self, workers: Iterable[WorkerEntry], timeout_s: float) -> Mapping[WorkerId, frozenset[str]]:
        """Return, for each worker, the shards ("collection id/number") whose replica there has failed."""
        ...


class GrpcReplicaReports:
    """Carries out ReplicaReports and StatusCalls over gRPC.

    Opens a connection for each question before an election or a recovery, since these are rare. Keeps one to each
    worker for `statuses`, which asks again and again.
    """

    def __init__(self, message_bytes: int, tls: Tls | None = None) -> None:
        """tls: None for plain text."""
        self._message_bytes, self._tls = message_bytes, tls
        self._kept: dict[str, grpc.aio.Channel] = {}

    async def log_ends(self, questions: Questions, workers: Mapping[WorkerId, WorkerEntry], timeout_s: float) -> Told:
        """See ReplicaReports."""
        asked = [worker for worker in questions if worker in workers]
        requests = [log_ends_request(questions[worker]) for worker in asked]
        calls = (
            self._ask(workers[worker], _REPLICATION_STUB, "LogEnds", request, timeout_s)
            for worker, request in zip(asked, requests, strict=True)
        )
        answers = await asyncio.gather(*calls)
        heard = {worker: answer for worker, answer in zip(asked, answers, strict=True) if answer is not None}
        ends = {replica: end for answer in heard.values() for replica, end in log_ends_from_message(answer).items()}
        return Told(ends=ends, answered=heard.keys())

    async def failures(self, workers: Iterable[WorkerEntry], timeout_s: float) -> Mapping[WorkerId, frozenset[str]]:
        """See ReplicaReports."""
        asked, request = list(workers), status_request()
        answers = await asyncio.gather(*(self._ask(each, _WORKER_STUB, "Status", request, timeout_s) for each in asked))
        return {each: frozenset(status.failed) for each, status in _statuses(asked, answers).items()}

    async def statuses(self, workers: Iterable[WorkerEntry], timeout_s: float) -> Mapping[WorkerId, WorkerStatus]:
        """See StatusCalls. Closes the connections to workers that are not asked any more."""
        asked, request = list(workers), status_request()
        addresses = {each.address for each in asked}
        gone = [self._kept.pop(address) for address in self._kept.keys() - addresses]
        for address in addresses - self._kept.keys():
            self._kept[address] = self._opened(address)
        calls = (self._answer(self._kept[each.address], each, _WORKER_STUB, "Status", request, timeout_s) for each in asked)
        answers = await asyncio.gather(*calls)
        await asyncio.gather(*(channel.close(None) for channel in gone))
        return _statuses(asked, answers)

    async def close(self) -> None:
        """Close the kept connections."""
        kept, self._kept = self._kept, {}
        await asyncio.gather(*(channel.close(None) for channel in kept.values()))

    def _opened(self, address: str) -> grpc.aio.Channel:
        return internal_channel(address, client_options(self._message_bytes), self._tls)

    async def _ask(self, worker: WorkerEntry, stub: Any, method: str, request: Any, timeout_s: float) -> Any:
        """Return the worker's answer over a connection of its own, None when there is none."""
        async with self._opened(worker.address) as channel:
            return await self._answer(channel, worker, stub, method, request, timeout_s)

    async def _answer(self, channel: grpc.aio.Channel, worker: WorkerEntry, stub: Any, method: str, request: Any, timeout_s: float) -> Any:
        try:
            return await call_remote(getattr(stub(channel), method), request, timeout_s, f"worker at {worker.address}")
        except ShoalError as error:
            log.warning(event("worker_not_heard", worker=worker.id, call=method, reason=error.message))
            return None


def _statuses(asked: Sequence[WorkerEntry], answers: Sequence[Any]) -> dict[WorkerId, WorkerStatus]:
    return {each.id: status_from_message(answer) for each, answer in zip(asked, answers, strict=True) if answer is not None}
