"""A collection whose shards are real replicas in this process, under three routers: one may search them all in one
call, one goes shard by shard, and one has them behind a hop.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import Collection, CollectionSpec, CollectionState
from shoal.core.ids import ClusterId, CollectionId, ReplicaId, Revision, ShardId, WorkerId
from shoal.core.limits import Limits
from shoal.core.map_tables import CollectionTable, ShardTable
from shoal.core.replies import Found
from shoal.core.requests import Search
from shoal.core.shard_calls import ShardFound, ShardSearch, ShardsFound, ShardsSearch
from shoal.core.shard_config import ShardEntry
from shoal.core.slots import split_evenly
from shoal.router.cluster.workers import Workers
from shoal.router.rpc.search_service import SearchService
from shoal.router.shards.metrics import ShardCallMeter
from shoal.router.wiring import Router, make_router
from shoal.runtime.clock import boot_s
from shoal.runtime.metrics import Metrics, NoMetrics
from shoal.shard_worker.hosting.host import Host
from shoal.shard_worker.index.search.paces import Paces
from shoal.wire.searches import search_to_message
from tests.support.worker.hop import LinesInMemory, remote, search_in_bytes
from tests.support.worker.replica_bench import REPLICA, Bench, config, opened
from tests.support.worker.steady_paces import UnlearningPaces
from tests.twins.cluster import FakeLeader, FakeNames, new_conversions, worker_entry
from tests.twins.virtual_time import LiveView

HERE, ELSEWHERE = WorkerId("here"), WorkerId("elsewhere")
OTHER_REPLICA = ReplicaId("replica-elsewhere")


class ShardByShard:
    """The worker without its express search, as a worker in another process is."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def __getattr__(self, name: str) -> Any:
        if name == "ready":
            raise AttributeError(name)
        return getattr(self._host, name)

    async def close(self) -> None:
        """Do nothing."""


@dataclasses.dataclass
class CountedHost(Host):
    """A host that remembers the searches of single shards."""

    searches: list[ShardSearch | ShardsSearch] = dataclasses.field(default_factory=list)

    async def search(self, call: ShardSearch, timeout_s: float) -> ShardFound:
        """Search a shard, and remember the call."""
        self.searches.append(call)
        return await super().search(call, timeout_s)

    async def search_shards(self, call: ShardsSearch, timeout_s: float) -> ShardsFound:
        """Search shards, and remember the call."""
        self.searches.append(call)
        return await super().search_shards(call, timeout_s)


@dataclasses.dataclass
class LocalShards:
    """The parts. host: of the worker `here`; general: a router that goes shard by shard; behind: one that reaches the
    host by `lines`.
    """

    collection: Collection
    benches: dict[ShardId, Bench]
    host: CountedHost
    view: LiveView
    router: Router
    general: Router
    behind: Router
    lines: LinesInMemory

    def service(self, *, express: bool = True) -> SearchService:
        """Return the public service over one of the routers."""
        router = self.router if express else self.general
        return SearchService(
            reads=router.reads, fused=router.fused, limits=router.limits, default_timeout_s=10.0, conversions=router.conversions
        )

    async def both(self, question: Search, prepare: Callable[[], None] = lambda: None) -> tuple[Found, Found]:
        """Return the answer of one call for all shards, and that of shard by shard. What is known of filters is the
        same before each. Raises AssertionError if the first one went shard by shard.

        prepare: called before each search.
        """
        await self._know_filters(question)
        before = len(self.host.searches)
        prepare()
        express = await self.router.reads.search(question, 10.0)
        assert len(self.host.searches) == before, "it was searched shard by shard"
        await self._know_filters(question)
        prepare()
        return express, await self.general.reads.search(question, 10.0)

    async def over_hop(self, question: Search, prepare: Callable[[], None] = lambda: None) -> tuple[bytes, bool]:
        """Return the bytes of the answer of the router behind a hop, and whether it went in bytes all the way. What is
        known of filters is as in `both`.
        """
        await self._know_filters(question)
        router, data = self.behind, search_to_message(question).SerializeToString()
        service = SearchService(
            reads=router.reads, fused=router.fused, limits=router.limits, default_timeout_s=10.0, conversions=router.conversions
        )
        prepare()
        before = self.lines.shortly
        answer, shortly = await search_in_bytes(service, data, question.read.caller)
        return answer, shortly and self.lines.shortly > before

    async def _know_filters(self, question: Search) -> None:
        self.forget_filters()
        if any(group.filter is not None for group in question.groups):
            await self.general.reads.search(question, 10.0)

    def forget_filters(self) -> None:
        """Forget what is known of filters in all segments."""
        for bench in self.benches.values():
            keys = [part.key for index in bench.engine.indexes for part in index.reading.view().parts]
            bench.settings.hot_filters.forget(keys)

    def change(self, **parts: Any) -> None:
        """Publish the next map."""
        current = self.view.current
        self.view.current = dataclasses.replace(current, revision=Revision(current.revision + 1), **parts)

    def configure(self, shard: ShardId, **parts: Any) -> None:
        """Publish the next configuration of a shard."""
        entry = self.view.current.shards[shard]
        following = ShardEntry(config=dataclasses.replace(entry.config, **parts), epoch=Revision(entry.epoch + 1))
        self.change(shards=ShardTable({**self.view.current.shards, shard: following}.values()))


