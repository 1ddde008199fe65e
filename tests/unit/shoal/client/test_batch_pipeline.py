"""Test BatchPipeline: what is sent at the same time, what waits, and what is reported after a failure."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.client.batch_pipeline import BATCHES_AT_ONCE, BatchPipeline, PointBatch
from shoal.client.progress import Progress
from shoal.core.errors import InvalidArgument, Unavailable

WAIT_S = 30.0


def batch_of(ids: Any, total: int = 0) -> PointBatch:
    return PointBatch(ids=ids, vectors=np.zeros((len(ids), 2), dtype=np.float32), payloads=None, places=range(len(ids)), total=total)


def ignored(rows: int, of: int) -> None: ...


class Gates:
    """Writes of batches that end when they are told to. begun: in order; ids of a batch are its name."""

    def __init__(self) -> None:
        self.begun: list[tuple[Any, ...]] = []
        self.changed = threading.Condition()
        self.open: dict[tuple[Any, ...], Exception | None] = {}

    def write(self, batch: PointBatch, moved: Progress) -> None:
        name = tuple(np.asarray(batch.ids).tolist())
        with self.changed:
            self.begun.append(name)
            self.changed.notify_all()
            assert self.changed.wait_for(lambda: name in self.open, WAIT_S)
            error = self.open[name]
        if error is not None:
            raise error

    def let_end(self, *name: Any, error: Exception | None = None) -> None:
        with self.changed:
            self.open[name] = error
            self.changed.notify_all()

    def await_begun(self, count: int) -> list[tuple[Any, ...]]:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.begun) >= count, WAIT_S)
            return list(self.begun)


def started(gates: Gates, batches: list[PointBatch]) -> tuple[BatchPipeline, Callable[[], BaseException | None]]:
    """Run a pipeline in a thread. Return it, and a function that waits for its end and returns its error."""
    pipeline, errors = BatchPipeline(gates.write, ignored), []

    def run() -> None:
        try:
            pipeline.run(batches)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()

    def ended() -> BaseException | None:
        thread.join(WAIT_S)
        assert not thread.is_alive()
        return errors[0] if errors else None

    return pipeline, ended


def test_the_next_batch_is_sent_while_one_is_under_way() -> None:
    gates = Gates()
    pipeline, ended = started(gates, [batch_of(np.array([0])), batch_of(np.array([1])), batch_of(np.array([2]))])
    assert sorted(gates.await_begun(BATCHES_AT_ONCE)) == [(0,), (1,)]
    gates.let_end(1)
    gates.let_end(0)
    gates.await_begun(3)
    gates.let_end(2)
    assert ended() is None
    assert pipeline.done == 3


@pytest.mark.parametrize(
    ("first", "second"), [(np.array([0, 7]), np.array([9, 7, 1])), (["a", "b"], ["b", "c"]), (np.array(["a"]), ["a"]), ([1], np.array([1]))]
)
def test_a_batch_with_an_id_of_a_batch_under_way_waits_for_it(first: Any, second: Any) -> None:
    gates = Gates()
    names = [tuple(np.asarray(ids).tolist()) for ids in (first, second)]
    _, ended = started(gates, [batch_of(first), batch_of(second)])
    gates.await_begun(1)
    gates.let_end(*names[1])
    assert gates.begun == [names[0]]
    gates.let_end(*names[0])
    assert ended() is None
    assert gates.begun == names


def test_an_empty_batch_shares_no_id_and_is_left_to_the_write() -> None:
    written: list[int] = []
    pipeline = BatchPipeline(lambda batch, moved: written.append(len(batch.ids)), ignored)
    pipeline.run([batch_of(np.array([1])), batch_of(np.array([], dtype=np.int64)), batch_of(np.array([2]))])
    assert sorted(written) == [0, 1, 1]


def test_after_a_failure_no_further_batch_begins_and_its_error_is_raised() -> None:
    gates = Gates()
    pipeline, ended = started(gates, [batch_of(np.array([number])) for number in range(5)])
    gates.let_end(0)
    gates.await_begun(3)
    gates.let_end(1, error=Unavailable("down"))
    gates.let_end(2)
    error = ended()
    assert isinstance(error, Unavailable)
    assert pipeline.done == 1
    assert len(gates.begun) == 3


def test_a_file_that_cannot_be_read_on_raises_after_the_batches_before_are_written() -> None:
    written = []

    def batches() -> Iterator[PointBatch]:
        yield batch_of(np.array([0]))
        yield batch_of(np.array([1]))
        raise InvalidArgument("line 3 is not JSON")

    pipeline = BatchPipeline(lambda batch, moved: written.extend(batch.ids.tolist()), ignored)
    with pytest.raises(InvalidArgument, match="line 3"):
        pipeline.run(batches())
    assert (sorted(written), pipeline.done) == ([0, 1], 2)


def test_an_interrupted_reader_counts_only_what_is_written() -> None:
    def batches() -> Iterator[PointBatch]:
        yield batch_of(np.array([0]))
        raise KeyboardInterrupt

    pipeline = BatchPipeline(lambda batch, moved: None, ignored)
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(batches())
    assert pipeline.done == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=4), max_size=12))
def test_the_last_point_of_an_id_counts_and_progress_never_falls(ids: list[list[int]]) -> None:
    """The twin writes one batch after the other."""
    stored: dict[int, int] = {}
    told: list[int] = []
    numbers = {}
    batches = []
    for number, each in enumerate(ids):
        batch = batch_of(np.array(each), total=sum(map(len, ids)))
        numbers[id(batch)] = number
        batches.append(batch)

    def write(batch: PointBatch, moved: Progress) -> None:
        for point_id in batch.ids.tolist():
            stored[point_id] = numbers[id(batch)]
        moved(len(batch.ids), len(batch.ids))

    pipeline = BatchPipeline(write, lambda rows, of: told.append(rows))
    pipeline.run(batches)
    assert stored == {point_id: number for number, each in enumerate(ids) for point_id in each}
    assert told == sorted(told)
    assert pipeline.done == sum(map(len, ids)) == (told[-1] if told else 0)
