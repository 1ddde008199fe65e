"""The verbs of both clients for collections and for the cluster."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, TypeVar

from shoal.client.flow import Flow
from shoal.client.verbs import Verbs
from shoal.core.fusion_choice import SearchDefaults
from shoal.core.recovery import AuditEntry
from shoal.core.replies import ClusterInfo, CollectionInfo, CollectionSummary, ShardRecovery
from shoal.core.tuning_calls import SegmentCurve, ShardRecall

T = TypeVar("T")


class CollectionCalls(ABC):
    """Verbs of the blocking client."""

    _verbs: Verbs

    def create_collection(
        self,
        name: str,
        dim: int | None = None,
        metric: str = "l2",
        shards: int = 1,
        replicas: int = 1,
        *,
        index: str = "auto",
        recall: float = 0.95,
        min_isr: int | None = None,
        text: Mapping[str, Any] | None = None,
        search_defaults: Mapping[str, Any] | SearchDefaults | None = None,
        vectors: Mapping[str, Any] | None = None,
        exist_ok: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Create a collection; returns when the primaries of all its shards serve, so that it can be used at once.

        metric: "l2" (squared Euclidean distance), "ip" (inner product) or "cosine".
        index: "auto" (exact while small, then a graph), "flat" (always exact), "hnsw", "ivf", or a FAISS factory string
        such as "HNSW32", "HNSW16,SQ8", "IVF1024,Flat", "IVF1024,PQ64" or "IVF1024,RaBitQ". Quantised indexes take less
        memory; their hits are scored exactly from the stored vectors.

        recall: target of searches that give none, 0 < recall <= 1. replicas: of each shard, 1 to 7, each on another
        worker. min_isr: replicas that a write must reach before it is acknowledged, 1 to replicas; None: replicas - 1,
        at least 1.
        text: payload fields to search by words, as in {"title": "auto", "body": {"kind": "auto", "stem": "german"}};
        kinds are auto, cjk, words and raw. search_defaults: what searches with several legs do that say nothing, as in
        {"fusion": "rrf", "c": 60, "dense_weight": 0.4, "text_weight": 0.6, "boosts": {"title": 2}}.

        vectors: instead of dim, for points with several vectors, of which each may lack some: by name the dimension, or
        a dict with dim, metric and index, as in {"image": 512, "text": {"dim": 384, "metric": "cosine"}}, which are
        otherwise those of the call. At most 16; names are 1 to 64 characters of [a-zA-Z0-9_-].

        exist_ok: a collection that has the name already is left as it is, with its index, text fields and points.
        AlreadyExists is raised, and names it, if the dimension or metric is another one, also of a named vector.

        Raises AlreadyExists when another call created the name, PreconditionFailed when there are fewer live workers
        than replicas, InvalidArgument for values that cannot work, such as a PQ that does not divide dim, and
        DeadlineExceeded when the timeout is over first: the collection exists then, if the message says so, and its
        shards go on to be opened.
        """
        self._run(
            self._verbs.create_collection(
                name,
                dim,
                metric=metric,
                shards=shards,
                replicas=replicas,
                index=index,
                recall=recall,
                min_isr=min_isr,
                text=text,
                search_defaults=search_defaults,
                vectors=vectors,
                exist_ok=exist_ok,
                timeout=timeout,
            )
        )

    def alter_collection(
        self,
        name: str,
        *,
        index: str | Mapping[str, str] | None = None,
        recall: float | None = None,
        replicas: int | None = None,
        min_isr: int | None = None,
        text: Mapping[str, Any] | None = None,
        search_defaults: Mapping[str, Any] | SearchDefaults | None = None,
        timeout: float | None = None,
    ) -> None:
        """Change a live collection; returns when the cluster has accepted the change.

        Arguments are as in `create_collection`; None leaves a value as it is; min_isr=0 is the default one. Writes and
        searches go on meanwhile.

        index: in a collection with named vectors a dict of the indexes to change, by name, as in {"image": "hnsw"}.

        A new index: searches use the old index while segments are built anew and swapped one by one.
        `describe_collection(name).builds_pending` is the number of shards with a running or due build (0: all is done);
        `.waiting` says why a due build does not begin. A new recall holds from the next search on. Replicas are added
        and removed in the background. Raises PreconditionFailed for more replicas than there are live workers.

        text: all text fields from now on; those that are not named are dropped. Until the texts of all points are
        indexed, searches by new ones raise PreconditionFailed. search_defaults: all of them; they hold from the next
        search on.
        """
        self._run(
            self._verbs.alter_collection(
                name,
                index=index,
                recall=recall,
                replicas=replicas,
                min_isr=min_isr,
                text=text,
                search_defaults=search_defaults,
                timeout=timeout,
            )
        )

    def drop_collection(self, name: str, *, timeout: float | None = None) -> None:
        """Drop a collection and delete its data.

        When it returns, the router that answered no longer lists the collection, and the name is free.
        """
        self._run(self._verbs.drop_collection(name, timeout))

    def list_collections(self, *, timeout: float | None = None) -> list[CollectionSummary]:
        """Return all collections, in the order of their names; each has `.name`, `.spec`, `.state` and `.id`."""
        return self._run(self._verbs.list_collections(timeout))

    def collection_exists(self, name: str, *, timeout: float | None = None) -> bool:
        """Return whether a collection has this name. One that is being dropped does not count."""
        return self._run(self._verbs.collection_exists(name, timeout))

    def describe_collection(self, name: str, *, timeout: float | None = None) -> CollectionInfo:
        """Return a collection's spec, points, rows, segments and sizes."""
        return self._run(self._verbs.describe_collection(name, timeout))

    def tune(
        self, name: str, k: int = 10, queries: Any = None, *, using: str | None = None, timeout: float | None = None
    ) -> list[SegmentCurve]:
        """Measure recall against cost of each sealed segment now, for k hits, and keep the result for later searches.

        queries: (n, dim) real numbers like those that will be asked, at most 4,096. They count as asked, and are kept
        as a kind of their own until others are given; 64 are enough for searches to rely on them. None: the queries are
        those that the collection received; while there are too few, its own points are used. Each
        SegmentCurve has points of growing breadth: recall, and microseconds of one search. Segments that are searched
        exactly have no curve. using: the name of the vector to tune, in a collection with named vectors; None: all of
        them, then without queries. Takes seconds to minutes, at low priority.
        """
        return self._run(self._verbs.tune(name, k, queries, using, timeout))

    def measure_recall(
        self,
        name: str,
        k: int = 10,
        sample: int = 100,
        recall: float | None = None,
        *,
        using: str | None = None,
        timeout: float | None = None,
    ) -> list[ShardRecall]:
        """Measure the recall that searches have now, at low priority.

        For each shard, `sample` of the queries it received are searched as usual and compared with the exact answer.
        recall: the target to search with; None for the collection's own. ShardRecall.real_queries is False if the shard
        has received too few queries, and its own points were used. using: the name of the vector, needed in a
        collection with named vectors.
        """
        return self._run(self._verbs.measure_recall(name, k, sample, recall, using, timeout))

    def recover_shard(
        self,
        name: str,
        shard: int,
        *,
        worker: str | None = None,
        accept_data_loss: bool = False,
        reason: str = "",
        asked_by: str = "",
        timeout: float | None = None,
    ) -> ShardRecovery:
        """Make the data of another replica the data of a shard whose in-sync replicas are all lost for good.

        Without accept_data_loss nothing is changed: the answer says which replica would be chosen and which would be
        given up. worker: whose replica is to be chosen; None for the longest log. reason, asked_by: for the audit, at
        most 1,000 and 64 characters. Raises PreconditionFailed while a replica that holds every acknowledged write may
        still come back.
        """
        return self._run(
            self._verbs.recover_shard(
                name, shard, worker=worker, accept_data_loss=accept_data_loss, reason=reason, asked_by=asked_by, timeout=timeout
            )
        )

    def audit(self, limit: int = 100, *, timeout: float | None = None) -> list[AuditEntry]:
        """Return the operators' actions that may have cost data, newest first, at most `limit` entries."""
        return self._run(self._verbs.audit(limit, timeout))

    def cluster(self, *, timeout: float | None = None) -> ClusterInfo:
        """Return the workers and shards of the cluster."""
        return self._run(self._verbs.cluster(timeout))

    @abstractmethod
    def _run(self, flow: Flow[T]) -> T:
        """Run a flow; return its result."""


