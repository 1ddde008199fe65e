"""Test that a changed bit in store.db is DataLoss and never a wrong answer."""

import random
import sqlite3

import numpy as np
import pytest

from shoal.core.errors import DataLoss
from shoal.core.ids import RequestId, Seq
from shoal.shard_worker.storage.store.small_tables import SegmentEntry
from tests.support.worker.storage_parts import new_store, open_store, upsert

IDS = [1, 2, "three", 4]


@pytest.fixture
def path(tmp_path):
    store = new_store(tmp_path)
    store.apply([upsert(1, IDS, request=RequestId("client", 1))])
    store.replace_segments([SegmentEntry(name="a.faiss", size_bytes=5, sha256="abcd", rows=4, applied_seq=Seq(1))], [])
    store.close()
    return tmp_path / "store.db"


def change(path, statement, values=()):
    connection = sqlite3.connect(path)
    with connection:
        assert connection.execute(statement, values).rowcount == 1
    connection.close()


def read_everything(folder):
    store = open_store(folder)
    try:
        live = store.live_rows()
        page = store.scroll(None, 100, with_vectors=True, with_payloads=True)
        by_id = store.get(live.ids, with_vectors=True, with_payloads=True)
        return (
            (store.applied_seq, store.next_row, store.count()),
            (live.rows.tolist(), live.ids.tolist(), store.vectors_of(live.rows).tolist()),
            (page.ids.tolist(), page.vectors.tolist(), page.payloads),
            (by_id.ids.tolist(), by_id.payloads),
            (store.requests(), store.segments()),
        )
    finally:
        store.close()


@pytest.mark.parametrize(
    ("statement", "values"),
    [
        ("UPDATE points SET payload = ? WHERE row = 1", (b'{"salt":9.0}',)),
        ("UPDATE points SET payload = NULL WHERE row = 1", ()),
        ("UPDATE points SET payload = 7 WHERE row = 1", ()),
        ("UPDATE points SET vector = ? WHERE row = 1", (np.array([9, 9, 9], dtype=np.float32).tobytes(),)),
        ("UPDATE points SET vector = 'text' WHERE row = 1", ()),
        ("UPDATE points SET seq = 2 WHERE row = 1", ()),
        ("UPDATE points SET id = '1' WHERE row = 1", ()),
        ("UPDATE points SET id = 1.5 WHERE row = 1", ()),
        ("UPDATE points SET row = 9 WHERE row = 1", ()),
        ("UPDATE points SET crc = crc + 1 WHERE row = 1", ()),
        ("UPDATE points SET id = CAST(x'ff' AS TEXT) WHERE row = 1", ()),
    ],
)
def test_a_changed_point_is_data_loss_wherever_it_is_read(path, statement, values):
    change(path, statement, values)
    store = open_store(path.parent)
    with pytest.raises(DataLoss):
        store.scroll(None, 10, with_vectors=True, with_payloads=True)
    with pytest.raises(DataLoss):
        store.rows(np.array([1, 9]), with_vectors=True, with_payloads=True)
    found = store.rows(np.array([2, 3, 4]), with_vectors=True, with_payloads=True)
    assert found.columns.ids.tolist() == [2, "three", 4]
    store.close()


@pytest.mark.parametrize(("part", "wanted"), [("payload", "with_payloads"), ("vector", "with_vectors")])
def test_each_part_is_checked_when_it_is_read_and_does_not_hide_the_other(path, part, wanted):
    """A payload is read without its vector, which is most of a row, and a vector without its payload. So each has its
    own crc.
    """
    change(path, f"UPDATE points SET {part} = x'00000000' WHERE row = 1")
    store = open_store(path.parent)
    other = {"with_payloads": "with_vectors", "with_vectors": "with_payloads"}[wanted]
    assert len(store.rows(np.array([1]), **{wanted: False, other: True}).columns) == 1
    with pytest.raises(DataLoss, match="row 1"):
        store.rows(np.array([1]), **{wanted: True, other: False})
    store.close()


