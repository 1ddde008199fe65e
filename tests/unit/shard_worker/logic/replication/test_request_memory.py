from hypothesis import given
from hypothesis import strategies as st

from shoal.core.ids import RequestId, Seq
from shoal.shard_worker.logic.replication.request_memory import Remembered, RequestMemory, TooOld, Unheard


def entry(client: str, number: int, seq: int, time_ms: int = 0) -> Remembered:
    return Remembered(request_id=RequestId(client, number), seq=Seq(seq), affected=seq * 10, time_ms=time_ms)


def test_an_applied_write_is_found_and_another_is_not():
    memory = RequestMemory([entry("a", 1, 5)])
    assert memory.look_up(RequestId("a", 1)) == entry("a", 1, 5)
    assert memory.look_up(RequestId("a", 2)) == Unheard()
    assert memory.look_up(RequestId("b", 1)) == Unheard()


def test_a_number_that_left_the_window_is_too_old_to_tell_and_never_unheard():
    memory = RequestMemory(per_client=3)
    forgetting = memory.remember([entry("a", number, number) for number in range(1, 7)])
    assert forgetting.through == (("a", 3),)
    assert memory.look_up(RequestId("a", 3)) == TooOld(newest=6)
    assert memory.look_up(RequestId("a", 4)) == entry("a", 4, 4)


def test_numbers_that_arrive_out_of_order_are_kept_within_the_window():
    memory = RequestMemory(per_client=10)
    memory.remember([entry("a", 7, 1)])
    assert memory.look_up(RequestId("a", 3)) == Unheard()
    memory.remember([entry("a", 3, 2)])
    assert memory.look_up(RequestId("a", 3)) == entry("a", 3, 2)


def test_silent_clients_are_forgotten_by_the_records_clock():
    memory = RequestMemory(expiry_ms=100)
    memory.remember([entry("old", 1, 1, time_ms=0), entry("kept", 1, 2, time_ms=50)])
    assert memory.remember([entry("new", 1, 3, time_ms=120)]).clients == ("old",)
    assert memory.look_up(RequestId("old", 1)) == Unheard()
    assert memory.look_up(RequestId("kept", 1)) == entry("kept", 1, 2, time_ms=50)


def test_too_many_clients_forget_the_longest_silent():
    memory = RequestMemory(clients=2)
    memory.remember([entry("a", 1, 1), entry("b", 1, 2), entry("a", 2, 3)])
    assert memory.remember([entry("c", 1, 4)]).clients == ("b",)
    assert memory.look_up(RequestId("a", 1)) == entry("a", 1, 1)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 30)), max_size=60, unique=True))
def test_a_memory_loaded_from_what_is_kept_answers_as_the_one_that_was_lost(writes):
    """After a restart, a replica must remember the same requests. stored: what a store holds that deletes what the
    memory tells it to forget.
    """
    memory = RequestMemory(per_client=5, clients=2)
    stored: dict[RequestId, Remembered] = {}
    for seq, (client, number) in enumerate(writes, start=1):
        if memory.look_up(RequestId(client, number)) != Unheard():
            continue
        applied = entry(client, number, seq, time_ms=seq)
        forgetting = memory.remember([applied])
        stored[applied.request_id] = applied
        for name, through in forgetting.through:
            stored = {key: value for key, value in stored.items() if key.client != name or key.number > through}
        stored = {key: value for key, value in stored.items() if key.client not in forgetting.clients}
    again = RequestMemory(stored.values(), per_client=5, clients=2)
    for client in "abc":
        for number in range(1, 31):
            assert again.look_up(RequestId(client, number)) == memory.look_up(RequestId(client, number))
