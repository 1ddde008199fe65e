"""Test the files of what was measured: they are read after a restart. A damaged file costs what was measured, never the
replica.
"""

import logging

import numpy as np
import pytest

from shoal.core.errors import DataLoss
from shoal.shard_worker.index.tuning import Tuning
from shoal.shard_worker.tuning.files import QUERIES_FILE, TABLES_FILE, Learnt, TuningFiles, read_derived, write_derived
from shoal.shard_worker.tuning.query_kinds import QueryKinds


def learnt() -> Learnt:
    tuning = Tuning.untuned(breadth_name="ef", max_breadth=900, quantised=False, rows=900, dim=2)
    return Learnt(tuning=tuning, held=7, taken=9, took_s=1.5)


def queries(count: int = 0) -> QueryKinds:
    made = QueryKinds(dim=2, seed=0)
    for number in range(count):
        made.offer(np.full((1, 2), number, dtype=np.float32))
    return made


def test_round_trip(tmp_path):
    files = TuningFiles(tmp_path / "tuning")
    assert files.load_tables() == {}
    empty = queries()
    files.load_queries(empty)
    assert empty.asked.held == 0
    files.save(queries(5).to_bytes(), {"a": learnt()})
    files.load_queries(empty)
    tables = files.load_tables()
    assert empty.asked.held == 5
    assert list(tables) == ["a"]
    assert (tables["a"].held, tables["a"].taken, tables["a"].took_s) == (7, 9, 1.5)
    assert tables["a"].tuning.breadth_for(10, 0.8) == learnt().tuning.breadth_for(10, 0.8)


@pytest.mark.parametrize("name", [QUERIES_FILE, TABLES_FILE])
def test_a_damaged_file_is_ignored_with_a_line_in_the_log(tmp_path, name, caplog):
    files = TuningFiles(tmp_path)
    files.save(queries(5).to_bytes(), {"a": learnt()})
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:-1])
    with caplog.at_level(logging.WARNING):
        restored = queries()
        files.load_queries(restored)
        tables = files.load_tables()
    assert (restored.asked.held == 0, tables == {}) == (name == QUERIES_FILE, name == TABLES_FILE)
    assert f"{tmp_path / name} is damaged" in caplog.text


@pytest.mark.parametrize("content", [b"[]", b"{", b'{"a": 1}', b'{"a": {"tuning": {}}}', b"\xff"])
def test_a_file_of_other_content_is_ignored(tmp_path, content, caplog):
    write_derived(tmp_path / TABLES_FILE, content)
    assert TuningFiles(tmp_path).load_tables() == {}
    assert "tuning_not_read" in caplog.text


def test_a_folder_that_cannot_be_written_costs_a_line_in_the_log(tmp_path, caplog):
    (tmp_path / "tuning").write_text("a file where the folder should be")
    TuningFiles(tmp_path / "tuning").save((b"", b""), {})
    assert "tuning_not_written" in caplog.text


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "new" / "file"
    assert read_derived(path) is None
    for data in (b"", b"x" * 1_000):
        write_derived(path, data)
        assert read_derived(path) == data
    assert [each.name for each in path.parent.iterdir()] == ["file"]


def test_every_flipped_bit_and_every_cut_is_noticed(tmp_path):
    path = tmp_path / "file"
    write_derived(path, b"knowledge")
    content = path.read_bytes()
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(DataLoss, match="damaged"):
            read_derived(path)
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(DataLoss, match="damaged"):
            read_derived(path)