@contextlib.asynccontextmanager
async def local_shards(
    folder: Path,
    spec: CollectionSpec,
    *,
    term: int = 1,
    growing_rows: int = 1_000,
    limits: Limits | None = None,
    metrics: Metrics | None = None,
) -> AsyncIterator[LocalShards]:
    """Open the shards of a collection as replicas that lead, in folders below `folder`."""
    collection = Collection(id=CollectionId("collection"), spec=spec, state=CollectionState.ACTIVE, request_id="r")
    async with contextlib.AsyncExitStack() as stack:
        benches: dict[ShardId, Bench] = {}
        entries: dict[ShardId, ShardEntry] = {}
        for number, slots in enumerate(split_evenly(spec.shards)):
            shard = ShardId(collection.id, number)
            place = folder / str(number)
            benches[shard] = await stack.enter_async_context(opened(place, term=term, growing_rows=growing_rows, spec=spec, shard=shard))
            entries[shard] = ShardEntry(
                config=dataclasses.replace(config(term, shard), slots=(slots,), worker_of={REPLICA: HERE}), epoch=Revision(9)
            )
        host = CountedHost(open={shard: bench.replica for shard, bench in benches.items()})
        seen = ClusterMap(
            cluster=ClusterId("c"),
            workers={HERE: worker_entry(HERE)},
            collections=CollectionTable((collection,)),
            shards=ShardTable(entries.values()),
        )
        view, lines = LiveView(seen), LinesInMemory(host)
        yield LocalShards(
            collection=collection,
            benches=benches,
            host=host,
            view=view,
            router=_router(view, Workers(connect=lambda _: ShardByShard(host), local={HERE: host}), limits, metrics),
            general=_router(view, Workers(connect=lambda _: ShardByShard(host), local={HERE: ShardByShard(host)}), limits, None),
            behind=_router(view, Workers(connect=lambda _: remote(lines)), limits, None),
            lines=lines,
        )


def steady(shards: LocalShards) -> Paces:
    """Let the costs of searches be the same in every search, so that plans do not depend on the machine."""
    paces = UnlearningPaces()
    for bench in shards.benches.values():
        for index in bench.engine.indexes:
            index.reading._context = dataclasses.replace(index.reading.searched().context, paces=paces)
    return paces


def _router(view: LiveView, workers: Workers, limits: Limits | None, metrics: Metrics | None) -> Router:
    return make_router(
        view=view,
        workers=workers,
        names=FakeNames(),
        leader=FakeLeader(),
        clock=boot_s,
        new_request_id=lambda: "router",
        limits=limits or Limits(),
        read_patience_s=0.5,
        status_timeout_s=1.0,
        conversions=new_conversions(),
        meter=ShardCallMeter(metrics or NoMetrics()),
    )
