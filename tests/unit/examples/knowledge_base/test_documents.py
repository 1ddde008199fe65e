from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from examples.knowledge_base import documents
from shoal.core.errors import NotFound


def test_texts_of_a_folder_by_name(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "b.txt").write_text("plain")
    (tmp_path / "sub/a.MD").write_text("\ufeff# Heading\nx", encoding="utf-8")
    (tmp_path / ".hidden/c.md").write_text("x")
    (tmp_path / "d.html").write_text("x")
    found = documents.in_folder(tmp_path)
    assert [(each.file, each.title) for each in found.documents] == [("b.txt", "b"), ("sub/a.MD", "Heading")]
    assert found.left_out == ()


def test_what_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MOST_FILE_BYTES", 2**20)
    (tmp_path / "good.md").write_text("x")
    (tmp_path / "latin.md").write_bytes(b"abc\xff")
    (tmp_path / "large.txt").write_bytes(b"x" * (2**20 + 1))
    assert documents.in_folder(tmp_path).left_out == ("large.txt has more than 1 MiB", "latin.md is not UTF-8 (byte 3)")


def test_a_folder_without_texts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"holds no text \(\.md, \.txt\)$"):
        documents.in_folder(tmp_path)
    (tmp_path / "latin.md").write_bytes(b"\xff")
    with pytest.raises(NotFound, match=r"holds no text .*: latin\.md is not UTF-8"):
        documents.in_folder(tmp_path)
    with pytest.raises(NotFound, match="is no folder"):
        documents.in_folder(tmp_path / "absent")


def test_a_data_set_is_read_in_place_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOAL_DATA", str(tmp_path))
    assert documents.in_data_set("docs") is None
    with gzip.open(tmp_path / "docs.jsonl.gz", "wt", encoding="utf-8") as file:
        for row in ({"id": "a.md", "title": "", "text": "x"}, {"id": "b.md", "title": "B", "text": "# C\ny"}):
            file.write(json.dumps(row) + "\n")
    found = documents.in_data_set("docs")
    assert found is not None
    assert [(each.file, each.title) for each in found.documents] == [("a.md", "a.md"), ("b.md", "C")]


def test_what_is_installed_has_texts() -> None:
    found = {each.file: each for each in documents.installed().documents}
    assert len(found) > 300
    assert "Return a sorted copy" in found["numpy.sort"].text
    assert len(found["package numpy"].text) > 200
