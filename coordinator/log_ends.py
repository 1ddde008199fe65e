"""Asks workers about their replicas, before an election or a recovery. What they answer is a hint, never a proof: who
does not answer in time is not waited for, and no safety rests on it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import grpc

from shoal.coordinator.logic.snapshot import Told
from shoal.core.cluster_map import WorkerEntry
from shoal.core.ids import ShardId, WorkerId
from shoal.runtime.logs import event
from shoal.v1 import replication_pb2_grpc, worker_pb2_grpc
from shoal.wire.channels import client_options, open_aio_channel
from shoal.wire.log_ends import log_ends_from_message, log_ends_request
from shoal.wire.shard_calls import status_from_message, status_request

log = logging.getLogger("shoal.coordinator.log_ends")

# Generated code carries no types.
_REPLICATION_STUB: Any = replication_pb2_grpc.ReplicationStub
_WORKER_STUB: Any = worker_pb2_grpc.WorkerStub

Questions = Mapping[WorkerId, Sequence[ShardId]]


class ReplicaReports(Protocol):
    """Questions to workers, all at once, each within timeout_s seconds.

    Whoever does not answer is missing in the answer.
    """

    async def log_ends(self, questions: Questions, workers: Mapping[WorkerId, WorkerEntry], timeout_s: float) -> Told:
        """Where the logs of the replicas of these shards end, of those that are open."""
        ...

    async def failures(self, workers: Iterable[WorkerEntry], timeout_s: float) -> Mapping[WorkerId, frozenset[str]]:
        """The shards, as "collection id/number", whose replicas do not work there."""
        ...


class GrpcReplicaReports:
    """ReplicaReports over gRPC. Elections are rare, so connections are made anew."""

    def __init__(self, message_bytes: int) -> None:
        self._message_bytes = message_bytes

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
        return {
            each.id: frozenset(status_from_message(answer).failed)
            for each, answer in zip(asked, answers, strict=True)
            if answer is not None
        }

    async def _ask(self, worker: WorkerEntry, stub: Any, method: str, request: Any, timeout_s: float) -> Any:
        """The worker's answer; None when it gave none."""
        try:
            async with open_aio_channel(worker.address, client_options(self._message_bytes)) as channel:
                return await getattr(stub(channel), method)(request, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            log.warning(event("worker_not_heard", worker=worker.id, call=method, reason=error.details() or error.code().name))
            return None
