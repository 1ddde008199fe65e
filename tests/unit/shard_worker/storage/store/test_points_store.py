import sqlite3
import threading
from contextlib import contextmanager

import numpy as np
import pytest

from shoal.core.errors import DataLoss, DeadlineExceeded, Internal, PreconditionFailed, ResourceExhausted, Unavailable
from shoal.core.filter import In
from shoal.core.ids import ClusterId, ReplicaId, RequestId, Seq
from shoal.core.point_change import DeletePayload, PointUpdate, SetPayload, UpdateVectors
from shoal.core.points import id_array
from shoal.shard_worker.logic.replication.request_memory import Remembered
from shoal.shard_worker.storage.failure import DiskFull, StorageFailed
from shoal.shard_worker.storage.store import points_reading
from shoal.shard_worker.storage.store.mutation import ChangeRows, Noop, PutRows
from shoal.shard_worker.storage.store.points_store import PointsStore, StoreSettings
from shoal.shard_worker.storage.store.small_tables import SegmentEntry
from tests.support.worker.storage_parts import CLUSTER, DIM, REPLICA, columns, delete, new_store, open_store, upsert


@pytest.fixture
def store(tmp_path):
    opened = new_store(tmp_path)
    yield opened
    opened.close()


def get_ids(store, ids):
    array = np.empty(len(ids), dtype=object)
    array[:] = ids
    return store.get(array, with_vectors=False, with_payloads=False).ids.tolist()


def test_a_new_store_is_empty(store):
    assert (store.count(), store.applied_seq, store.next_row, store.dim) == (0, 0, 1, DIM)
    assert len(store.live_rows().rows) == 0
    assert (store.requests(), store.segments()) == ([], [])
    found = store.scroll(None, 10, with_vectors=True, with_payloads=True)
    assert (len(found), found.vectors.shape, found.payloads) == (0, (0, DIM), ())


def test_points_are_given_back_as_they_came(store):
    given = columns([7, "7", -1, "ä", 2**63 - 1], payloads=[b'{"a":1}', None, b"{}", None, b'{"b":"\xc3\xa4"}'])
    (change,) = store.apply([PutRows(seq=Seq(1), columns=given)])
    assert (change.seq, change.killed_rows.tolist(), change.rows.tolist(), change.affected) == (1, [], [1, 2, 3, 4, 5], 5)
    asked = np.array(["ä", 7, "missing", 2**63 - 1, "7", 8, 7], dtype=object)
    found = store.get(asked, with_vectors=True, with_payloads=True)
    assert found.ids.tolist() == ["ä", 7, 2**63 - 1, "7", 7]
    assert found.vectors.tolist() == given.vectors[[3, 0, 4, 1, 0]].tolist()
    assert found.payloads == (None, b'{"a":1}', b'{"b":"\xc3\xa4"}', None, b'{"a":1}')
    narrow = store.get(asked, with_vectors=False, with_payloads=False)
    assert (narrow.vectors, narrow.payloads) == (None, None)


def test_an_empty_payload_is_not_a_missing_one(store):
    store.apply([PutRows(seq=Seq(1), columns=columns([1, 2], payloads=[b"", None]))])
    assert store.get(np.array([1, 2]), with_vectors=False, with_payloads=True).payloads == (b"", None)


def test_an_upsert_kills_the_old_row_and_takes_a_new_one(store):
    store.apply([upsert(1, [1, 2, 3])])
    (change,) = store.apply([upsert(2, [3, 9, 1], salt=5)])
    assert (change.killed_rows.tolist(), change.rows.tolist(), change.affected) == ([1, 3], [4, 5, 6], 3)
    live = store.live_rows()
    assert (live.rows.tolist(), live.ids.tolist()) == ([2, 4, 5, 6], [2, 3, 9, 1])
    assert (store.count(), store.next_row, store.applied_seq) == (4, 7, 2)


def test_row_numbers_are_never_used_twice_not_even_the_last_one(tmp_path):
    store = new_store(tmp_path)
    store.apply([upsert(1, [1, 2]), delete(2, [2])])
    store.close()
    again = open_store(tmp_path)
    (change,) = again.apply([upsert(3, [3])])
    assert change.rows.tolist() == [3]
    again.close()


