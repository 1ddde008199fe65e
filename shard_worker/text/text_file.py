"""The file of the text fields of a sealed segment: a magic number, a JSON head, then sections of plain arrays.

    8 bytes  b"SHOALTX1"        8 bytes  length of the head (little-endian)        head        sections

Sections are little-endian, and each begins at a multiple of 64 bytes. The file is mapped, not read: the caller has
verified the hash of its bytes, and as for every mapped file, a page that cannot be read from the disk ends the process
(SIGBUS). What leads from one section into another by word is checked; single postings are not (see inspection.py).
Owns the format; docs/design/text.md describes it field by field.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from io import BufferedWriter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shoal.core.errors import DataLoss
from shoal.shard_worker.text.merging import MergedSize, TableMerge
from shoal.shard_worker.text.part import FieldPart, TextPart
from shoal.shard_worker.text.table import TextTable
from shoal.shard_worker.text.vocabulary import Starts, Vocabulary

MAGIC = b"SHOALTX1"
_HEAD_AT = len(MAGIC) + 8
_ALIGNED = 64
_MOST = 2**62


@dataclass(frozen=True, kw_only=True, slots=True)
class _Layout:
    """Where the sections of one field begin in the file: (offset, dtype, elements) by name, and where the last ends."""

    sections: Mapping[str, tuple[int, str, int]]
    end: int


def write_texts(path: Path, merges: Mapping[str, TableMerge], *, rows: int, fingerprint: str) -> None:
    """Write the merges of the fields, by name, to `path`, as they come; the caller syncs and hashes the file.

    Raises OSError of the file.
    """
    sizes = {name: merge.size() for name, merge in merges.items()}
    head = {"rows": rows, "fingerprint": fingerprint, "fields": [{"name": name, **asdict(size)} for name, size in sizes.items()]}
    text = json.dumps(head).encode("ascii")
    text += b" " * (-(_HEAD_AT + len(text)) % _ALIGNED)
    with path.open("wb") as file:
        file.write(MAGIC + len(text).to_bytes(8, "little") + text)
        end = file.tell()
        for name, merge in merges.items():
            layout = _layout(sizes[name], end)
            _write_field(file, merge, layout)
            end = layout.end
        # Behind the last section, there may be bytes up to a multiple of 64.
        file.truncate(end)


def read_texts(path: Path, fingerprint: str | None = None) -> TextPart:
    """Map a file whose hash the caller has verified. The file may be unlinked afterwards.

    fingerprint: what the file must have been made with; None: anything, which the part then tells. Raises DataLoss when
    it was made otherwise, cannot be parsed or contradicts itself, OSError when it cannot be opened.
    """
    with path.open("rb") as file:
        try:
            return _read(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), fingerprint)
        except DataLoss as error:
            raise DataLoss(f"text index {path.name}: {error.message}") from error
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise DataLoss(f"text index {path.name}: it cannot be parsed: {error}") from error


def _layout(size: MergedSize, start: int) -> _Layout:
    """Return the sections of a field of this size, the first of which begins at `start`."""
    kinds = (
        ("lengths", "<u4", size.rows),
        ("offsets", "<i8", size.words + 1),
        ("starts", "<i8", size.words + 1),
        ("position_starts", "<i8", size.words + 1),
        ("most", "<u2", size.words),
        ("shortest", "<u4", size.words),
        ("rows", "<u4", size.postings),
        ("counts", "<u2", size.postings),
        ("positions", f"<u{size.position_bytes}", size.positions),
        ("words", "|u1", size.word_bytes),
    )
    sections = {}
    for name, kind, count in kinds:
        sections[name] = (start, kind, count)
        taken = count * np.dtype(kind).itemsize
        start += taken + -taken % _ALIGNED
    return _Layout(sections=sections, end=start)


class _Section:
    """Writes arrays to a section, one behind the other."""

    def __init__(self, file: BufferedWriter, place: tuple[int, str, int]) -> None:
        self._file = file
        self._at, self._kind, _ = place

    def write(self, values: npt.NDArray[Any]) -> None:
        """Write the values behind those before."""
        if len(values):
            self._file.seek(self._at)
            self._at += self._file.write(np.ascontiguousarray(values, dtype=self._kind).data)


def _write_field(file: BufferedWriter, merge: TableMerge, layout: _Layout) -> None:
    into = {name: _Section(file, place) for name, place in layout.sections.items()}
    for lengths in merge.lengths():
        into["lengths"].write(lengths)
    ends = {"offsets": 0, "starts": 0, "position_starts": 0}
    for name in ends:
        into[name].write(np.zeros(1, dtype=np.int64))
    for piece in merge.postings():
        sizes = np.diff(piece.words.offsets)
        for name, each in (("offsets", sizes), ("starts", piece.row_counts), ("position_starts", piece.token_counts)):
            into[name].write(ends[name] + np.cumsum(each, dtype=np.int64))
            ends[name] += int(each.sum())
        for name in ("most", "shortest", "rows", "counts", "positions"):
            into[name].write(getattr(piece, name))
        into["words"].write(np.frombuffer(piece.words.blob, dtype=np.uint8))


def _read(mapped: mmap.mmap, fingerprint: str | None) -> TextPart:
    magic = mapped[: len(MAGIC)]
    if magic != MAGIC:
        raise DataLoss(f"it begins with {magic!r}, not with {MAGIC!r}")
    end = _HEAD_AT + int.from_bytes(mapped[len(MAGIC) : _HEAD_AT], "little")
    head = json.loads(mapped[_HEAD_AT:end])
    made_with = str(head["fingerprint"])
    if fingerprint is not None and made_with != fingerprint:
        raise DataLoss(f"it was made with {made_with!r}, not with {fingerprint!r}")
    rows = _number(head["rows"], "rows")
    found: dict[str, FieldPart] = {}
    for name, size in _sizes(head["fields"]):
        _require(size.rows == rows and name not in found, f"field {name!r} has {size.rows} rows, or comes twice; the file has {rows} rows")
        layout = _layout(size, end)
        end = layout.end
        _require(end <= len(mapped), f"field {name!r} ends at {end}, the file at {len(mapped)}")
        found[name] = FieldPart([_table(mapped, layout, size)])
    _require(end == len(mapped), f"it has {len(mapped)} bytes, {end} are used")
    return TextPart(rows=rows, fields=found, fingerprint=made_with)


def _sizes(listed: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, MergedSize]]:
    """Yield name and size of each field of the head."""
    for each in listed:
        size = MergedSize(**{field.name: _number(each[field.name], field.name) for field in fields(MergedSize)})
        _require(size.position_bytes in (2, 4), f"token positions have {size.position_bytes} bytes")
        yield str(each["name"]), size


def _table(mapped: mmap.mmap, layout: _Layout, size: MergedSize) -> TextTable:
    arrays: dict[str, npt.NDArray[Any]] = {
        name: np.frombuffer(mapped, dtype=kind, count=count, offset=start) if count else np.empty(0, dtype=kind)
        for name, (start, kind, count) in layout.sections.items()
    }
    words = arrays.pop("words")
    offsets = arrays.pop("offsets")
    _require(_leads(offsets, len(words)), "words are out of order")
    _require(_leads(arrays["starts"], size.postings), "postings are out of order")
    _require(_leads(arrays["position_starts"], size.positions), "token positions are out of order")
    return TextTable(words=Vocabulary(words.data, offsets), tokens=size.tokens, filled=size.filled, **arrays)


def _leads(starts: Starts, end: int) -> bool:
    """Return whether pieces with these starts fill 0:end, in order."""
    return int(starts[0]) == 0 and int(starts[-1]) == end and bool((starts[1:] >= starts[:-1]).all())


def _number(value: object, name: str) -> int:
    if type(value) is not int or not 0 <= value <= _MOST:
        raise DataLoss(f"{name} is {value!r}")
    return value


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise DataLoss(otherwise)
