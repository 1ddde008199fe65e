from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shoal.core.errors import DataLoss
from shoal.shard_worker.storage.folders.segment_files import SegmentFiles
from shoal.shard_worker.text.growing import GrowingTexts
from shoal.shard_worker.text.indexing import NO_TEXT, IndexedText
from shoal.shard_worker.text.inspection import inspect_texts
from shoal.shard_worker.text.part import TextPart
from shoal.shard_worker.text.sealed import TextMerge
from shoal.shard_worker.text.text_file import MAGIC, read_texts
from tests.support.scope import LONG
from tests.unit.shard_worker.text.letters import content, text

FIELDS = ("title", "body")

STEP = 1 if LONG else 11
"""In the short form, each eleventh byte is damaged."""


def grown() -> TextPart:
    growing = GrowingTexts(FIELDS, "one")
    growing.append({"title": [text("a b a"), NO_TEXT], "body": [text("中 \ud800"), text("c")]}, 2)
    growing.append({"title": [text("b")], "body": [IndexedText(["c", "d"], [0, 2**20])]}, 1)
    return growing.part()


def merge_of(part: TextPart) -> TextMerge:
    return TextMerge([(part, np.arange(len(part)))], fields=FIELDS, fingerprint="one")


def written(tmp_path: Path) -> Path:
    path = tmp_path / "000001.text"
    merge_of(grown()).write(path)
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    part = read_texts(written(tmp_path), "one")
    assert (len(part), list(part.fields), part.fingerprint) == (3, ["title", "body"], "one")
    title, body = part.field("title").tables[0], part.field("body").tables[0]
    assert content(title)["words"] == [b"a", b"b"]
    assert content(title)["rows"] == [0, 0, 2]
    assert content(body)["positions"] == [0, 0, 2**20, 0, 1]
    assert (title.positions.dtype, body.positions.dtype) == (np.uint16, np.uint32)
    inspect_texts(part)


def test_it_is_mapped_and_may_be_unlinked(tmp_path: Path) -> None:
    path = written(tmp_path)
    part = read_texts(path, "one")
    path.unlink()
    assert not part.field("body").tables[0].rows.flags.writeable
    inspect_texts(part)


@pytest.mark.parametrize("rows", [0, 1])
def test_nothing_is_written_and_read(tmp_path: Path, rows: int) -> None:
    growing = GrowingTexts(FIELDS, "one")
    growing.append({name: [NO_TEXT] * rows for name in FIELDS}, rows)
    merge_of(growing.part()).write(tmp_path / "empty.text")
    part = read_texts(tmp_path / "empty.text", "one")
    assert (len(part), part.postings("body", "a")) == (rows, None)
    inspect_texts(part)


def test_a_file_without_fields_has_rows(tmp_path: Path) -> None:
    TextMerge([(grown(), np.arange(3))], fields=(), fingerprint="one").write(tmp_path / "bare.text")
    assert len(read_texts(tmp_path / "bare.text", "one")) == 3


def test_sections_are_aligned(tmp_path: Path) -> None:
    part = read_texts(written(tmp_path), "one")
    for field in part.fields.values():
        arrays = (getattr(field.tables[0], name) for name in ("lengths", "starts", "rows", "counts", "position_starts", "positions"))
        assert all(array.ctypes.data % 64 == 0 for array in arrays if len(array))


def test_any_flipped_byte_is_noticed_by_the_hash(tmp_path: Path) -> None:
    """As in every file of a segment: the store keeps its size and hash, and the opening and fsck compare them."""
    files = SegmentFiles(tmp_path)
    entry = files.write("000001.text", merge_of(grown()).write)
    path = files.path(entry.name)
    whole = path.read_bytes()
    assert files.verify(entry.name, size_bytes=entry.size_bytes, sha256=entry.sha256)
    for at in range(0, len(whole), STEP):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        assert not files.verify(entry.name, size_bytes=entry.size_bytes, sha256=entry.sha256), at


def test_a_flipped_byte_is_refused_or_read_without_harm(tmp_path: Path) -> None:
    """Also without the hash: a damaged file raises DataLoss at the latest when it is inspected, or reads as a table."""
    path = written(tmp_path)
    whole = path.read_bytes()
    refused = 0
    for at in range(0, len(whole), STEP):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        try:
            inspect_texts(read_texts(path, "one"))
        except DataLoss:
            refused += 1
    assert refused > len(whole) / STEP / 4


def test_a_file_of_another_length_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    whole = path.read_bytes()
    for size in range(0, len(whole), STEP):
        path.write_bytes(whole[:size])
        with pytest.raises(DataLoss, match=r"text index 000001\.text"):
            read_texts(path, "one")
    path.write_bytes(whole + b"\0" * 64)
    with pytest.raises(DataLoss, match="bytes, "):
        read_texts(path, "one")


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    with pytest.raises(DataLoss, match="it was made with 'one', not with 'two'"):
        read_texts(path, "two")
    path.write_bytes(b"SHOALPI1" + path.read_bytes()[8:])
    with pytest.raises(DataLoss, match="it begins with b'SHOALPI1', not with b'SHOALTX1'"):
        read_texts(path, "one")


def _field(change: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
    return lambda head: change(head["fields"][0])


@pytest.mark.parametrize(
    "change",
    [
        lambda head: head.pop("rows"),
        lambda head: head.update(rows=-1),
        lambda head: head.update(rows=2),
        lambda head: head.update(rows=True),
        lambda head: head.update(fields=5),
        lambda head: head.update(fields=["title"]),
        lambda head: head["fields"].pop(),
        lambda head: head["fields"].reverse(),
        _field(lambda field: field.update(name="body")),
        _field(lambda field: field.update(words=3)),
        _field(lambda field: field.update(words=2**80)),
        _field(lambda field: field.update(postings=2**40)),
        _field(lambda field: field.update(postings=2)),
        _field(lambda field: field.update(positions=3)),
        _field(lambda field: field.update(word_bytes=1)),
        _field(lambda field: field.update(position_bytes=8)),
        _field(lambda field: field.update(tokens=1.5)),
        _field(lambda field: field.pop("filled")),
    ],
)
def test_a_head_that_contradicts_the_rest_is_refused(tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = written(tmp_path)
    whole = path.read_bytes()
    end = 16 + int.from_bytes(whole[8:16], "little")
    head = json.loads(whole[16:end])
    change(head)
    text_of_head = json.dumps(head).encode().ljust(end - 16)
    text_of_head += b" " * (-(16 + len(text_of_head)) % 64)
    path.write_bytes(MAGIC + len(text_of_head).to_bytes(8, "little") + text_of_head + whole[end:])
    with pytest.raises(DataLoss, match=r"text index 000001\.text"):
        read_texts(path, "one")


@pytest.mark.parametrize("head", [b"", b"[]", b"null", b"{", b'"x"', b"\xff", b"[" * 100_000])
def test_a_head_of_another_shape_is_refused(tmp_path: Path, head: bytes) -> None:
    path = tmp_path / "odd.text"
    path.write_bytes(MAGIC + len(head).to_bytes(8, "little") + head)
    with pytest.raises(DataLoss, match=r"text index odd\.text"):
        read_texts(path, "one")