class AwaitedCollectionCalls(ABC):
    """Verbs of the asyncio client."""

    _verbs: Verbs

    async def create_collection(
        self,
        name: str,
        dim: int | None = None,
        metric: str = "l2",
        shards: int = 1,
        replicas: int = 1,
        *,
        index: str = "auto",
        recall: float = 0.95,
        min_isr: int | None = None,
        text: Mapping[str, Any] | None = None,
        search_defaults: Mapping[str, Any] | SearchDefaults | None = None,
        vectors: Mapping[str, Any] | None = None,
        exist_ok: bool = False,
        timeout: float | None = None,
    ) -> None:
        """See Client."""
        await self._run(
            self._verbs.create_collection(
                name,
                dim,
                metric=metric,
                shards=shards,
                replicas=replicas,
                index=index,
                recall=recall,
                min_isr=min_isr,
                text=text,
                search_defaults=search_defaults,
                vectors=vectors,
                exist_ok=exist_ok,
                timeout=timeout,
            )
        )

    async def alter_collection(
        self,
        name: str,
        *,
        index: str | Mapping[str, str] | None = None,
        recall: float | None = None,
        replicas: int | None = None,
        min_isr: int | None = None,
        text: Mapping[str, Any] | None = None,
        search_defaults: Mapping[str, Any] | SearchDefaults | None = None,
        timeout: float | None = None,
    ) -> None:
        """See Client."""
        await self._run(
            self._verbs.alter_collection(
                name,
                index=index,
                recall=recall,
                replicas=replicas,
                min_isr=min_isr,
                text=text,
                search_defaults=search_defaults,
                timeout=timeout,
            )
        )

    async def drop_collection(self, name: str, *, timeout: float | None = None) -> None:
        """See Client."""
        await self._run(self._verbs.drop_collection(name, timeout))

    async def list_collections(self, *, timeout: float | None = None) -> list[CollectionSummary]:
        """See Client."""
        return await self._run(self._verbs.list_collections(timeout))

    async def collection_exists(self, name: str, *, timeout: float | None = None) -> bool:
        """See Client."""
        return await self._run(self._verbs.collection_exists(name, timeout))

    async def describe_collection(self, name: str, *, timeout: float | None = None) -> CollectionInfo:
        """See Client."""
        return await self._run(self._verbs.describe_collection(name, timeout))

    async def tune(
        self, name: str, k: int = 10, queries: Any = None, *, using: str | None = None, timeout: float | None = None
    ) -> list[SegmentCurve]:
        """See Client."""
        return await self._run(self._verbs.tune(name, k, queries, using, timeout))

    async def measure_recall(
        self,
        name: str,
        k: int = 10,
        sample: int = 100,
        recall: float | None = None,
        *,
        using: str | None = None,
        timeout: float | None = None,
    ) -> list[ShardRecall]:
        """See Client."""
        return await self._run(self._verbs.measure_recall(name, k, sample, recall, using, timeout))

    async def recover_shard(
        self,
        name: str,
        shard: int,
        *,
        worker: str | None = None,
        accept_data_loss: bool = False,
        reason: str = "",
        asked_by: str = "",
        timeout: float | None = None,
    ) -> ShardRecovery:
        """See Client."""
        return await self._run(
            self._verbs.recover_shard(
                name, shard, worker=worker, accept_data_loss=accept_data_loss, reason=reason, asked_by=asked_by, timeout=timeout
            )
        )

    async def audit(self, limit: int = 100, *, timeout: float | None = None) -> list[AuditEntry]:
        """See Client."""
        return await self._run(self._verbs.audit(limit, timeout))

    async def cluster(self, *, timeout: float | None = None) -> ClusterInfo:
        """See Client."""
        return await self._run(self._verbs.cluster(timeout))

    @abstractmethod
    async def _run(self, flow: Flow[T]) -> T:
        """Run a flow; return its result."""
