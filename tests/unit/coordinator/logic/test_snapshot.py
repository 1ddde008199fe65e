from __future__ import annotations

import uuid

from shoal.coordinator.logic.snapshot import new_cluster_id, new_replica_id
from shoal.core.ids import CollectionId, ShardId, WorkerId


def test_new_ids_are_uuids_that_depend_on_everything_they_are_made_of() -> None:
    made = [
        new_replica_id(seed, ShardId(CollectionId(collection), number), WorkerId(worker))
        for seed in ("s", "t")
        for collection in ("c", "d")
        for number in (0, 1)
        for worker in ("v", "w")
    ]
    assert len(set(made)) == len(made)
    assert all(str(uuid.UUID(each)) == each for each in [*made, new_cluster_id("s")])
    assert new_cluster_id("s") == new_cluster_id("s") != new_cluster_id("t")
    assert made[0] == new_replica_id("s", ShardId(CollectionId("c"), 0), WorkerId("v"))
