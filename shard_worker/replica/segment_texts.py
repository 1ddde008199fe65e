"""The text fields of one replica: those that are wanted, and the files of their indexes in sealed segments.

An index that a sealed segment lacks is made anew from the payloads in the store, in a build thread; then it is swapped
in. Rows that die meanwhile have no text then, and are dead before any search sees the index.

A segment has one such file. It is named after its segment; one that replaces another has a further part in its name,
because files are immutable. So the name of a segment is the name of any of its files, up to the first dot.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from shoal.core.joined_json import groups_of
from shoal.core.payload import stored_values
from shoal.core.sizing import text_build_bytes
from shoal.runtime.fault_points import fault_point
from shoal.runtime.interpreter import give_way
from shoal.shard_worker.index.replica_index import ReplicaIndex, TextsLacking
from shoal.shard_worker.index.sealed import TEXT_SUFFIX
from shoal.shard_worker.logic.read_pace import ReadPace
from shoal.shard_worker.replica.segment_names import segment_of
from shoal.shard_worker.storage.folders.segment_files import SegmentFiles
from shoal.shard_worker.storage.store.mutation import Rows
from shoal.shard_worker.storage.store.points_store import PointsStore
from shoal.shard_worker.storage.store.small_tables import SegmentEntry
from shoal.shard_worker.text.field_texts import FieldTexts, TextBatch
from shoal.shard_worker.text.part import TextPart
from shoal.shard_worker.text.sealed import write_anew
from shoal.shard_worker.text.text_file import read_texts

_BATCH_BYTES = 512 * 1024
"""Payloads whose words are in memory at once, as Python objects."""


class TextsStopped(Exception):
    """The work was stopped because the replica closes."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class WrittenTexts:
    """The index of the texts of a segment, in a durable file, and mapped. segment: name of the segment."""

    segment: str
    entry: SegmentEntry
    part: TextPart


class SegmentTexts:
    """Changes and tells the text fields of one replica. `choose` and `swap` belong to the writer thread, `write` and
    `produce` to a build thread, and read the store, which must be open; any thread may call the others."""

    def __init__(self, store: PointsStore, files: SegmentFiles, index: ReplicaIndex) -> None:
        self._store, self._files, self._index = store, files, index

    def choose(self, texts: FieldTexts | None) -> None:
        """Index these text fields from now on, None for none. See ReplicaIndex.choose_texts."""
        self._index.choose_texts(texts)

    def lacking(self) -> tuple[TextsLacking, ...]:
        """Return the sealed segments that lack the index of a text field, the smallest first."""
        return self._index.lacking_texts()

    def waiting(self) -> str:
        """Return in how many segments all text fields are indexed, as text; "" if in all of them."""
        view = self._index.view()
        if view.texts is None:
            return ""
        ready, segments = view.texts_ready(view.texts.names)
        return "" if ready == segments else f"text fields are indexed in {ready} of {segments} segments"

    def build_bytes(self, lacking: TextsLacking) -> int:
        """Return the most memory in bytes that `write` takes."""
        return text_build_bytes(round(2 * len(lacking.rows) * self._store.size_bytes / max(1, self._store.count())))

    def write(self, lacking: TextsLacking, should_stop: Callable[[], bool]) -> WrittenTexts:
        """Write the index of the texts of a sealed segment to a new file.

        Raises TextsStopped as soon as should_stop() is true, StorageFailed; nothing is left behind then.
        """
        fault_point("texts.begin")
        name, rows, texts = f"{lacking.name}.{uuid.uuid4().hex[:8]}{TEXT_SUFFIX}", lacking.rows, lacking.texts
        written = self._files.write(name, partial(self.produce, rows=rows, texts=texts, should_stop=should_stop))
        entry = SegmentEntry(
            name=name, size_bytes=written.size_bytes, sha256=written.sha256, rows=len(rows), applied_seq=self._store.applied_seq
        )
        return WrittenTexts(segment=lacking.name, entry=entry, part=self.read(name, texts))

    def swap(self, written: WrittenTexts) -> None:
        """Give a sealed segment its texts, in the store and in the index. A sweep then deletes the file they replace.

        A segment that has been replaced meanwhile is left as it is.
        """
        names = [entry.name for entry in self._store.segments() if segment_of(entry.name) == written.segment]
        if not names:
            return
        self._store.replace_segments((written.entry,), [name for name in names if name.endswith(TEXT_SUFFIX)])
        fault_point("texts.named")
        self._index.hold_texts(written.segment, written.part)
        fault_point("texts.done")

    def produce(self, path: Path, *, rows: Rows, texts: FieldTexts, should_stop: Callable[[], bool]) -> None:
        """Write the index of the texts of rows (n,) to `path`. Deleted rows have no text. Raises as `write`, or
        OSError."""
        write_anew(path, self._batches(rows, texts, should_stop), fields=texts.names, fingerprint=texts.fingerprint)

    def read(self, name: str, texts: FieldTexts) -> TextPart:
        """Map a file that was made with these fields. Raises as read_texts."""
        return read_texts(self._files.path(name), texts.fingerprint)

    def _batches(self, rows: Rows, texts: FieldTexts, should_stop: Callable[[], bool]) -> Iterator[TextBatch]:
        pace, start = ReadPace(), 0
        while start < len(rows):
            here = rows[start : start + pace.rows]
            payloads = self._payloads_of(here)
            pace.saw(len(here), sum(len(payload) for payload in payloads if payload is not None))
            for first, end in groups_of([payload or b"" for payload in payloads], _BATCH_BYTES):
                if should_stop():
                    raise TextsStopped
                yield texts.indexed(list(stored_values(payloads[first:end])), give_way)
            start += len(here)

    def _payloads_of(self, rows: Rows) -> list[bytes | None]:
        """Return the payload of each row; None for a deleted row."""
        stored = self._store.rows(rows, with_vectors=False, with_payloads=True)
        payloads: list[bytes | None] = [None] * len(rows)
        held = stored.columns.payloads
        if held is not None:
            for at, payload in zip(np.flatnonzero(stored.found).tolist(), held, strict=True):
                payloads[at] = payload
        return payloads


def never() -> bool:
    """Return False: nothing stops the work."""
    return False
