"""Asks workers about their replicas, before an election or a recovery.

An answer is a hint, not a proof: safety never depends on it. A worker that does not answer in time is left out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from shoal.coordinator.logic.reconcile import Questions
from shoal.coordinator.logic.snapshot import Told
from shoal.core.cluster_map import WorkerEntry
from shoal.core.errors import ShoalError
from shoal.core.ids import WorkerId
from shoal.core.shard_calls import WorkerStatus
from shoal.runtime.logs import event
from shoal.v1 import replication_pb2_grpc, worker_pb2_grpc
from shoal.wire.channels import client_options, open_aio_channel
from shoal.wire.log_ends import log_ends_from_message, log_ends_request
from shoal.wire.remote_call import call_remote
from shoal.wire.shard_calls import status_from_message, status_request

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
    """Carries out ReplicaReports over gRPC. Opens a connection for each question, since elections are rare."""

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
        heard = await self.statuses(workers, timeout_s)
        return {worker: frozenset(status.failed) for worker, status in heard.items()}

    async def statuses(self, workers: Iterable[WorkerEntry], timeout_s: float) -> Mapping[WorkerId, WorkerStatus]:
        """See StatusCalls."""
        asked, request = list(workers), status_request()
        answers = await asyncio.gather(*(self._ask(each, _WORKER_STUB, "Status", request, timeout_s) for each in asked))
        return {each.id: status_from_message(answer) for each, answer in zip(asked, answers, strict=True) if answer is not None}

    async def _ask(self, worker: WorkerEntry, stub: Any, method: str, request: Any, timeout_s: float) -> Any:
        """Return the worker's answer, None when there is none."""
        try:
            async with open_aio_channel(worker.address, client_options(self._message_bytes)) as channel:
                return await call_remote(getattr(stub(channel), method), request, timeout_s, f"worker at {worker.address}")
        except ShoalError as error:
            log.warning(event("worker_not_heard", worker=worker.id, call=method, reason=error.message))
            return None