def test_a_group_sees_its_own_earlier_mutations(store):
    changes = store.apply([upsert(1, [1, 2]), upsert(2, [2, 3]), delete(3, [1, 3, 99]), Noop(seq=Seq(4)), upsert(5, [1])])
    assert [change.killed_rows.tolist() for change in changes] == [[], [2], [1, 4], [], []]
    assert [change.rows.tolist() for change in changes] == [[1, 2], [3, 4], [], [], [5]]
    assert [change.affected for change in changes] == [2, 2, 2, 0, 1]
    assert [change.seq for change in changes] == [1, 2, 3, 4, 5]
    assert sorted(store.live_rows().ids.tolist()) == [1, 2]


def test_more_ids_than_fit_into_one_statement(store):
    ids = list(range(1300))
    store.apply([upsert(1, ids)])
    (change,) = store.apply([upsert(2, ids, salt=1)])
    assert change.killed_rows.tolist() == list(range(1, 1301))
    assert get_ids(store, ids[::-1]) == ids[::-1]
    (gone,) = store.apply([delete(3, ids[:1025])])
    assert gone.affected == 1025
    assert store.count() == 275


def test_everything_is_there_after_reopening(tmp_path):
    store = new_store(tmp_path)
    store.apply([upsert(1, [1, "a"], request=RequestId("client", 4)), Noop(seq=Seq(2))])
    entry = SegmentEntry(name="s1.faiss", size_bytes=9, sha256="ab", rows=2, applied_seq=Seq(2))
    store.replace_segments([entry], [])
    before = store.scroll(None, 10, with_vectors=True, with_payloads=True)
    store.close()
    again = open_store(tmp_path)
    after = again.scroll(None, 10, with_vectors=True, with_payloads=True)
    assert (after.ids.tolist(), after.vectors.tolist(), after.payloads) == (before.ids.tolist(), before.vectors.tolist(), before.payloads)
    assert (again.count(), again.applied_seq, again.next_row, again.segments()) == (2, 2, 3, [entry])
    assert again.requests() == [Remembered(request_id=RequestId("client", 4), seq=Seq(1), affected=2, time_ms=1_700_000_000_000)]
    again.close()


def test_a_mutation_out_of_order_is_refused_and_the_whole_group_with_it(store):
    store.apply([upsert(1, [1])])
    for group in ([upsert(1, [2])], [upsert(3, [2])], [upsert(2, [2]), upsert(4, [3])]):
        with pytest.raises(Internal, match="cannot be applied after"):
            store.apply(group)
    assert (store.count(), store.applied_seq, get_ids(store, [1, 2, 3])) == (1, 1, [1])
    store.apply([upsert(2, [2])])
    assert (store.next_row, store.count()) == (3, 2)


def test_columns_that_do_not_fit_are_refused_with_their_group(store):
    wrong = [
        (PutRows(seq=Seq(2), columns=columns([1], dim=DIM + 1)), r"vectors of shape \(1, 4\), the store needs \(1, 3\)"),
        (PutRows(seq=Seq(2), columns=columns([1, 2], payloads=[None])), "has 1 payloads for 2 points"),
        (PutRows(seq=Seq(2), columns=columns([1, 2, 1])), "gives an id twice"),
    ]
    for mutation, message in wrong:
        with pytest.raises(Internal, match=message):
            store.apply([upsert(1, [5]), mutation])
    assert (store.count(), store.applied_seq) == (0, 0)


def change(seq, ids, what, filter=None):
    return ChangeRows(seq=Seq(seq), update=PointUpdate(ids=id_array(ids), change=what, filter=filter))


