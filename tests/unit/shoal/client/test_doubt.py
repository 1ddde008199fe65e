from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.client.doubt import Doubt
from shoal.core.errors import DeadlineExceeded, ErrorDetails, Internal, InvalidArgument, ResourceExhausted, Unavailable

KINDS = st.sampled_from([Unavailable, DeadlineExceeded, Internal, InvalidArgument, ResourceExhausted])
WORDS = st.dictionaries(st.sampled_from(["c/0", "c/1", "c/2"]), st.sampled_from(["no", "maybe", "yes"]), max_size=3)


@settings(max_examples=200)
@given(st.lists(st.tuples(KINDS, WORDS), max_size=5))
def test_the_strongest_word_of_each_shard_counts_and_silence_is_doubt(attempts):
    doubt = Doubt()
    for kind, words in attempts:
        doubt = doubt.after(kind("x", ErrorDetails(applied=words)))
    silent = any(kind in (Unavailable, DeadlineExceeded, Internal) and not words for kind, words in attempts)
    for shard in ("c/0", "c/1", "c/2"):
        words = [told[shard] for _, told in attempts if shard in told]
        expected = "yes" if "yes" in words else "maybe" if "maybe" in words or silent else "no"
        assert doubt.applied.get(shard) == (expected if words else None)
