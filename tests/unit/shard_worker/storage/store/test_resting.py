"""A store at rest: no file is open, nothing is lost, and what happened to its files meanwhile is noticed."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from shoal.core.errors import DataLoss, Internal
from shoal.shard_worker.storage.failure import StorageFailed
from shoal.shard_worker.storage.store import points_store
from shoal.shard_worker.storage.store.points_store import PointsStore
from tests.support.worker.storage_parts import DIM, new_store, open_store, upsert


@pytest.fixture
def store(tmp_path):
    made = new_store(tmp_path)
    made.apply([upsert(1, [1, 2, "a"])])
    yield made
    made.close()


def files_open_below(folder: Path) -> list[str]:
    """Names of the files below a folder that this process has open."""
    targets = (os.readlink(f"/proc/self/fd/{each}") for each in os.listdir("/proc/self/fd") if os.path.islink(f"/proc/self/fd/{each}"))
    return sorted(Path(target).name for target in targets if target.startswith(str(folder)))


def at_rest(store: PointsStore) -> PointsStore:
    store.checkpoint()
    assert store.rest()
    return store


def ids_in(store: PointsStore) -> list[object]:
    return store.scroll(None, 10, with_vectors=False, with_payloads=False).ids.tolist()


def test_it_has_no_file_open_and_keeps_its_figures(store, tmp_path):
    assert files_open_below(tmp_path)
    before = (store.count(), store.applied_seq, store.next_row)
    at_rest(store)
    assert store.at_rest
    assert files_open_below(tmp_path) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store.db"]
    assert (store.count(), store.applied_seq, store.next_row) == before
    assert store.size_bytes == (tmp_path / "store.db").stat().st_size
    assert store.rest()
    store.wake()
    store.wake()
    assert not store.at_rest
    assert ids_in(store) == [1, 2, "a"]
    store.apply([upsert(2, [3])])
    assert ids_in(store) == [1, 2, 3, "a"]


def test_the_size_of_the_database_is_known_before_the_log_is_moved_into_it(store, tmp_path):
    file = tmp_path / "store.db"
    for seq in range(2, 40):
        store.apply([upsert(seq, range(100 * seq, 100 * seq + 100))])
    told = store.database_bytes
    assert told > file.stat().st_size
    assert store.size_bytes == file.stat().st_size + store.wal_bytes
    at_rest(store)
    assert told == store.database_bytes == file.stat().st_size
    store.wake()
    assert told == store.database_bytes


def test_an_open_store_has_two_connections_until_more_are_needed(store, tmp_path):
    at_rest(store).wake()
    ids_in(store)
    assert files_open_below(tmp_path).count("store.db") == 2
    with store._opened().readers.snapshot():
        ids_in(store)
        assert files_open_below(tmp_path).count("store.db") == 3


def test_what_was_written_is_moved_before_it_rests(store):
    assert not store.rest(), "its write-ahead log is not empty"
    assert not store.at_rest
    assert ids_in(store) == [1, 2, "a"]
    at_rest(store)


def test_it_does_not_rest_during_a_read_or_while_a_state_is_frozen(store):
    store.checkpoint()
    with store._opened().readers.snapshot():
        assert not store.rest()
    with store.frozen():
        assert not store.rest()
    assert ids_in(store) == [1, 2, "a"]
    assert store.rest()


def test_nothing_is_read_or_written_while_it_rests(store):
    at_rest(store)
    for use in (lambda: ids_in(store), store.requests, store.segments, store.checkpoint, lambda: store.apply([upsert(2, [3])])):
        with pytest.raises(Internal, match=r"store.db is at rest"):
            use()
    nothing = store.rows(np.empty(0, dtype=np.int64), with_vectors=True, with_payloads=True)
    assert (len(nothing.found), nothing.columns.payloads, nothing.columns.vectors.shape) == (0, (), (0, DIM))
    store.wake()
    store.apply([upsert(2, [3])])


def test_a_store_is_closed_at_rest_too(store, tmp_path):
    at_rest(store).close()
    store.close()
    again = open_store(tmp_path)
    assert ids_in(again) == [1, 2, "a"]
    again.close()


def test_a_store_that_goes_away_meanwhile_is_missing(store, tmp_path):
    at_rest(store)
    (tmp_path / "store.db").rename(tmp_path / "elsewhere")
    with pytest.raises(DataLoss, match=r"store.db is missing"):
        store.wake()
    assert store.at_rest


def test_an_older_store_put_in_its_place_is_noticed(store, tmp_path):
    older = (at_rest(store), (tmp_path / "store.db").read_bytes())[1]
    store.wake()
    store.apply([upsert(2, [3])])
    at_rest(store)
    (tmp_path / "store.db").write_bytes(older)
    with pytest.raises(DataLoss, match="was at 2 when it was closed, it is at 1 now"):
        store.wake()


def test_damage_is_noticed_when_it_wakes(store, tmp_path):
    at_rest(store)
    data = bytearray((tmp_path / "store.db").read_bytes())
    data[:100] = bytes(100)
    (tmp_path / "store.db").write_bytes(data)
    with pytest.raises(DataLoss, match="the file is damaged"):
        store.wake()


def test_a_disk_that_refuses_to_open_it_fails_it(store, monkeypatch):
    at_rest(store)

    def refuse(path, **settings):
        error = sqlite3.OperationalError("unable to open database file")
        error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(points_store, "connect_writer", refuse)
        with pytest.raises(StorageFailed, match="unable to open"):
            store.wake()
    store.wake()
    assert store.get(np.array([1]), with_vectors=False, with_payloads=False).ids.tolist() == [1]
