from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shoal.core.errors import Internal
from shoal.shard_worker.text import sealed as sealed_module
from shoal.shard_worker.text.indexing import IndexedText, table_of
from shoal.shard_worker.text.sealed import TextMerge, write_anew
from shoal.shard_worker.text.text_file import read_texts
from tests.unit.shard_worker.text.letters import content, part_of, text

TEXTS = [f"w{number % 7} all x{number}" for number in range(60)]


def batches(size: int) -> list[dict[str, list[IndexedText]]]:
    return [{"body": [text(each) for each in TEXTS[start : start + size]]} for start in range(0, len(TEXTS), size)]


def test_rows_of_a_part_of_several_tables_are_merged_in_order(tmp_path: Path) -> None:
    part = part_of(TEXTS, batch=13)
    rows = np.array([0, 5, 12, 13, 40, 59])
    merge = TextMerge([(part, rows), (part, np.array([1]))], fields=["body"], fingerprint="letters 1")
    merge.write(tmp_path / "one.text")
    table = read_texts(tmp_path / "one.text", "letters 1").field("body").tables[0]
    assert len(merge) == 7
    assert content(table) == content(table_of([text(TEXTS[row]) for row in [*rows.tolist(), 1]]))


@pytest.mark.parametrize("spill_bytes", [1, 20_000, 2**30])
def test_an_index_made_anew_is_that_of_the_texts(tmp_path: Path, spill_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed_module, "SPILL_BYTES", spill_bytes)
    assert write_anew(tmp_path / "one.text", batches(7), fields=["body"], fingerprint="f") == len(TEXTS)
    assert [path.name for path in tmp_path.iterdir()] == ["one.text"]
    table = read_texts(tmp_path / "one.text", "f").field("body").tables[0]
    assert content(table) == content(table_of([text(each) for each in TEXTS]))


def test_what_was_written_aside_is_deleted_when_making_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed_module, "SPILL_BYTES", 1)
    with pytest.raises(Internal, match="positions"):
        write_anew(tmp_path / "one.text", [*batches(30), {"body": [IndexedText(["a"], [])]}], fields=["body"], fingerprint="f")
    assert list(tmp_path.iterdir()) == []


def test_sources_of_another_kind_are_refused() -> None:
    part = part_of(["a"])
    with pytest.raises(Internal, match="'letters 1' cannot be merged into one of 'letters 2'"):
        TextMerge([(part, np.array([0]))], fields=["body"], fingerprint="letters 2")
    with pytest.raises(Internal, match="no text field 'title'"):
        TextMerge([(part, np.array([0]))], fields=["title"], fingerprint="letters 1")
    with pytest.raises(Internal, match="rows 0 to 1 are not all"):
        TextMerge([(part, np.array([0, 1]))], fields=["body"], fingerprint="letters 1")
