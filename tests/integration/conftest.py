"""Provide clusters for integration tests: one that is shared by tests that harm nothing, and a maker of clusters that a
test may harm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

import shoal
from tests.support.cluster.role_cluster import RoleCluster


@pytest.fixture(scope="session")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoleCluster]:
    with RoleCluster(tmp_path_factory.mktemp("shared"), workers=2) as cluster:
        yield cluster


@pytest.fixture
def client(shared_cluster: RoleCluster) -> Iterator[shoal.Client]:
    with shoal.connect(shared_cluster.address) as client:
        yield client


@pytest.fixture
def make_cluster(tmp_path) -> Iterator[Callable[..., RoleCluster]]:
    made: list[RoleCluster] = []

    def make(**settings: object) -> RoleCluster:
        cluster = RoleCluster(tmp_path / f"cluster-{len(made)}", **settings)
        made.append(cluster)
        cluster.start()
        return cluster

    yield make
    for cluster in made:
        cluster.stop()
