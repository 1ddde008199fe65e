from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shoal.wire.http.pool import KEEP_S, Instead, PoolBook

steps = st.lists(st.tuples(st.sampled_from(["call", "end", "break", "closed", "leave", "pass"]), st.integers(0, 9)), max_size=60)


@given(st.integers(1, 4), steps)
def test_any_history_keeps_the_bound_and_serves_calls_in_their_order(most: int, history: list[tuple[str, int]]) -> None:  # noqa: PLR0912
    """Against a plain account: connections in use, idle ones, calls that wait."""
    book: PoolBook[int, str] = PoolBook(most)
    used: list[int] = []
    idle: list[int] = []
    waiting: list[str] = []
    made, now = 0, 0.0
    for what, number in history:
        if what == "call":
            taken = book.take()
            if idle:
                assert taken == idle.pop()
                used.append(int(taken))  # type: ignore[arg-type]
            elif len(used) < most:
                assert taken is Instead.OPEN
                made += 1
                used.append(made)
            else:
                assert taken is Instead.WAIT
                waiting.append(f"call {made} {len(waiting)} {now} {number} {len(history)}")
                book.wait(waiting[-1])
        elif what == "end" and used:
            connection = used.pop(number % len(used))
            served = book.give(connection, now)
            assert served == (waiting.pop(0) if waiting else None)
            (idle if served is None else used).append(connection)
        elif what == "break" and used:
            used.pop(number % len(used))
            served = book.gone()
            assert served == (waiting.pop(0) if waiting else None)
            if served is not None:
                made += 1
                used.append(made)
        elif what == "closed":
            assert book.drop(idle[number % len(idle)] if idle else -1) == bool(idle)
            if idle:
                idle.pop(number % len(idle))
        elif what == "leave":
            assert book.leave(waiting[number % len(waiting)] if waiting else "nobody") == bool(waiting)
            if waiting:
                waiting.pop(number % len(waiting))
        elif what == "pass":
            now += number
        assert book.opened == len(used) + len(idle) <= most
        assert not (idle and waiting)
        assert book.is_full == (not idle and len(used) == most)
    assert (book.all_idle(), book.all_waiting()) == (idle, waiting)
    assert book.opened == len(used)


def test_connections_that_nobody_needs_for_a_while_are_given_up() -> None:
    book: PoolBook[str, None] = PoolBook(3)
    for _ in range(3):
        assert book.take() is Instead.OPEN
    for name, at in (("a", 0.0), ("b", 1.0), ("c", KEEP_S)):
        book.give(name, at)
    assert book.expired(KEEP_S - 0.5) == []
    assert book.expired(KEEP_S) == ["a"]
    assert (book.expired(KEEP_S + 5.0), book.opened, book.take()) == (["b"], 1, "c")
