"""Harm a replicated collection under load, and prove that nothing was lost and no answer was wrong."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import grpc

import shoal
from shoal.core.ids import CollectionId, ShardId
from shoal.core.points import id_array
from shoal.core.replies import ShardInfo
from shoal.core.shard_calls import Consistency, ReadTerms, ShardGet
from shoal.v1 import worker_pb2_grpc
from shoal.wire.shard_calls import get_to_message
from tests.chaos.mixed_load import Herd, MixedLoad
from tests.chaos.replicas import differences
from tests.support.cluster.role_cluster import RoleCluster, wait_until
from tests.support.scope import LOAD_PAUSES

TTL_S = 2
_READ_S = 20.0


class Scene:
    """One collection of a cluster under load. Workers are named by their numbers in the cluster."""

    def __init__(self, cluster: RoleCluster, client: shoal.Client, herd: Herd, load: MixedLoad) -> None:
        self.cluster, self.client, self.name, self.load = cluster, client, herd.name, load
        self.id = next(each.id for each in client.list_collections() if each.name == herd.name)

    def shards(self) -> list[ShardInfo]:
        """Return the shards as the router sees them. Tries again while the router cannot tell, because no coordinator
        leads.
        """
        found: list[ShardInfo] = []

        def look() -> bool:
            try:
                found[:] = [each for each in self.client.cluster().shards if each.collection == self.name]
            except shoal.ShoalError:
                return False
            return True

        wait_until(look, "the router tells of the cluster")
        return found

    def shard(self, number: int = 0) -> ShardInfo:
        return self.shards()[number]

    def primary(self, number: int = 0) -> int:
        return self.cluster.worker_of_id(self.shard(number).primary)

    def in_sync(self, number: int = 0) -> list[int]:
        return [self.cluster.worker_of_id(worker) for worker in self.shard(number).isr]

    def backups(self, number: int = 0) -> list[int]:
        shard = self.shard(number)
        return [self.cluster.worker_of_id(worker) for worker in shard.isr if worker != shard.primary]

    def await_new_primary(self, former: int, number: int = 0) -> int:
        """Wait until another worker leads and the load goes on. Return the worker's number."""
        wait_until(lambda: self._led_by_another(former, number), f"another than worker {former} leads; see {self.cluster.folder}")
        self.await_progress()
        return self.primary(number)

    def await_progress(self) -> None:
        """Wait until each thread of the load has had a success after this call began."""
        now = time.monotonic()
        wait_until(lambda: self.load.all_succeeded_since(now), f"the load goes on; see {self.cluster.folder}")

    def await_isr(self, wanted: Collection[int], number: int = 0) -> None:
        wait_until(lambda: set(self.in_sync(number)) == set(wanted), f"workers {wanted} are in sync; see {self.cluster.folder}")

    def assert_healed(self, allowed: Collection[str] = ()) -> None:
        """Check that the cluster is whole again by itself, that nothing was lost, that no answer was wrong, that all
        replicas are equal, and that no call failed except as `allowed`.
        """
        self.cluster.wait_whole(self.client)
        self.await_progress()
        self.load.pause()
        self.load.judge_all()
        self.assert_equal()
        self.load.resume()
        found = [f"{finding.kind}: {finding.text}" for finding in self.load.findings[:10]]
        assert found == [], f"{found}; see {self.cluster.folder}"
        failures = {name: count for name, count in self.load.failures().items() if name not in allowed}
        assert failures == {}, f"{self.load.messages()[:5]}; see {self.cluster.folder}"

    def assert_equal(self) -> None:
        """Check that all replicas hold the same. Nothing may write meanwhile."""
        assert differences(self.client, self.name, self.cluster.reachable) == [], f"see {self.cluster.folder}"

    def folders(self) -> dict[int, int]:
        """Return how many replicas of the collection each worker has on its disk."""
        found = (path.relative_to(self.cluster.folder).parts[0] for path in self.cluster.folder.glob(f"worker-*/{self.id}/*/[!.]*"))
        return Counter(int(name.removeprefix("worker-")) for name in found)

    @contextmanager
    def primary_reads_at(self, worker: int, point: int) -> Iterator[Callable[[], grpc.Future]]:
        """Yield a function that begins a primary read of a point in shard 0. The read goes to the worker itself, over a
        connection that is already open.
        """
        entry = next(each for each in self.client.cluster().workers if each.id == self.cluster.worker_id(worker))
        terms = ReadTerms(consistency=Consistency.PRIMARY)
        request = get_to_message(ShardGet(shard=ShardId(CollectionId(self.id), 0), ids=id_array([point]), terms=terms))
        with grpc.insecure_channel(self.cluster.reachable(entry.address)) as channel:
            stub: Any = worker_pb2_grpc.WorkerStub(channel)  # type: ignore[no-untyped-call]
            stub.Get(request, timeout=_READ_S)
            yield lambda: stub.Get.future(request, timeout=_READ_S)

    def _led_by_another(self, former: int, number: int) -> bool:
        shard = self.shard(number)
        return shard.state == "ok" and shard.primary != self.cluster.worker_id(former)


@contextmanager
def scene(cluster: RoleCluster, name: str, *, shards: int = 1, replicas: int = 3, loaded: bool = True) -> Iterator[Scene]:
    """Create the collection and put it under load until the context is left. With `loaded=False` there is no load, and
    no answer is judged.
    """
    herd, clients = Herd(name=name, shards=shards, replicas=replicas), int(loaded)
    with shoal.connect(cluster.addresses, timeout=30) as client:
        cluster.wait_whole(client)
        with MixedLoad(cluster.addresses, [herd], writers=clients, readers=clients, probes=loaded, pauses=LOAD_PAUSES) as load:
            playing = Scene(cluster, client, herd, load)
            cluster.wait_whole(client)
            playing.await_progress()
            yield playing
        client.drop_collection(name)
