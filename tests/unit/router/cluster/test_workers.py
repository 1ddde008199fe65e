from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from shoal.core.errors import Unavailable
from shoal.router.cluster.view import MapView
from shoal.router.cluster.workers import Workers, tend
from tests.twins.cluster import TwinCluster, TwinWorker


def test_one_connection_serves_all_calls_on_a_worker() -> None:
    cluster = TwinCluster()
    services = [cluster.calls.service(cluster.view.current, "w0") for _ in range(3)]
    assert len({id(each) for each in services}) == 1
    assert cluster.connected == ["w0:1"]


def test_a_worker_of_this_process_is_called_itself_even_when_its_registration_has_lapsed() -> None:
    cluster, local = TwinCluster(), TwinWorker()
    workers = Workers(connect=cluster.connect, local={"w0": local})
    assert (workers.here, cluster.calls.here) == ({"w0"}, set())
    cluster.remove_worker("w0")
    assert workers.service(cluster.view.current, "w0") is local
    assert cluster.connected == []


def test_a_worker_that_is_not_registered_is_down() -> None:
    cluster = TwinCluster()
    with pytest.raises(Unavailable, match="w9 is down"):
        cluster.calls.service(cluster.view.current, "w9")


def test_connections_are_closed_when_their_worker_leaves_or_moves_and_only_then() -> None:
    cluster = TwinCluster(workers=3)
    for worker in cluster.workers:
        cluster.calls.service(cluster.view.current, worker)
    cluster.remove_worker("w0")
    moved = dataclasses.replace(cluster.view.current.workers["w1"], address="w1:2")
    cluster.change(workers={**cluster.view.current.workers, "w1": moved})
    asyncio.run(cluster.calls.keep(cluster.view.current))
    assert [worker.closed for worker in cluster.workers.values()] == [True, True, False]
    cluster.calls.service(cluster.view.current, "w1")
    assert cluster.connected == ["w0:1", "w1:1", "w2:1", "w1:2"]


@pytest.mark.parametrize("change", [{"incarnation": "another process"}, {"http_port": 7}])
def test_a_connection_is_for_one_process_and_its_ports(change: dict[str, Any]) -> None:
    cluster = TwinCluster(workers=2)
    cluster.calls.service(cluster.view.current, "w0")
    workers = cluster.view.current.workers
    cluster.change(workers={**workers, "w0": dataclasses.replace(workers["w0"], registration=9)})
    asyncio.run(cluster.calls.keep(cluster.view.current))
    assert not cluster.workers["w0"].closed
    cluster.change(workers={**workers, "w0": dataclasses.replace(workers["w0"], **change)})
    asyncio.run(cluster.calls.keep(cluster.view.current))
    assert cluster.workers["w0"].closed
    cluster.calls.service(cluster.view.current, "w0")
    assert cluster.connected == ["w0:1", "w0:1"]


def test_a_late_call_by_an_old_map_leaves_no_connection_behind() -> None:
    cluster = TwinCluster()
    old = cluster.view.current
    cluster.remove_worker("w0")
    asyncio.run(cluster.calls.keep(cluster.view.current))
    cluster.calls.service(old, "w0")
    asyncio.run(cluster.calls.keep(cluster.view.current))
    assert cluster.workers["w0"].closed


def test_close_closes_everything() -> None:
    cluster = TwinCluster()
    cluster.calls.service(cluster.view.current, "w0")
    asyncio.run(cluster.calls.close())
    assert cluster.workers["w0"].closed


def test_connections_are_tended_as_the_view_changes() -> None:
    cluster = TwinCluster()
    cluster.calls.service(cluster.view.current, "w0")

    async def watch() -> None:
        view = MapView()
        view.publish(cluster.view.current)
        tending = asyncio.create_task(tend((cluster.calls,), view))
        await asyncio.sleep(0)
        assert not cluster.workers["w0"].closed
        cluster.remove_worker("w0")
        view.publish(cluster.view.current)
        for _ in range(10):
            await asyncio.sleep(0)
        assert cluster.workers["w0"].closed
        tending.cancel()
        await asyncio.gather(tending, return_exceptions=True)

    asyncio.run(watch())
