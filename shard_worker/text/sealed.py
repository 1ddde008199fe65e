"""The text index of a sealed segment: merged from the indexes of its sources, or made anew from texts, into one file.

A fingerprint says what an index was made with: fields, analyzers, versions of libraries. It comes from the analyzers
and is only compared here. A file of another fingerprint is refused as a damaged one is, and made anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shoal.core.errors import Internal
from shoal.shard_worker.text.growing import GrowingTexts
from shoal.shard_worker.text.indexing import BatchOfTexts
from shoal.shard_worker.text.merging import MERGE_BYTES, MergeSource, TableMerge
from shoal.shard_worker.text.part import TextPart
from shoal.shard_worker.text.text_file import read_texts, write_texts

SPILL_BYTES = 32 * 1024 * 1024
"""Tables of texts that are made anew are written aside when they take so much memory."""

_SPILL_SUFFIX = ".spill"


class TextMerge:
    """The text index of the rows at `positions` (m,) of each source, one source after the other; not yet written.

    It holds the sources until it is dropped, and reads them when it is written. Reads no payload.
    """

    def __init__(
        self,
        sources: Sequence[tuple[TextPart, npt.NDArray[np.int64]]],
        *,
        fields: Sequence[str],
        fingerprint: str,
        most_bytes: int = MERGE_BYTES,
    ) -> None:
        """Prepare the merge. Raises Internal unless all sources were made with this fingerprint and have these fields,
        and positions ascend."""
        for part, _ in sources:
            if part.fingerprint != fingerprint:
                raise Internal(f"a text index made with {part.fingerprint!r} cannot be merged into one of {fingerprint!r}")
        self.fingerprint = fingerprint
        self._rows = sum(len(positions) for _, positions in sources)
        self._fields: Mapping[str, tuple[MergeSource, ...]] = {name: _merge_sources(sources, name) for name in fields}
        self._most_bytes = most_bytes

    def __len__(self) -> int:
        return self._rows

    def write(self, path: Path) -> None:
        """Write the index to `path`; the caller syncs and hashes the file. Raises OSError of the file."""
        merges = {name: TableMerge(sources, self._most_bytes) for name, sources in self._fields.items()}
        write_texts(path, merges, rows=self._rows, fingerprint=self.fingerprint)


def write_anew(path: Path, batches: Iterable[Mapping[str, BatchOfTexts]], *, fields: Sequence[str], fingerprint: str) -> int:
    """Write the index of the rows of all batches to `path`, and return their number. Batches: texts by field.

    Takes bounded memory beside a batch: what does not fit is written to files beside `path`, which are deleted
    again. Raises OSError of the files, and the errors of GrowingTexts.append.
    """
    with ExitStack() as files:
        parts: list[TextPart] = []
        growing = GrowingTexts(fields, fingerprint)
        for batch in batches:
            growing.append(batch, len(next(iter(batch.values()), ())))
            if growing.memory_bytes() >= SPILL_BYTES:
                parts.append(_spilled(path.with_name(f"{path.name}.{len(parts)}{_SPILL_SUFFIX}"), growing, fields, files))
                growing = GrowingTexts(fields, fingerprint)
        merge = TextMerge([(part, np.arange(len(part))) for part in (*parts, growing.part())], fields=fields, fingerprint=fingerprint)
        merge.write(path)
    return len(merge)


def _spilled(path: Path, growing: GrowingTexts, fields: Sequence[str], files: ExitStack) -> TextPart:
    """Write the rows to a file that is deleted with `files`, and return them mapped from it."""
    part = growing.part()
    files.callback(path.unlink, missing_ok=True)
    TextMerge([(part, np.arange(len(part)))], fields=fields, fingerprint=part.fingerprint).write(path)
    return read_texts(path, part.fingerprint)


def _merge_sources(sources: Sequence[tuple[TextPart, npt.NDArray[np.int64]]], name: str) -> tuple[MergeSource, ...]:
    """Return the tables of one field of all sources, each with its rows at the source's positions."""
    found: list[MergeSource] = []
    first = 0
    for part, positions in sources:
        if len(positions) and not 0 <= positions[0] <= positions[-1] < len(part):
            raise Internal(f"rows {positions[0]} to {positions[-1]} are not all in a text index of {len(part)} rows")
        field = part.field(name)
        for begin, table in zip(field.firsts, field.tables, strict=True):
            here = positions[positions.searchsorted(begin) : positions.searchsorted(begin + len(table))]
            found.append(MergeSource.some(table, first, here - begin))
            first += len(here)
    return tuple(found)
