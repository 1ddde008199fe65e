"""Each verb of collections and of the cluster as a flow: check the input, build the requests, convert the answers."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from shoal.client import inputs
from shoal.client.creation import created_if_missing, living
from shoal.client.flow import Flow, UsualTimeout, answered, reply_to
from shoal.client.identity import Session
from shoal.client.named_input import name_of_vector, using_from_input, vectors_of_spec
from shoal.client.progress import Progress
from shoal.client.routers import Routers, addresses_from_input
from shoal.client.search_input import recall_from_input
from shoal.client.watching import WatchedOptimize
from shoal.core.errors import ErrorDetails, InvalidArgument, NotFound
from shoal.core.fusion_choice import SearchDefaults
from shoal.core.ids import WorkerId
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.named_vectors import NamedVector
from shoal.core.notebook import Rows
from shoal.core.recovery import AuditEntry, RecoveryRequest
from shoal.core.replies import AuditPage, ClusterInfo, CollectionInfo, CollectionSummary, ShardRecovery
from shoal.core.requests import (
    AlterCollection,
    CreateCollection,
    DescribeCluster,
    DescribeCollection,
    DropCollection,
    ListAudit,
    ListCollections,
    MeasureRecall,
    OptimizeCollection,
    RecoverShard,
    TuneCollection,
)
from shoal.core.shown import shown
from shoal.core.text_fields import text_fields_from_input
from shoal.core.tuning_calls import SegmentCurve, ShardRecall

READ_TIMEOUT_S = 10.0
WRITE_TIMEOUT_S = 60.0
LONG_TIMEOUT_S = 600.0
"""For calls that may take minutes: optimize, tune, measure_recall."""

MOST_AUDIT_ENTRIES = 100_000


class CollectionVerbs:
    """The verbs of collections and of the cluster, and the state that all verbs of all drivers share: the routers, this
    client's identity and session, its timeouts.

    timeout: seconds, for each call that gives none; None: 10 (reads), 60 (writes), 600 (optimize, tune,
    measure_recall).
    """

    def __init__(self, address: str | Iterable[str], timeout: float | None) -> None:
        self.routers = Routers(addresses_from_input(address))
        inputs.seconds(timeout, READ_TIMEOUT_S)
        self._timeout = timeout
        self._session = Session()

    def _seconds(self, timeout: float | None, default_s: float) -> float:
        given = self._timeout if timeout is None else timeout
        seconds = inputs.seconds(given, default_s)
        return UsualTimeout(seconds) if given is None or isinstance(given, UsualTimeout) else seconds

    def _read(self, request: Any, timeout: float | None) -> Flow[Any]:
        return answered(request, timeout_s=self._seconds(timeout, READ_TIMEOUT_S), routers=self.routers)

    def create_collection(
        self,
        name: str,
        dim: int | None,
        *,
        metric: str,
        shards: int,
        replicas: int,
        index: str,
        recall: float,
        min_isr: int | None,
        text: Any,
        search_defaults: Any,
        vectors: Any,
        exist_ok: bool,
        timeout: float | None,
    ) -> Flow[None]:
        """Create the collection, only once even if retried. exist_ok: leave one of this name as it is."""
        fields = text_fields_from_input(() if text is None else text)
        names, usual = [each.name for each in fields], SearchDefaults()
        named = vectors_of_spec(vectors, metric=metric, index=index)
        request = CreateCollection(
            name=inputs.name_from_input(name, "name"),
            dim=_dim(dim, named),
            metric=inputs.name_from_input(metric, "metric"),
            shards=inputs.whole_number("shards", shards, DEFAULT_LIMITS.shards),
            replicas=inputs.whole_number("replicas", replicas, DEFAULT_LIMITS.replicas),
            index=inputs.index_text(index),
            recall=recall_from_input(recall),
            min_isr=_min_isr(min_isr) or 0,
            text=fields,
            defaults=usual if search_defaults is None else inputs.search_defaults(search_defaults, names),
            vectors=named,
            request_id=uuid.uuid4().hex,
        )
        create = created_if_missing if exist_ok else answered
        yield from create(request, timeout_s=self._seconds(timeout, WRITE_TIMEOUT_S), routers=self.routers)

    def alter_collection(
        self,
        name: str,
        *,
        index: str | Mapping[str, str] | None,
        recall: float | None,
        replicas: int | None,
        min_isr: int | None,
        text: Any,
        search_defaults: Any,
        timeout: float | None,
    ) -> Flow[None]:
        """Change the values that are given."""
        if all(each is None for each in (index, recall, replicas, min_isr, text, search_defaults)):
            raise InvalidArgument(
                "nothing to change is given: name an index, a recall, replicas, min_isr, text or search_defaults",
                ErrorDetails(field="index"),
            )
        request = AlterCollection(
            name=inputs.name_from_input(name, "name"),
            index=None if index is None or isinstance(index, Mapping) else inputs.index_text(index),
            recall=None if recall is None else recall_from_input(recall),
            replicas=None if replicas is None else inputs.whole_number("replicas", replicas, DEFAULT_LIMITS.replicas),
            min_isr=_min_isr(min_isr),
            text=None if text is None else text_fields_from_input(text),
            defaults=None if search_defaults is None else inputs.search_defaults(search_defaults, None),
            indexes=_indexes(index) if isinstance(index, Mapping) else None,
        )
        yield from answered(request, timeout_s=self._seconds(timeout, WRITE_TIMEOUT_S), routers=self.routers)

    def drop_collection(self, name: str, timeout: float | None) -> Flow[None]:
        """Drop the collection that has the name now. Retries use its id, which is never reused, so they drop nothing
        else.
        """
        checked, timeout_s = inputs.name_from_input(name, "name"), self._seconds(timeout, WRITE_TIMEOUT_S)
        listed = yield from reply_to(ListCollections(), timeout_s=timeout_s, routers=self.routers)
        found = living(listed.value, checked)
        if found is None:
            raise NotFound(f"collection {checked!r} does not exist", ErrorDetails(field="name"))
        request = DropCollection(name=checked, collection_id=found.id)
        yield from answered(request, timeout_s=timeout_s, routers=self.routers, elapsed_s=listed.elapsed_s)
        self._session.forget(checked)

    def list_collections(self, timeout: float | None) -> Flow[list[CollectionSummary]]:
        """Return all collections, in the order of their names."""
        listed: tuple[CollectionSummary, ...] = yield from self._read(ListCollections(), timeout)
        return Rows(sorted(listed, key=lambda each: each.name))

    def collection_exists(self, name: str, timeout: float | None) -> Flow[bool]:
        """Return whether a collection has the name now."""
        checked = inputs.name_from_input(name, "name")
        return living((yield from self._read(ListCollections(), timeout)), checked) is not None

    def describe_collection(self, name: str, timeout: float | None) -> Flow[CollectionInfo]:
        """Return one collection and its sizes."""
        info: CollectionInfo = yield from self._read(DescribeCollection(name=inputs.name_from_input(name, "name")), timeout)
        return info

    def optimize(self, name: str, timeout: float | None, told: Progress | None) -> WatchedOptimize:
        """Return the work that seals and merges everything, and tells meanwhile how many rows are sealed."""
        request = OptimizeCollection(name=inputs.name_from_input(name, "name"))
        call: Flow[None] = answered(request, timeout_s=self._seconds(timeout, LONG_TIMEOUT_S), routers=self.routers)
        return WatchedOptimize(call, lambda: self.describe_collection(name, None), told)

    def tune(self, name: str, k: int, queries: Any, using: Any, timeout: float | None) -> Flow[list[SegmentCurve]]:
        """Return recall against cost, segment by segment."""
        request = TuneCollection(
            name=inputs.name_from_input(name, "name"),
            k=inputs.whole_number("k", k, DEFAULT_LIMITS.k),
            queries=None if queries is None else inputs.queries_from_input(queries, field="queries"),
            vector=using_from_input(using),
        )
        return Rows((yield from answered(request, timeout_s=self._seconds(timeout, LONG_TIMEOUT_S), routers=self.routers)))

    def measure_recall(
        self, name: str, k: int, sample: int, recall: float | None, using: Any, timeout: float | None
    ) -> Flow[list[ShardRecall]]:
        """Return the recall of each shard."""
        request = MeasureRecall(
            name=inputs.name_from_input(name, "name"),
            k=inputs.whole_number("k", k, DEFAULT_LIMITS.k),
            sample=inputs.whole_number("sample", sample, DEFAULT_LIMITS.batch_queries),
            recall=None if recall is None else recall_from_input(recall),
            vector=using_from_input(using),
        )
        return Rows((yield from answered(request, timeout_s=self._seconds(timeout, LONG_TIMEOUT_S), routers=self.routers)))

    def cluster(self, timeout: float | None) -> Flow[ClusterInfo]:
        """Return the workers and shards."""
        info: ClusterInfo = yield from self._read(DescribeCluster(), timeout)
        return info

    def recover_shard(
        self, name: str, shard: int, *, worker: str | None, accept_data_loss: bool, reason: str, asked_by: str, timeout: float | None
    ) -> Flow[ShardRecovery]:
        """Recover the shard, only once even if retried."""
        asked = RecoveryRequest(
            name=inputs.name_from_input(name),
            number=inputs.whole_number("shard", shard, DEFAULT_LIMITS.shards, least=0),
            worker=None if worker is None else WorkerId(inputs.some_text("worker", worker)),
            accept_data_loss=bool(accept_data_loss),
            reason=inputs.some_text("reason", reason),
            asked_by=inputs.some_text("asked_by", asked_by),
            request_id=uuid.uuid4().hex,
        )
        timeout_s = self._seconds(timeout, WRITE_TIMEOUT_S)
        recovery: ShardRecovery = yield from answered(RecoverShard(asked=asked), timeout_s=timeout_s, routers=self.routers)
        return recovery

    def audit(self, limit: int, timeout: float | None) -> Flow[list[AuditEntry]]:
        """Return the newest entries; reads them page by page."""
        wanted, following = inputs.whole_number("limit", limit, MOST_AUDIT_ENTRIES), ""
        entries = Rows[AuditEntry]()
        while len(entries) < wanted:
            page: AuditPage = yield from self._read(ListAudit(limit=wanted - len(entries), before=following), timeout)
            entries += page.entries
            following = page.following
            if not following:
                break
        return entries


def _min_isr(given: int | None) -> int | None:
    return None if given is None else inputs.whole_number("min_isr", given, DEFAULT_LIMITS.replicas, least=0)


def _dim(dim: Any, named: tuple[NamedVector, ...]) -> int:
    """Return the dimension of a collection's vectors, 0 with named ones. Raises InvalidArgument unless one of both is
    given.
    """
    if named:
        if dim is not None:
            raise InvalidArgument(
                f"dim is {shown(dim)}, but vectors are given, each with its own: leave dim out", ErrorDetails(field="dim")
            )
        return 0
    if dim is None:
        raise InvalidArgument(
            "neither dim nor vectors is given: say how many numbers a vector has, or the names and dimensions of several",
            ErrorDetails(field="dim"),
        )
    return inputs.whole_number("dim", dim, DEFAULT_LIMITS.dim)


def _indexes(given: Mapping[Any, Any]) -> dict[str, str]:
    """Return indexes by the name of the vector, at least one. Raises InvalidArgument."""
    if not given:
        raise InvalidArgument("index is an empty dict, name at least one vector, as in {'image': 'hnsw'}", ErrorDetails(field="index"))
    return {name_of_vector(name, "index"): inputs.index_text(index) for name, index in given.items()}
