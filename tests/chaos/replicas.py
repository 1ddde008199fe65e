"""Reads the content of each replica of a collection directly from its worker, without a router."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import grpc

import shoal
from shoal.core.ids import CollectionId, ShardId
from shoal.core.points import PointId
from shoal.core.shard_calls import Consistency, ReadTerms, ShardScroll
from shoal.v1 import worker_pb2, worker_pb2_grpc
from shoal.wire.call_parts import shard_to_message
from shoal.wire.columns import stored_from_message
from shoal.wire.shard_calls import scroll_to_message
from tests.chaos.judge import Finding, Kind

_CALL_S, _PATIENCE_S = 20.0, 30.0
_PAGE = 2_000
_MOST_TOLD = 5

Held = Mapping[PointId, tuple[bytes | None, bytes]]
"""Payload and vector of each point."""


def _same(address: str) -> str:
    return address


def differences(client: shoal.Client, name: str, reachable: Callable[[str], str] = _same) -> list[Finding]:
    """Return where replicas of a collection differ, once all in sync have applied the same seq; nothing may write
    meanwhile.

    reachable: converts an address of the cluster to one that is reached from here.
    """
    collection = next(each.id for each in client.list_collections() if each.name == name)
    found: list[Finding] = []
    for shard, workers in _askable(client, name):
        addresses = {worker: reachable(address) for worker, address in workers.items()}
        asked = ShardId(CollectionId(collection), shard)
        held = _settled(addresses, asked)
        (first, reference), *others = held.items()
        for worker, points in others:
            found += _compare(f"{name}/{shard} on {worker} and {first}", points, reference)
    return found


def _askable(client: shoal.Client, name: str) -> list[tuple[int, dict[str, str]]]:
    """Return each shard with the addresses of its replicas in sync, by worker, once all of these can be asked.

    A worker that loses its lease, although it is whole, is away for as long as it takes to register again.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        info = client.cluster()
        addresses = {worker.id: worker.address for worker in info.workers if worker.state == "up"}
        shards = [each for each in info.shards if each.collection == name]
        missing = {shard.shard: away for shard in shards if (away := [worker for worker in shard.isr if worker not in addresses])}
        if not missing:
            return [(shard.shard, {worker: addresses[worker] for worker in shard.isr}) for shard in shards]
        assert time.monotonic() < deadline, f"replicas of {name} cannot be asked, by shard: {missing}"
        time.sleep(0.05)


def _settled(addresses: Mapping[str, str], shard: ShardId) -> dict[str, Held]:
    """Return the content of each replica, once all have applied the same seq."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        applied = {worker: _applied(address, shard) for worker, address in addresses.items()}
        if len(set(applied.values())) == 1:
            return {worker: _contents(address, shard) for worker, address in addresses.items()}
        assert time.monotonic() < deadline, f"replicas of {shard} never came to have applied the same: {applied}"
        time.sleep(0.05)


def _applied(address: str, shard: ShardId) -> int:
    with grpc.insecure_channel(address) as channel:
        stub: Any = worker_pb2_grpc.WorkerStub(channel)  # type: ignore[no-untyped-call]
        return int(stub.Stats(worker_pb2.ShardStatsRequest(shard=shard_to_message(shard)), timeout=_CALL_S).applied_seq)


def _contents(address: str, shard: ShardId) -> Held:
    held: dict[PointId, tuple[bytes | None, bytes]] = {}
    after: PointId | None = None
    with grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", -1)]) as channel:
        stub: Any = worker_pb2_grpc.WorkerStub(channel)  # type: ignore[no-untyped-call]
        while True:
            call = ShardScroll(
                shard=shard, after=after, limit=_PAGE, with_payload=True, with_vectors=True, terms=ReadTerms(consistency=Consistency.ANY)
            )
            page = stored_from_message(stub.Scroll(scroll_to_message(call), timeout=_CALL_S).points)
            assert page.payloads is not None or not len(page)
            for at, point in enumerate(page.ids.tolist()):
                assert page.vectors is not None
                held[point] = (page.payloads[at] if page.payloads else None, page.vectors[at].tobytes())
                after = point
            if len(page) < _PAGE:
                return held


def _compare(where: str, one: Held, other: Held) -> list[Finding]:
    differing = sorted((point for point in {*one, *other} if one.get(point) != other.get(point)), key=str)
    told = ", ".join(f"{point}: {_payload(one, point)} and {_payload(other, point)}" for point in differing[:_MOST_TOLD])
    return [Finding(Kind.DIFFERENT, f"{where} differ in {len(differing)} points: {told}")] if differing else []


def _payload(held: Held, point: PointId) -> str:
    return repr(held[point][0]) if point in held else "missing"
