import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.points import id_array
from shoal.core.slots import SLOTS, owners_of_slots, slot_of, slots_of, split_evenly

INTEGERS = st.integers(-(2**63), 2**63 - 1)

GOLDEN_INTEGERS = [3503, 7361, 5838, 11296, 7847, 13275]
GOLDEN_STRINGS = [15606, 14400, 5518, 3895]


def test_the_mapping_is_part_of_the_data_format():
    """These values are fixed for ever. If one of them changed, stored points would not be found any more."""
    assert [slot_of(value) for value in (0, 1, 2, -1, 2**63 - 1, -(2**63))] == GOLDEN_INTEGERS
    assert [slot_of(value) for value in ("1", "a", "鱼", "x" * 512)] == GOLDEN_STRINGS


@given(st.lists(INTEGERS, max_size=30))
def test_columns_of_integers_agree_with_splitmix64_in_plain_python(values):
    def dumb(value: int) -> int:
        mask = 2**64 - 1
        z = (value + 0x9E3779B97F4A7C15) & mask
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        return (z ^ (z >> 31)) % SLOTS

    assert slots_of(np.array(values, dtype=np.int64)).tolist() == [dumb(value) for value in values]


@given(st.lists(st.one_of(INTEGERS, st.text(min_size=1, max_size=5)), max_size=30))
def test_a_column_agrees_with_its_ids_one_by_one(values):
    assert slots_of(id_array(values)).tolist() == [slot_of(value) for value in values]


@given(st.integers(1, 1_024))
def test_every_slot_has_exactly_one_owner_and_shares_are_even(shards):
    ranges = split_evenly(shards)
    owners = owners_of_slots([(number, (part,)) for number, part in enumerate(ranges)])
    sizes = np.bincount(owners, minlength=shards)
    assert owners.min() == 0
    assert sizes.sum() == SLOTS
    assert sizes.max() - sizes.min() <= 1


def test_a_slot_that_nobody_owns_is_marked():
    assert owners_of_slots([]).tolist() == [-1] * SLOTS