def test_each_update_of_a_group_sees_what_the_mutations_before_it_made(store):
    """A point that is written, changed, removed, written again and changed again in one group ends as one at a time."""
    group = [
        PutRows(seq=Seq(1), columns=columns([1, 2], payloads=[b'{"a":0}', None])),
        change(2, [1, 2, 3], SetPayload(b'{"a":1,"b":1}')),
        delete(3, [1]),
        change(4, [1, 2], SetPayload(b'{"a":2}'), In(("b",), (1,))),
        PutRows(seq=Seq(5), columns=columns([1], salt=9.0, payloads=[b'{"c":1}'])),
        change(6, [2, 1], DeletePayload((("b",), ("c",)))),
        change(7, [1, 2], UpdateVectors(np.full((2, DIM), 7.0, dtype=np.float32)), In(("a",), (2,))),
    ]
    changes = store.apply(group)
    assert [(each.killed_rows.tolist(), each.rows.tolist(), each.affected) for each in changes] == [
        ([], [1, 2], 2),
        ([1, 2], [3, 4], 2),
        ([3], [], 1),
        ([4], [5], 1),
        ([], [6], 1),
        ([5, 6], [7, 8], 2),
        ([7], [9], 1),
    ]
    assert [None if each.written is None else each.written.ids.tolist() for each in changes] == [
        [1, 2],
        [1, 2],
        None,
        [2],
        [1],
        [2, 1],
        [2],
    ]
    found = store.get(id_array([1, 2, 3]), with_vectors=True, with_payloads=True)
    assert (found.ids.tolist(), found.payloads) == ([1, 2], (b"{}", b'{"a":2}'))
    assert found.vectors[:, 0].tolist() == [9.0, 7.0]
    assert changes[-1].written.payloads == (b'{"a":2}',)


def test_an_update_whose_parts_do_not_fit_is_refused_with_its_group(store):
    wrong = [
        (change(2, [1, 2, 1], SetPayload(b"{}")), "update 2 gives an id twice"),
        (change(2, [1], UpdateVectors(np.zeros((2, DIM), dtype=np.float32))), r"vectors of shape \(2, 3\), it needs \(1, 3\)"),
        (change(2, [1], UpdateVectors(np.zeros((1, DIM + 1), dtype=np.float32))), r"vectors of shape \(1, 4\), it needs \(1, 3\)"),
    ]
    for mutation, message in wrong:
        with pytest.raises(Internal, match=message):
            store.apply([upsert(1, [5]), mutation])
    assert (store.count(), store.applied_seq) == (0, 0)


def test_requests_are_remembered_with_what_they_did_and_forgotten_on_demand(store):
    store.apply([upsert(1, [1, 2], request=RequestId("a", 1)), delete(2, [1, 5], request=RequestId("b", 7))])
    store.apply([upsert(3, [3], request=RequestId("a", 2)), upsert(4, [4], request=RequestId("a", 3))])
    assert [(str(each.request_id), each.seq, each.affected) for each in store.requests()] == [
        ("a#1", 1, 2),
        ("b#7", 2, 1),
        ("a#2", 3, 1),
        ("a#3", 4, 1),
    ]
    store.apply([], forget=[("a", 2)])
    assert [str(each.request_id) for each in store.requests()] == ["b#7", "a#3"]
    store.apply([upsert(5, [5], request=RequestId("b", 8))], forget_clients=["b", "nobody"])
    assert [str(each.request_id) for each in store.requests()] == ["a#3", "b#8"]


def test_scrolling_goes_through_all_ids_in_order(store):
    ids = [5, -3, "b", 10, "10", "a", 2**62, "ä", "Z", 0]
    store.apply([upsert(1, ids)])
    seen, after = [], None
    while True:
        page = store.scroll(after, 3, with_vectors=False, with_payloads=False)
        if not len(page):
            break
        assert len(page) <= 3
        seen += page.ids.tolist()
        after = seen[-1]
    assert seen == [-3, 0, 5, 10, 2**62, "10", "Z", "a", "b", "ä"]


def test_rows_are_read_by_number_and_missing_ones_are_marked(store):
    store.apply([upsert(1, [1, 2, 3]), delete(2, [2])])
    found = store.rows(np.array([3, 2, 1, 77, 3]), with_vectors=True, with_payloads=True)
    assert found.found.tolist() == [True, False, True, False, True]
    assert found.columns.ids.tolist() == [3, 1, 3]
    assert found.columns.vectors.shape == (3, DIM)
    assert found.columns.payloads == (b'{"salt":0.0}', b'{"salt":0.0}', b'{"salt":0.0}')


def test_vectors_are_read_in_pieces(store, monkeypatch):
    monkeypatch.setattr("shoal.shard_worker.storage.store.points_store._VECTOR_CHUNK_BYTES", 4 * DIM * 4)
    given = columns(list(range(11)))
    store.apply([PutRows(seq=Seq(1), columns=given)])
    rows = store.live_rows().rows[::-1]
    assert store.vectors_of(rows).tolist() == given.vectors[::-1].tolist()
    assert store.vectors_of(rows[:0]).shape == (0, DIM)
    with pytest.raises(DataLoss, match="row 99 does not exist"):
        store.vectors_of(np.array([1, 2, 3, 4, 5, 99]))


