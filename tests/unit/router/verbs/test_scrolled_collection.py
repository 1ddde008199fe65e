"""Test that a scroll stays with its collection: it ends when another collection has the same name later."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from shoal.core.errors import NotFound
from shoal.core.ids import CollectionId, Revision, ShardId
from shoal.core.replies import Page
from shoal.core.requests import Scroll
from tests.twins.cluster import TwinCluster
from tests.unit.router.verbs.test_reads import loaded


def scroll_after(cluster: TwinCluster, collection_id: str) -> Page:
    return asyncio.run(cluster.router.reads.scroll(Scroll(collection="a", after=1, collection_id=collection_id), 5.0))


def test_a_scroll_says_whose_points_it_gives_and_ends_when_another_collection_has_the_name() -> None:
    cluster = loaded([1, 2], shards=1)
    assert scroll_after(cluster, "").collection_id == "id-a"
    assert scroll_after(cluster, "id-a").points.ids.tolist() == [2]
    assert cluster.names.asked == []
    with pytest.raises(NotFound, match=r"'a' was dropped, and made anew, while it was scrolled; begin the scroll again") as caught:
        scroll_after(cluster, "id-of-before")
    assert caught.value.details.field == "collection"
    assert cluster.names.asked == ["a"]


def test_a_view_that_lags_behind_the_page_before_catches_up_instead_of_ending_the_scroll() -> None:
    cluster = loaded([1, 2], shards=1)
    newer = dataclasses.replace(cluster.view.current.collections["id-a"], id=CollectionId("id-new"))
    entries = {
        ShardId(newer.id, shard.number): dataclasses.replace(entry, config=dataclasses.replace(entry.config, shard=ShardId(newer.id, 0)))
        for shard, entry in cluster.view.current.shards.items()
    }
    for worker in cluster.workers.values():
        worker.shards |= {ShardId(newer.id, shard.number): held for shard, held in worker.shards.items()}
    cluster.names.taken["a"] = Revision(cluster.view.current.revision + 1)
    cluster.view.events = [lambda: cluster.change(collections={newer.id: newer}, shards=entries)]
    assert scroll_after(cluster, "id-new").points.ids.tolist() == [2]
