from __future__ import annotations

import asyncio

import pytest

from shoal.core.cluster_map import ClusterMap
from shoal.core.deadline import Deadline
from shoal.core.errors import Unavailable
from shoal.core.ids import Revision
from shoal.router.cluster.view import MapView, wait_until

FOREVER_S = 3_600.0


def cluster(revision: int) -> ClusterMap:
    return ClusterMap(revision=Revision(revision))


def test_there_is_no_map_before_the_first() -> None:
    async def ask() -> None:
        view = MapView()
        with pytest.raises(Unavailable, match="etcd has not answered"):
            _ = view.current
        view.publish(cluster(1))
        assert view.current.revision == 1

    asyncio.run(ask())


def test_the_first_map_is_waited_for() -> None:
    async def wait() -> None:
        view = MapView()
        waiting = asyncio.create_task(view.wait_for_first())
        await asyncio.sleep(0)
        assert not waiting.done()
        view.publish(cluster(1))
        await waiting
        await view.wait_for_first()

    asyncio.run(wait())


def test_the_same_map_again_wakes_nobody() -> None:
    async def wait() -> None:
        view, first = MapView(), cluster(1)
        view.publish(first)
        waiting = asyncio.create_task(view.wait_for_change(first, FOREVER_S))
        await asyncio.sleep(0)
        view.publish(first)
        await asyncio.sleep(0)
        assert not waiting.done()
        view.publish(cluster(1))
        await waiting

    asyncio.run(wait())


def test_a_new_map_wakes_all_who_wait() -> None:
    async def wait() -> None:
        view = MapView()
        view.publish(cluster(1))
        waiting = [asyncio.create_task(view.wait_for_change(view.current, FOREVER_S)) for _ in range(3)]
        await asyncio.sleep(0)
        assert not any(each.done() for each in waiting)
        view.publish(cluster(2))
        await asyncio.gather(*waiting)

    asyncio.run(wait())


def test_a_map_that_came_before_the_wait_is_not_missed() -> None:
    async def wait() -> None:
        view = MapView()
        view.publish(cluster(1))
        seen = view.current
        view.publish(cluster(2))
        await view.wait_for_change(seen, FOREVER_S)

    asyncio.run(wait())


def test_a_wait_ends_with_its_time() -> None:
    async def wait() -> None:
        view = MapView()
        view.publish(cluster(1))
        await view.wait_for_change(view.current, 0.001)
        assert view.current.revision == 1

    asyncio.run(wait())


def test_wait_until_passes_over_maps_that_do_not_hold() -> None:
    async def wait() -> bool:
        view = MapView()
        view.publish(cluster(1))
        waiting = asyncio.create_task(wait_until(view, lambda newest: newest.revision >= 3, Deadline(lambda: 0.0, FOREVER_S)))
        for revision in (2, 3):
            await asyncio.sleep(0)
            assert not waiting.done()
            view.publish(cluster(revision))
        return await waiting

    assert asyncio.run(wait())


def test_wait_until_ends_without_success_when_its_time_has_passed() -> None:
    async def wait() -> bool:
        view = MapView()
        view.publish(cluster(1))
        return await wait_until(view, lambda _: False, Deadline(lambda: 5.0, 5.0))

    assert not asyncio.run(wait())
