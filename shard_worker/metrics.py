"""The metrics of a shard worker, and how they are read from its replicas."""

from __future__ import annotations

from collections.abc import Iterable

from shoal.runtime.metrics import LEASE_AGE_SECONDS, STORE_CONNECTED, MetricSpec, Sample
from shoal.shard_worker.hosting.host import Host
from shoal.shard_worker.hosting.membership import Membership
from shoal.shard_worker.resources.pools import Pools

_SHARD = ("collection", "shard")

POINTS = MetricSpec(name="shoal_points", kind="gauge", text="Points of a shard.", labels=_SHARD)
GROWING_ROWS = MetricSpec(name="shoal_growing_rows", kind="gauge", text="Rows of a shard that are not in a built index yet.", labels=_SHARD)
SEALED_ROWS = MetricSpec(name="shoal_sealed_rows", kind="gauge", text="Rows of a shard in built indexes.", labels=_SHARD)
SEGMENTS = MetricSpec(name="shoal_segments", kind="gauge", text="Segments that a search of a shard visits.", labels=_SHARD)
DISK_BYTES = MetricSpec(name="shoal_disk_bytes", kind="gauge", text="Bytes of a shard on disk.", labels=_SHARD)
MEMORY_BYTES = MetricSpec(
    name="shoal_memory_bytes", kind="gauge", text="Bytes of a shard's vectors, graphs and tables in memory.", labels=_SHARD
)
BUILDS_PENDING = MetricSpec(name="shoal_builds_pending", kind="gauge", text="Index builds of a shard that run or are due.", labels=_SHARD)
WRITES_PENDING = MetricSpec(
    name="shoal_writes_pending", kind="gauge", text="Writes of a shard that wait for their acknowledgement.", labels=_SHARD
)
SHARDS_FAILED = MetricSpec(
    name="shoal_shards_failed", kind="gauge", text="Replicas of this worker that do not work; `shoal status` says why."
)
BUILDS_RUNNING = MetricSpec(name="shoal_builds_running", kind="gauge", text="Index builds that run now, or wait for the build thread.")
READS_UNDER_WAY = MetricSpec(
    name="shoal_reads_under_way",
    kind="gauge",
    text="Searches and reads too long for the event loop that run or wait for their turn.",
)
BUILDS = MetricSpec(
    name="shoal_builds_total", kind="counter", text="Index builds that ended: done, stopped or failed.", labels=("outcome",)
)
BUILD_SECONDS = MetricSpec(
    name="shoal_build_seconds",
    kind="histogram",
    text="Time of a successful index build, from its beginning until searches use it.",
    buckets=(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0),
)
LOG_FLUSH_SECONDS = MetricSpec(
    name="shoal_log_flush_seconds",
    kind="histogram",
    text="Time to append one group of records to a log and to flush it to disk.",
    buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
)
HAND_OVER_SECONDS = MetricSpec(
    name="shoal_hand_over_seconds",
    kind="histogram",
    text="Time for which writes of a shard waited while this worker handed it over to another one.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
MEMORY_BUDGET = MetricSpec(
    name="shoal_memory_budget_bytes", kind="gauge", text="Memory that the replicas and builds of this worker may use."
)
MEMORY_USED = MetricSpec(
    name="shoal_memory_used_bytes", kind="gauge", text="Memory that they use, with what is kept for writes under way and the next build."
)
REPLICA_BYTES = MetricSpec(
    name="shoal_replica_bytes", kind="gauge", text="Memory that one replica holds, with the caches of its store.", labels=_SHARD
)
CACHE_BYTES = MetricSpec(
    name="shoal_cache_bytes", kind="gauge", text="Memory of the caches of filtered searches, which is not part of that budget."
)
IN_SYNC = MetricSpec(
    name="shoal_replicas_in_sync", kind="gauge", text="Replicas in the in-sync set of a shard whose primary is here.", labels=_SHARD
)
RECORDS_BEHIND = MetricSpec(
    name="shoal_records_behind",
    kind="gauge",
    text="Records that the last of a shard's other replicas still lacks, known where its primary is.",
    labels=_SHARD,
)
DISK_USED = MetricSpec(name="shoal_disk_used_ratio", kind="gauge", text="Part of the data folder's file system that is in use, 0 to 1.")

GATHERED = (
    POINTS,
    GROWING_ROWS,
    SEALED_ROWS,
    SEGMENTS,
    DISK_BYTES,
    MEMORY_BYTES,
    BUILDS_PENDING,
    WRITES_PENDING,
    SHARDS_FAILED,
    BUILDS_RUNNING,
    READS_UNDER_WAY,
    MEMORY_BUDGET,
    MEMORY_USED,
    REPLICA_BYTES,
    CACHE_BYTES,
    IN_SYNC,
    RECORDS_BEHIND,
    DISK_USED,
    LEASE_AGE_SECONDS,
    STORE_CONNECTED,
)
"""Read only when the metrics are requested."""

WORKER_METRICS = (*GATHERED, BUILDS, BUILD_SECONDS, LOG_FLUSH_SECONDS, HAND_OVER_SECONDS)
"""All metrics of a worker."""

_ROLE = ("worker",)


def shard_samples(host: Host) -> Iterable[Sample]:
    """Yield the samples of the open replicas. Any thread may call it."""
    held = host.memory.replica_bytes()
    for replica in list(host.open.values()):
        stats = replica.stats_now()
        labels = (replica.collection_name, str(stats.shard.number))
        values = (
            (POINTS, stats.points),
            (GROWING_ROWS, stats.growing_rows),
            (SEALED_ROWS, stats.sealed_rows),
            (SEGMENTS, stats.segments),
            (DISK_BYTES, stats.bytes),
            (MEMORY_BYTES, stats.memory_bytes),
            (BUILDS_PENDING, stats.builds_pending),
            (WRITES_PENDING, replica.writes_pending),
            (REPLICA_BYTES, held.get(stats.shard, 0)),
        )
        yield from (Sample(metric, value, labels) for metric, value in values)
        replication = replica.replication_now()
        if replication is not None:
            yield Sample(IN_SYNC, replication[0], labels)
            yield Sample(RECORDS_BEHIND, replication[1], labels)


def worker_samples(
    *, host: Host, pools: Pools, membership: Membership, connected: bool, cache_bytes: int, disk_used: float | None
) -> Iterable[Sample]:
    """Yield the samples of the whole worker. Any thread may call it.

    cache_bytes: of caches of filtered searches; disk_used: as last measured, None before the first measurement.
    """
    yield Sample(SHARDS_FAILED, len(host.failures()))
    yield Sample(BUILDS_RUNNING, pools.builds_running)
    yield Sample(READS_UNDER_WAY, pools.reads_under_way)
    yield Sample(MEMORY_BUDGET, host.memory.budget_bytes)
    yield Sample(MEMORY_USED, host.memory.used_bytes)
    yield Sample(CACHE_BYTES, cache_bytes)
    yield Sample(STORE_CONNECTED, connected, _ROLE)
    age_s = membership.lease_age_s()
    if age_s is not None:
        yield Sample(LEASE_AGE_SECONDS, age_s, _ROLE)
    if disk_used is not None:
        yield Sample(DISK_USED, disk_used)
