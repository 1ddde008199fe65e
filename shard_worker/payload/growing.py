"""The payload index of a segment that takes new rows: full blocks, each indexed once, and a tail that is indexed when a
search asks.

Owned by the writer thread. The parts that it returns do not change; any thread may use them while rows are appended.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pyroaring import BitMap

from shoal.core.errors import Internal
from shoal.core.filter import Filter, Path
from shoal.core.payload import stored_values
from shoal.core.points import IdArray
from shoal.core.turns import FREE, Turn
from shoal.shard_worker.payload.evaluate import evaluate
from shoal.shard_worker.payload.field_index import FieldIndex, Test
from shoal.shard_worker.payload.matched import Matched, PayloadBounds, any_of
from shoal.shard_worker.payload.table import PayloadTable, match_field
from shoal.shard_worker.payload.tail import Tail

BLOCK_ROWS = 1_024
BLOCK_BYTES = 4 * 1024 * 1024
"""A block is full at this many rows or bytes of JSON, so that large payloads do not stay Python objects for long."""


class GrowingPayloads:
    """Payloads of rows, in the order of their arrival."""

    def __init__(self, bounds: PayloadBounds) -> None:
        self._bounds = bounds
        self._rows = 0
        self._blocks: tuple[PayloadTable, ...] = ()
        self._blocks_bytes = 0
        self._tail = Tail(0, bounds)
        self._tail_json_bytes = 0

    def __len__(self) -> int:
        return self._rows

    def append(self, payloads: Sequence[bytes | None], count: int, values: Iterable[Any] | None = None) -> None:
        """Append `count` rows with their payloads: JSON objects (UTF-8), None for none. Writer thread only.

        values: what stored_values gives for them, if the caller has it. A payload that cannot be parsed is accepted:
        its row is unsure in every answer. Raises Internal when there are not `count` payloads.
        """
        if len(payloads) != count:
            raise Internal(f"{len(payloads)} payloads are given for {count} rows")
        for text, value in zip(payloads, stored_values(payloads) if values is None else values, strict=True):
            if text is not None:
                self._tail.take(value, self._rows)
                self._tail_json_bytes += len(text)
            self._rows += 1
            if self._rows - self._tail.first >= BLOCK_ROWS or self._tail_json_bytes >= BLOCK_BYTES:
                self._close_block()

    def part(self) -> GrowingPart:
        """Return the rows so far as an immutable part. Writer thread only."""
        return GrowingPart(blocks=self._blocks, blocks_bytes=self._blocks_bytes, tail=self._tail, rows=self._rows, bounds=self._bounds)

    def memory_bytes(self) -> int:
        """Return the memory it holds."""
        return self._blocks_bytes + self._tail.memory_bytes()

    def _close_block(self) -> None:
        block = self._tail.table(self._rows)
        self._blocks = (*self._blocks, block)
        self._blocks_bytes += block.memory_bytes()
        self._tail = Tail(self._rows, self._bounds)
        self._tail_json_bytes = 0


class GrowingPart:
    """The first `rows` rows of a growing segment."""

    def __init__(self, *, blocks: tuple[PayloadTable, ...], blocks_bytes: int, tail: Tail, rows: int, bounds: PayloadBounds) -> None:
        self.bounds = bounds
        self._blocks = blocks
        self._blocks_bytes = blocks_bytes
        self._tail = tail
        self._rows = rows
        # Indexes that readers built of the tail. Two readers that build one at the same time build equal indexes; the
        # later one stays.
        self._tail_fields: dict[Path, FieldIndex | None] = {}
        self._tail_left_out: tuple[BitMap, BitMap] | None = None

    def __len__(self) -> int:
        return self._rows

    def match(self, filter: Filter, ids: IdArray, turn: Turn = FREE) -> Matched:
        """Match as PayloadPart.match does."""
        return evaluate(filter, lambda test: self._answer(test, turn), ids[: self._rows], turn)

    def tables(self) -> tuple[PayloadTable, ...]:
        """Return the indexes of all its rows."""
        return (*self._blocks, self._tail.table(self._rows))

    def memory_bytes(self) -> int:
        """Return the memory of its rows, most of it shared with the segment."""
        made = sum(index.memory_bytes() for index in list(self._tail_fields.values()) if index is not None)
        return self._blocks_bytes + self._tail.memory_bytes() + made

    def _answer(self, test: Test, turn: Turn) -> Matched:
        answers = []
        for block in self._blocks:
            turn.pause()
            answers.append(block.match(test))
        turn.pause()
        return any_of([*answers, self._answer_of_tail(test)])

    def _answer_of_tail(self, test: Test) -> Matched:
        if self._tail_left_out is None:
            self._tail_left_out = (self._tail.unindexed(self._rows), self._tail.unread(self._rows))
        field = self._tail_fields.get(test.path)
        if field is None:
            field = self._tail.field(test.path, self._rows)
            if field is not None:
                # Keep only fields that exist. Their number is bounded, but a caller may ask for any path.
                self._tail_fields[test.path] = field
        return match_field(field, test, *self._tail_left_out)
