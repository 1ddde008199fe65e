"""What operators are shown of workers: the map, the reports, drains and absences as one value for each."""

from __future__ import annotations

from collections.abc import Mapping

from shoal.coordinator.logic.reported_sizes import Statuses, capacity_of, replica_reported
from shoal.core.cluster_map import ClusterMap
from shoal.core.health import WorkerCondition
from shoal.core.ids import WorkerId
from shoal.core.operations import WorkerStanding, WorkerStandings


def standings(cluster: ClusterMap, statuses: Statuses, absent_s: Mapping[WorkerId, float], replace_after_s: float) -> WorkerStandings:
    """Return the live workers and those that hold replicas, without those that are forgotten, by id.

    absent_s: for how long each worker has been missing, in seconds. replace_after_s: when its replicas are replaced.
    """
    there = {*cluster.workers, *cluster.shards.workers} - cluster.forgotten.keys()
    each = (standing_of(cluster, statuses, absent_s, replace_after_s, worker) for worker in sorted(there))
    return WorkerStandings(workers=tuple(each), balance=cluster.balance)


def standing_of(
    cluster: ClusterMap, statuses: Statuses, absent_s: Mapping[WorkerId, float], replace_after_s: float, worker: WorkerId
) -> WorkerStanding:
    """Return one worker. Arguments as of `standings`."""
    entry, drain, placed = cluster.workers.get(worker), cluster.drains.get(worker), cluster.shards.of_worker(worker)
    told = [found for shard in placed if (found := replica_reported(statuses, worker, shard)) is not None]
    down_s = absent_s.get(worker, 0.0) if entry is None else 0.0
    waits_s = replace_after_s - down_s if entry is None and placed else 0.0
    return WorkerStanding(
        worker=worker,
        state=WorkerCondition.DOWN if entry is None else WorkerCondition.UP,
        zone="" if entry is None else entry.zone,
        drain=drain,
        replicas=len(placed),
        primaries=sum(each.config.primary_worker == worker for each in placed.values()),
        left=len(placed) if drain is not None and not drain.primaries_only else 0,
        memory_bytes=sum(each.memory_bytes for each in told),
        disk_bytes=sum(each.disk_bytes for each in told),
        memory_budget_bytes=capacity_of(entry, statuses.get(worker)),
        started_ms=0 if entry is None else entry.started_ms,
        down_s=down_s,
        replaced_in_s=waits_s if waits_s > 0 else None,
    )
