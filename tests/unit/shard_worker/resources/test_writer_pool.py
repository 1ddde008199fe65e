"""The writer threads of a worker: one at a time for each replica, in order, and turns between replicas."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import Future, wait

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.shard_worker.resources.writer_pool import SerialExecutor, WriterPool

LONG_S = 30.0


@pytest.fixture
def pool():
    made = WriterPool(2)
    yield made
    made.close()


def stuck(executor: SerialExecutor) -> tuple[threading.Event, Future[bool]]:
    """Keep the executor busy until the event is set; the work has begun on return."""
    began, go_on = threading.Event(), threading.Event()

    def work() -> bool:
        began.set()
        return go_on.wait(LONG_S)

    running = executor.submit(work)
    assert began.wait(LONG_S)
    return go_on, running


@settings(max_examples=25, deadline=None)
@given(works=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), max_size=60), threads=st.integers(1, 4))
def test_each_executor_does_its_works_in_order_and_one_at_a_time(works: list[tuple[int, int]], threads: int):
    pool = WriterPool(threads)
    executors = [pool.executor() for _ in range(5)]
    done: list[list[int]] = [[] for _ in executors]
    inside = Counter[int]()

    def work(at: int, value: int) -> int:
        inside[at] += 1
        assert inside[at] == 1
        done[at].append(value)
        inside[at] -= 1
        return value + 1

    futures = [executors[at].submit(work, at, value) for at, value in works]
    assert [each.result(LONG_S) for each in futures] == [value + 1 for _, value in works]
    assert done == [[value for at, value in works if at == each] for each in range(5)]
    pool.close()


def test_a_replica_that_hangs_delays_no_other(pool: WriterPool):
    go_on, hanging = stuck(pool.executor())
    others = [pool.executor() for _ in range(20)]
    assert [each.submit(int, "7").result(LONG_S) for each in others] == [7] * 20
    assert not hanging.done()
    go_on.set()
    assert hanging.result(LONG_S)


def test_replicas_with_much_work_let_others_take_turns():
    pool = WriterPool(1)
    go_on, hanging = stuck(pool.executor())
    busy, calm, order = pool.executor(), pool.executor(), []
    last = [busy.submit(order.append, "busy") for _ in range(3)][-1]
    calm.submit(order.append, "calm")
    go_on.set()
    wait([last, hanging])
    assert order == ["busy", "calm", "busy", "busy"]
    pool.close()


def test_a_work_that_is_cancelled_while_it_waits_is_left_out(pool: WriterPool):
    executor = pool.executor()
    go_on, hanging = stuck(executor)
    left, after = executor.submit(int, "1"), executor.submit(int, "2")
    assert left.cancel()
    go_on.set()
    assert after.result(LONG_S) == 2
    assert hanging.result(LONG_S)


def test_an_error_goes_to_the_caller_and_the_next_work_runs(pool: WriterPool):
    executor = pool.executor()
    failing, after = executor.submit(int, "no number"), executor.submit(int, "2")
    with pytest.raises(ValueError, match="no number"):
        failing.result(LONG_S)
    assert after.result(LONG_S) == 2


def test_replicas_share_the_threads():
    pool = WriterPool(3)
    threads = {pool.executor().submit(threading.get_ident).result(LONG_S) for _ in range(200)}
    assert len(threads) <= 3
    pool.close()


def test_a_closed_pool_takes_nothing(pool: WriterPool):
    pool.close()
    with pytest.raises(RuntimeError):
        pool.executor().submit(int)