def test_segment_names_are_replaced_in_one_step(store):
    entries = [SegmentEntry(name=name, size_bytes=1, sha256="00", rows=1, applied_seq=Seq(0)) for name in ("a", "b", "c")]
    store.replace_segments(entries[:2], [])
    store.replace_segments(entries[2:], ["a"])
    assert [each.name for each in store.segments()] == ["b", "c"]
    with pytest.raises(Internal, match="b is already named"):
        store.replace_segments([entries[0], entries[1]], [])
    with pytest.raises(Internal, match="a is not named"):
        store.replace_segments([], ["b", "a"])
    assert [each.name for each in store.segments()] == ["b", "c"]


def test_a_checkpoint_says_what_is_durable(store):
    store.apply([upsert(1, [1, 2])])
    assert store.wal_bytes > 0
    assert store.checkpoint() == 1
    assert store.wal_bytes == 0
    store.apply([upsert(2, [3])])
    assert store.checkpoint() == 2


def test_what_a_checkpoint_called_durable_is_in_the_database_file_alone(tmp_path):
    store = new_store(tmp_path)
    store.apply([upsert(1, [1, 2])])
    store.checkpoint()
    store.apply([upsert(2, [3])])
    elsewhere = tmp_path / "copy"
    elsewhere.mkdir()
    (elsewhere / "store.db").write_bytes((tmp_path / "store.db").read_bytes())
    store.close()
    found = open_store(elsewhere)
    assert (found.applied_seq, found.count(), get_ids(found, [1, 2, 3])) == (1, 2, [1, 2])
    found.close()


@contextmanager
def another_reader(folder):
    """Hold the present state of the store: a read begins and does not end within the context."""
    connection = sqlite3.connect(folder / "store.db", isolation_level=None)
    try:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM points").fetchone()
        yield
    finally:
        connection.close()


def test_a_checkpoint_that_a_read_of_an_older_state_holds_up_calls_nothing_new_durable(tmp_path):
    store = new_store(tmp_path, settings=StoreSettings(readers=2, checkpoint_wait_s=0.05))
    store.apply([upsert(1, [1])])
    assert store.checkpoint() == 1
    store.apply([upsert(2, [2])])
    with another_reader(tmp_path):
        store.apply([upsert(3, [3])])
        assert store.checkpoint() == 1
    assert store.checkpoint() == 3
    store.close()


def test_a_read_of_the_newest_state_keeps_a_checkpoint_only_from_giving_room_back(tmp_path):
    store = new_store(tmp_path)
    store.apply([upsert(1, [1])])
    with another_reader(tmp_path):
        assert store.checkpoint() == 1
        assert store.wal_bytes > 0
    assert store.checkpoint() == 1
    assert store.wal_bytes == 0
    store.close()


def test_reads_go_on_beside_the_writer_and_see_whole_groups(tmp_path):
    store = new_store(tmp_path)
    ids = list(range(40))
    store.apply([upsert(1, ids, salt=1.0)])
    done = threading.Event()
    mixed, failures, reads = [], [], []

    def read() -> None:
        try:
            while not done.is_set():
                found = store.get(np.array(ids), with_vectors=True, with_payloads=False)
                salts = set((found.vectors[:, 0] - np.arange(len(found))).tolist())
                if len(found) != len(ids) or len(salts) != 1:
                    mixed.append(salts)
                reads.append(1)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    seq = 1
    while seq < 60 or (len(reads) < 60 and not failures):
        seq += 1
        store.apply([upsert(seq, ids, salt=float(seq))])
        if seq % 10 == 0:
            store.checkpoint()
    done.set()
    for thread in threads:
        thread.join()
    assert (mixed, failures) == ([], [])
    assert len(reads) >= 60
    store.close()


