"""Test the coordinator's questions to workers over real sockets: answers are collected, and a worker that does not
answer costs no more than the given time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import grpc
import pytest

from shoal.coordinator import log_ends
from shoal.coordinator.log_ends import GrpcReplicaReports
from shoal.core.cluster_map import WorkerEntry
from shoal.core.ids import CollectionId, Revision, Seq, ShardId, Term, WorkerId
from shoal.core.recovery import LogEnd
from shoal.runtime.calls import calls_of
from shoal.runtime.interceptors import call_table
from shoal.runtime.server import GrpcServer
from shoal.v1 import replication_pb2, worker_pb2
from shoal.wire.call_parts import shard_from_message
from shoal.wire.channels import ChannelOptions
from shoal.wire.services import REPLICATION, WORKER
from shoal.wire.tls import Tls
from tests.support.network.ports import free_port

MESSAGE_BYTES = 1_000_000
WAIT_S = 20.0
ANSWER_S = 3.0
"""Time for one question. It is always used up, because one worker never answers. On a busy machine the others need some
of it, too.
"""
SHARDS = [ShardId(CollectionId("id-c"), number) for number in range(3)]


class Teller:
    """A worker with a replica of each shard except number 2. Its replica of shard 1 has failed. silent: it never
    answers.
    """

    def __init__(self, name: str, *, silent: bool = False) -> None:
        self.name, self.silent = name, silent

    async def LogEnds(self, request: replication_pb2.LogEndsRequest, _: object) -> replication_pb2.LogEndsResponse:
        if self.silent:
            await asyncio.Event().wait()
        ends = [
            replication_pb2.LogEnd(replica=f"{self.name}-{shard.number}", term=4, seq=7 + shard.number)
            for shard in request.shards
            if shard_from_message(shard) != SHARDS[2]
        ]
        return replication_pb2.LogEndsResponse(ends=ends)

    async def Status(self, request: worker_pb2.WorkerStatusRequest, _: object) -> worker_pb2.WorkerStatusResponse:
        if self.silent:
            await asyncio.Event().wait()
        return worker_pb2.WorkerStatusResponse(failed={str(SHARDS[1]): "damaged"})


def entry(name: str, address: str) -> WorkerEntry:
    return WorkerEntry(id=WorkerId(name), address=address, incarnation="i", pid=1, node="n", zone="", registration=Revision(1))


def asked(check: Callable[[GrpcReplicaReports, dict[WorkerId, WorkerEntry]], Awaitable[None]]) -> None:
    """Run `check` with four workers: w0 and w1 answer, w2 is silent, and nothing listens at the address of w3."""

    async def run() -> None:
        tellers = [Teller("w0"), Teller("w1"), Teller("w2", silent=True)]
        servers = [GrpcServer(host="127.0.0.1", port=0, message_bytes=MESSAGE_BYTES) for _ in tellers]
        for teller, server in zip(tellers, servers, strict=True):
            server.add(call_table((*calls_of(REPLICATION, teller), *calls_of(WORKER, teller))))
        addresses = [*[await server.start() for server in servers], f"127.0.0.1:{free_port()}"]
        try:
            await check(GrpcReplicaReports(MESSAGE_BYTES), {WorkerId(f"w{at}"): entry(f"w{at}", each) for at, each in enumerate(addresses)})
        finally:
            for server in servers:
                await server.stop(0)

    asyncio.run(run())


def test_log_ends_are_those_that_were_told(caplog: pytest.LogCaptureFixture) -> None:
    async def check(reports: GrpcReplicaReports, workers: dict[WorkerId, WorkerEntry]) -> None:
        questions = {
            WorkerId("w0"): SHARDS[:2],
            WorkerId("w1"): SHARDS[1:],
            WorkerId("w2"): SHARDS,
            WorkerId("w3"): SHARDS,
            WorkerId("unknown"): SHARDS,
        }
        async with asyncio.timeout(WAIT_S):
            told = await reports.log_ends(questions, workers, ANSWER_S)
        assert told.ends == {
            "w0-0": LogEnd(term=Term(4), seq=Seq(7)),
            "w0-1": LogEnd(term=Term(4), seq=Seq(8)),
            "w1-1": LogEnd(term=Term(4), seq=Seq(8)),
        }
        assert told.answered == {"w0", "w1"}

    asked(check)
    assert {line.split()[1] for line in caplog.messages if line.startswith("worker_not_heard")} == {"worker=w2", "worker=w3"}


def test_failures_are_told_by_those_that_answer() -> None:
    async def check(reports: GrpcReplicaReports, workers: dict[WorkerId, WorkerEntry]) -> None:
        async with asyncio.timeout(WAIT_S):
            told = await reports.failures(workers.values(), ANSWER_S)
        assert told == {"w0": frozenset({"id-c/1"}), "w1": frozenset({"id-c/1"})}

    asked(check)


def test_statuses_keep_one_connection_to_each_worker_until_it_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    closed: list[str] = []
    opens = log_ends.internal_channel

    def counting(address: str, options: ChannelOptions, tls: Tls | None) -> grpc.aio.Channel:
        channel = opens(address, options, tls)
        close = channel.close

        async def noted(grace: float | None) -> None:
            closed.append(address)
            await close(grace)

        opened.append(address)
        channel.close = noted  # type: ignore[method-assign]
        return channel

    async def check(reports: GrpcReplicaReports, workers: dict[WorkerId, WorkerEntry]) -> None:
        w0, w1 = workers[WorkerId("w0")], workers[WorkerId("w1")]
        async with asyncio.timeout(WAIT_S):
            for _ in range(3):
                told = await reports.statuses((w0, w1), WAIT_S)
                assert {worker: list(status.failed) for worker, status in told.items()} == {"w0": ["id-c/1"], "w1": ["id-c/1"]}
            assert sorted(opened) == sorted((w0.address, w1.address))
            assert (await reports.statuses((w1,), WAIT_S)).keys() == {"w1"}
            assert closed == [w0.address]
            await reports.close()
        assert sorted(opened) == sorted(closed)

    monkeypatch.setattr(log_ends, "internal_channel", counting)
    asked(check)
