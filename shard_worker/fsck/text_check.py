"""Checks the index of the texts of a sealed segment against the payloads in the store.

The payloads of the live rows are cut into words again, with the analyzers that the file names; the index must hold
these words for these rows, as often and at the same token positions, and no others: the length of each row, which is
the sum of its counts, tells. A file of an analyzer that this version does not have is only checked in itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shoal.core.errors import DataLoss
from shoal.core.payload import stored_values
from shoal.shard_worker.fsck.finding import Findings
from shoal.shard_worker.storage.store.inspection import StoredPoint
from shoal.shard_worker.text.field_texts import FieldTexts, fields_made_with
from shoal.shard_worker.text.indexing import table_of
from shoal.shard_worker.text.inspection import inspect_texts
from shoal.shard_worker.text.part import TextPart
from shoal.shard_worker.text.table import TextTable
from shoal.shard_worker.text.vocabulary import starts_of

DEFECT = "text searches would answer wrongly: report it; to have the index made again, delete the file while the worker is stopped"

_ROWS = 500
"""Rows whose words are compared at once."""

_MOST_NAMED = 5


class TextCheck:
    """Checks one index of texts: call `see` with all points of the segment, then `finish`. Making it checks the index
    in itself."""

    def __init__(self, path: Path, texts: TextPart, findings: Findings) -> None:
        self._path, self._texts, self._findings = path, texts, findings
        self._wrong: dict[str, list[int]] = {name: [] for name in texts.fields}
        self._fields: FieldTexts | None = None
        try:
            inspect_texts(texts)
        except DataLoss as error:
            findings.damage(path, "", error.message, DEFECT)
            return
        made_with = fields_made_with(texts.fingerprint)
        if made_with is None or {field.name for field in made_with} != set(texts.fields):
            findings.warning(
                path,
                "",
                "it was made with analyzers that this version does not have, so it was not compared with the payloads",
                "nothing: it is made again when the replica is opened",
            )
        else:
            self._fields = FieldTexts(made_with)

    def see(self, points: Sequence[StoredPoint], positions: npt.NDArray[np.int64]) -> None:
        """Take points that the segment holds at `positions` (n,)."""
        if self._fields is None:
            return
        for start in range(0, len(points), _ROWS):
            here = positions[start : start + _ROWS]
            values = list(stored_values([point.payload for point in points[start : start + _ROWS]]))
            for name, indexed in self._fields.indexed(values).items():
                for table in self._texts.field(name).tables:
                    self._wrong[name] += here[_differing(table_of(indexed), table, here)].tolist()

    def finish(self) -> None:
        """Note the rows whose words are not those of their payload."""
        for name, wrong in self._wrong.items():
            if wrong:
                at = f"text field {name!r}, positions {', '.join(map(str, wrong[:_MOST_NAMED]))}"
                self._findings.damage(self._path, at, f"the words of {len(wrong)} rows are not those of their payloads", DEFECT)


def _differing(expected: TextTable, held: TextTable, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the rows of `expected` whose words are other ones in `held`, where row r is at positions[r]. Ascending."""
    wrong = held.lengths[positions] != expected.lengths
    for code in range(len(expected.words)):
        start, end = expected.bounds(code)
        rows = expected.rows[start:end]
        found = held.words.find(expected.words[code].decode("utf-8", "surrogatepass"))
        if found < 0:
            wrong[rows] = True
            continue
        own_tokens = expected.positions[expected.position_starts[code] : expected.position_starts[code + 1]]
        wrong[rows] |= _differing_postings(held, found, positions[rows], expected.counts[start:end], own_tokens)
    return np.flatnonzero(wrong)


def _differing_postings(
    held: TextTable, code: int, rows: npt.NDArray[np.int64], counts: npt.NDArray[np.uint16], tokens: npt.NDArray[Any]
) -> npt.NDArray[np.bool_]:
    """Return which of `rows` (m,) hold a word less or more often than `counts`, or elsewhere than at `tokens`."""
    start, end = held.bounds(code)
    there, there_counts = held.rows[start:end], held.counts[start:end]
    at = np.minimum(there.searchsorted(rows.astype(np.uint32)), len(there) - 1)
    wrong: npt.NDArray[np.bool_] = (there[at] != rows) | (there_counts[at] != counts)
    begins = held.position_starts[code] + starts_of(there_counts)[at]
    alike = np.flatnonzero(~wrong)
    lengths = counts[alike].astype(np.int64)
    firsts = starts_of(lengths)[:-1]
    within = np.arange(lengths.sum()) - np.repeat(firsts, lengths)
    differ = held.positions[np.repeat(begins[alike], lengths) + within] != tokens[np.repeat(starts_of(counts)[alike], lengths) + within]
    if len(alike):
        wrong[alike] = np.logical_or.reduceat(differ, firsts)
    return wrong