def test_readers_are_bounded(tmp_path):
    store = new_store(tmp_path, settings=StoreSettings(readers=1, read_wait_s=0.02))
    with store._opened().readers.snapshot(), pytest.raises(ResourceExhausted, match=r"all 1 read connections were busy for 0\.02 s"):
        store.requests()
    assert store.requests() == []
    with store._opened().readers.snapshot(), pytest.raises(Unavailable, match=r"a read still runs after 0\.02 s"):
        store._opened().readers.close()


def test_a_closed_store_answers_nothing(tmp_path):
    store = new_store(tmp_path)
    store.close()
    store.close()
    for use in (store.requests, store.checkpoint, lambda: store.apply([upsert(1, [1])])):
        with pytest.raises(Unavailable, match="is closed"):
            use()


def test_after_a_failed_write_the_store_takes_nothing_more(tmp_path):
    store = new_store(tmp_path)
    store.apply([upsert(1, [1])])
    pages = store._opened().writer.execute("PRAGMA page_count").fetchone()[0]
    store._opened().writer.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(DiskFull, match="disk full"):
        store.apply([upsert(2, list(range(5000)))])
    with pytest.raises(DiskFull, match="takes nothing more, an earlier write failed"):
        store.apply([upsert(2, [2])])
    with pytest.raises(StorageFailed, match="takes nothing more"):
        store.checkpoint()
    assert get_ids(store, [1, 2]) == [1]
    store.close()
    again = open_store(tmp_path)
    assert (again.applied_seq, again.count()) == (1, 1)
    again.apply([upsert(2, [2])])
    again.close()


def test_another_cluster_or_replica_or_a_newer_format_is_refused(tmp_path):
    new_store(tmp_path).close()
    path = tmp_path / "store.db"
    with pytest.raises(PreconditionFailed, match="belongs to cluster cluster-a"):
        PointsStore.open(path, cluster_id=ClusterId("cluster-b"), replica_id=REPLICA)
    with pytest.raises(PreconditionFailed, match="belongs to replica replica-a, not to replica-b"):
        PointsStore.open(path, cluster_id=CLUSTER, replica_id=ReplicaId("replica-b"))


def test_a_newer_format_is_refused(tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr("shoal.shard_worker.storage.store.meta_table.STORE_FORMAT", 2)
        PointsStore.create(tmp_path / "store.db", cluster_id=CLUSTER, replica_id=REPLICA, dim=DIM)
    with pytest.raises(PreconditionFailed, match="has format 2, this program knows formats up to 1"):
        open_store(tmp_path)


def test_a_path_with_special_characters(tmp_path):
    folder = tmp_path / "a b?c#d%20"
    folder.mkdir()
    store = new_store(folder)
    store.apply([upsert(1, [1])])
    store.close()
    assert sorted(path.name for path in folder.iterdir()) == ["store.db"]


def test_the_settings_that_durability_rests_on(store):
    assert store._opened().writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store._opened().writer.execute("PRAGMA synchronous").fetchone() == (1,)
    assert store._opened().writer.execute("PRAGMA wal_autocheckpoint").fetchone() == (0,)
    assert store._opened().writer.execute("PRAGMA page_size").fetchone() == (16384,)
    with store._opened().readers.snapshot() as connection, pytest.raises(sqlite3.OperationalError, match="readonly"):
        connection.execute("DELETE FROM points")


def test_a_page_is_read_in_pieces_and_any_read_ends_between_two(store, monkeypatch):
    ids = [*range(-20, 20), *(f"s{number:02}" for number in range(40))]
    store.apply([upsert(1, ids)])
    looks = []
    monkeypatch.setattr(points_reading, "_PAGE_ROWS", 7)
    for after, limit in ((None, 100), (None, 33), (5, 50), ("s05", 7), ("s39", 7)):
        following = ids if after is None else ids[ids.index(after) + 1 :]
        page = store.scroll(after, limit, with_vectors=True, with_payloads=True, check=lambda: looks.append(1))
        assert page.ids.tolist() == following[:limit]
        assert len(page.vectors) == len(page.payloads) == len(page)
    assert len(looks) >= 100 // 7 + 33 // 7

    def end():
        raise DeadlineExceeded("nobody waits")

    for read in (
        lambda: store.scroll(None, 5, with_vectors=False, with_payloads=False, check=end),
        lambda: store.get(np.array([1]), with_vectors=False, with_payloads=False, check=end),
    ):
        with pytest.raises(DeadlineExceeded):
            read()
