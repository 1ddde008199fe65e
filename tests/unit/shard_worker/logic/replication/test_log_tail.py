from hypothesis import given
from hypothesis import strategies as st

from shoal.core.ids import Seq
from shoal.shard_worker.logic.replication.log_tail import Damaged, TailFacts, Torn, Whole, judge_tail

SEQS = st.integers(min_value=0, max_value=6).map(Seq)


def facts(*, last_seq=5, broken=False, valid_behind=False, watermark_seq=0, applied_seq=0) -> TailFacts:
    return TailFacts(
        last_seq=Seq(last_seq),
        broken=broken,
        valid_behind=valid_behind,
        watermark_seq=Seq(watermark_seq),
        applied_seq=Seq(applied_seq),
    )


def test_a_log_that_ends_with_its_last_record_is_whole():
    assert judge_tail(facts(watermark_seq=5, applied_seq=5)) == Whole()


def test_bytes_with_nothing_valid_behind_and_beyond_every_witness_are_a_torn_tail():
    assert judge_tail(facts(broken=True, watermark_seq=5, applied_seq=4)) == Torn()


def test_a_valid_record_behind_an_unreadable_one_is_damage():
    assert judge_tail(facts(broken=True, valid_behind=True)) == Damaged("valid records follow the unreadable one after seq 5")


def test_the_watermark_forbids_to_cut_what_it_covers():
    verdict = judge_tail(facts(broken=True, watermark_seq=6))
    assert verdict == Damaged("the log was durable up to seq 6 but is readable only up to 5")


def test_what_the_store_has_applied_forbids_to_cut_it():
    verdict = judge_tail(facts(broken=True, applied_seq=6))
    assert verdict == Damaged("the store has applied seq 6 but the log is readable only up to 5")


def test_a_log_cut_cleanly_before_a_witness_is_damage_too():
    assert isinstance(judge_tail(facts(watermark_seq=6)), Damaged)
    assert isinstance(judge_tail(facts(applied_seq=6)), Damaged)


@given(SEQS, st.booleans(), st.booleans(), SEQS, SEQS)
def test_a_tail_is_cut_only_when_no_witness_speaks_against_it(last_seq, broken, valid_behind, watermark_seq, applied_seq):
    verdict = judge_tail(
        facts(last_seq=last_seq, broken=broken, valid_behind=valid_behind, watermark_seq=watermark_seq, applied_seq=applied_seq)
    )
    reached = last_seq >= watermark_seq and last_seq >= applied_seq
    expected = Damaged if not reached or (broken and valid_behind) else Torn if broken else Whole
    assert type(verdict) is expected
