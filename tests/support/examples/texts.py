"""Draw text queries and what is said of hits of text searches, for property tests."""

from __future__ import annotations

from hypothesis import strategies as st

from shoal.core.fused_search import FieldSpans
from shoal.core.text_calls import TextExplain, WordShare
from shoal.core.text_query import Match, QueryWord, TextAsk

words = st.text(max_size=8)
field_names = st.sampled_from(["title", "body", "a.b"])
numbers = st.floats(allow_nan=False)
uint32 = st.integers(0, 2**32 - 1)
uint64 = st.integers(0, 2**64 - 1)

_lists = st.lists(words, max_size=3).map(tuple)
asks = st.builds(
    TextAsk,
    text=words,
    fields=st.dictionaries(field_names, numbers, max_size=3).map(lambda boosts: tuple(sorted(boosts.items()))),
    match=st.sampled_from(list(Match)),
    must=_lists,
    must_not=_lists,
    phrases=_lists,
    prefix=words,
)

query_words = st.builds(QueryWord, field_names, st.text(st.characters(), max_size=5), st.booleans())
word_shares = st.builds(WordShare, field=field_names, word=words, share=numbers, prefix=st.booleans())
_spans = st.lists(st.tuples(uint32, uint32), max_size=4).map(tuple)
field_spans = st.lists(st.builds(FieldSpans, field_names, _spans), max_size=3).map(tuple)
text_explains = st.builds(
    TextExplain,
    shard=uint32,
    segment=words,
    state=words,
    query=uint32,
    rows=uint64,
    words=uint32,
    postings=uint64,
    plan=words,
    eligible=uint64,
    scored=uint64,
    us=numbers,
)