@pytest.mark.parametrize("column", ["payload_crc", "vector_crc"])
def test_a_changed_crc_of_a_part_is_found_by_every_read(path, column):
    change(path, f"UPDATE points SET {column} = {column} + 1 WHERE row = 1")
    store = open_store(path.parent)
    with pytest.raises(DataLoss, match="row 1"):
        store.rows(np.array([1]), with_vectors=False, with_payloads=False)
    store.close()


def test_the_error_names_the_row_and_the_id(path):
    change(path, "UPDATE points SET seq = 2 WHERE id = 'three'")
    store = open_store(path.parent)
    with pytest.raises(DataLoss, match="the crc of row 3 \\(id 'three'\\) does not match"):
        store.get(np.array(["three"], dtype=object), with_vectors=False, with_payloads=False)
    store.checkpoint()
    store.close()


@pytest.mark.parametrize("key", ["format", "cluster_id", "replica_id", "dim", "applied_seq", "next_row", "points", "keys_sum"])
def test_a_changed_or_missing_value_in_meta_is_data_loss(path, key):
    before = path.read_bytes()
    change(path, "UPDATE meta SET value = 8 WHERE key = ?", (key,))
    with pytest.raises(DataLoss, match=f"the crc of {key} in meta does not match"):
        read_everything(path.parent)
    path.write_bytes(before)
    change(path, "DELETE FROM meta WHERE key = ?", (key,))
    with pytest.raises(DataLoss, match=f"meta holds no {key}"):
        read_everything(path.parent)


@pytest.mark.parametrize("table", ["requests", "segments"])
def test_a_changed_row_of_a_small_table_is_data_loss(path, table):
    change(path, "UPDATE requests SET affected = 9" if table == "requests" else "UPDATE segments SET sha256 = 'abce'")
    with pytest.raises(DataLoss, match=f"the crc of a row of {table} does not match"):
        read_everything(path.parent)


def test_a_row_that_is_gone_is_data_loss(path):
    change(path, "DELETE FROM points WHERE row = 2")
    with pytest.raises(DataLoss, match="the index on id does not hold the 4 points that were written"):
        read_everything(path.parent)


def test_tables_declared_otherwise_are_data_loss(path):
    original = path.read_bytes()
    assert original.count(b"payload BLOB") == 1
    path.write_bytes(original.replace(b"payload BLOB", b"payload TEXT"))
    with pytest.raises(DataLoss, match="its tables are not declared as they were created"):
        read_everything(path.parent)


def test_an_index_that_leads_to_another_row_is_data_loss(path):
    """The page of the index is taken from a store in which an id was changed. So only the index is wrong."""
    original = path.read_bytes()
    change(path, "UPDATE points SET id = 3 WHERE id = 2")
    changed = path.read_bytes()
    (root,) = sqlite3.connect(path).execute("SELECT rootpage FROM sqlite_schema WHERE name = 'points_by_id'").fetchone()
    page = slice((root - 1) * 16384, root * 16384)
    path.write_bytes(original[: page.start] + changed[page] + original[page.stop :])
    store = open_store(path.parent)
    with pytest.raises(DataLoss, match="the index on id does not hold the 4 points"):
        store.live_rows()
    with pytest.raises(DataLoss):
        store.get(np.array([3]), with_vectors=False, with_payloads=False)
    store.close()


def test_a_missing_empty_or_foreign_file_is_data_loss(path):
    for content in (b"", b"no database at all" * 1000):
        path.write_bytes(content)
        with pytest.raises(DataLoss):
            read_everything(path.parent)
    path.unlink()
    with pytest.raises(DataLoss, match="is missing"):
        read_everything(path.parent)


def test_flipped_bits_anywhere_in_the_file_never_change_an_answer(path):
    expected = read_everything(path.parent)
    original = path.read_bytes()
    chosen = random.Random(7)
    noticed = 0
    used = [at for at, byte in enumerate(original) if byte]
    for _ in range(400):
        at = chosen.choice(used)
        data = bytearray(original)
        data[at] ^= 1 << chosen.randrange(8)
        path.write_bytes(data)
        try:
            assert read_everything(path.parent) == expected
        except DataLoss:
            noticed += 1
    assert noticed > 100
