"""The order in which the workers of pytest-xdist run the tests: one worker computes, the others wait for clusters.

Waiting tests leave the processor to computing ones, so two cores have work for three workers. A worker that has run all
tests of its own kind helps with the rest, so that all workers end together. Tests of one file stay together and in
order, because they share fixtures. The longest tests begin first.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

COMPUTING = (
    "tests/unit",
    "tests/house",
    "tests/simulation",
    "tests/integration/test_damage.py",
    "tests/integration/test_giving_back.py",
    "tests/integration/test_kill_points.py",
    "tests/integration/test_memory_promise.py",
    "tests/integration/test_recall_targets.py",
)
"""Folders and files whose tests compute; all others wait. tests/contract waits: 12 of its 120 seconds are computing."""

RAY_NODES = "several Ray nodes"
ONE_AFTER_ANOTHER = {"tests/integration/test_ray_supervision.py": RAY_NODES, "tests/integration/test_ray_builds.py": RAY_NODES}
"""Files that must not run at the same time: Ray writes one file for the whole machine. One worker runs them all."""

LONGEST = (
    RAY_NODES,
    "tests/integration/test_failover.py",
    "tests/integration/test_chaos_short.py",
    "tests/integration/test_local_cluster.py",
    "tests/integration/test_drain_live.py",
    "tests/integration/test_rebalance_live.py",
    "tests/integration/test_survives.py",
    "tests/integration/test_filters_live.py",
    "tests/integration/test_local_signals.py",
    "tests/contract/transports/test_answers.py",
    "tests/integration/test_given_ray.py",
    "tests/integration/test_ray_data.py",
    "tests/integration/test_text_fields_live.py",
    "tests/integration/test_kill_matrix.py",
    "tests/integration/test_left_callers.py",
    "tests/integration/test_index_live.py",
    "tests/integration/test_async_client.py",
    "tests/contract/store/test_etcd_faults.py",
    "tests/integration/test_updates_live.py",
    "tests/contract/store/test_lease_keeper_on_etcd.py",
    "tests/integration/test_knowledge_base.py",
    "tests/integration/test_images.py",
    "tests/integration/test_text_agreement.py",
    "tests/integration/test_coordinator_process.py",
    "tests/integration/test_secured_and_measured.py",
    "tests/integration/test_standby.py",
    "tests/integration/test_grouped_searches.py",
    "tests/integration/test_disk_full.py",
    "tests/integration/test_import_command.py",
    "tests/integration/test_process_errors.py",
    "tests/integration/test_kill_points.py",
    "tests/integration/test_memory_promise.py",
    "tests/simulation/test_scripts.py",
    "tests/simulation/test_seeds.py",
    "tests/house/test_wheel.py",
    "tests/integration/test_giving_back.py",
    "tests/unit/shard_worker/hosting/test_texts_search.py",
    "tests/integration/test_recall_targets.py",
    "tests/unit/shard_worker/index/search/test_approximate.py",
    "tests/unit/shard_worker/storage/log/test_log_truncation.py",
    "tests/unit/shard_worker/tuning/test_recall_promise.py",
    "tests/unit/shard_worker/replica/test_texts_of_learners.py",
    "tests/unit/shard_worker/replica/test_replication.py",
    "tests/unit/shard_worker/tuning/test_recall_holds.py",
    "tests/unit/shard_worker/index/search/test_search.py",
    "tests/house/test_references.py",
    "tests/unit/shard_worker/replica/test_text_replicas.py",
    "tests/unit/shoal/core/test_fitting.py",
    "tests/unit/shard_worker/storage/folders/test_snapshot_import.py",
    "tests/integration/test_damage.py",
    "tests/unit/shard_worker/storage/log/test_opening.py",
    "tests/unit/shard_worker/tuning/test_calibrate.py",
)
"""Units that take longest, the longest of each kind first."""

COMPUTING_WORKER = "gw0"


def next_unit(units: Sequence[str], *, waits: bool) -> str:
    """Return the unit that a worker runs next. units: those not begun, at least one; waits: the worker prefers tests
    that wait.

    A worker that finds none of its own kind takes one of the other kind.
    """
    own = [unit for unit in units if computes(unit) != waits] or units
    return min(own, key=lambda unit: LONGEST.index(unit) if unit in LONGEST else len(LONGEST))


def computes(unit: str) -> bool:
    """Return whether the tests of a unit compute."""
    return any(unit == path or unit.startswith(f"{path}/") for path in COMPUTING)


def unit_of(test: str) -> str:
    """Return the unit of a test: its file, or the group of its file. test: its id in pytest."""
    file = test.split("::", 1)[0]
    return ONE_AFTER_ANOTHER.get(file, file)


class Lanes(LoadFileScheduling):  # type: ignore[misc]
    """Scheduler of pytest-xdist that chooses by next_unit."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        chosen = next_unit(tuple(self.workqueue), waits=node.gateway.id != COMPUTING_WORKER)
        self.workqueue.move_to_end(chosen, last=False)
        super()._assign_work_unit(node)
