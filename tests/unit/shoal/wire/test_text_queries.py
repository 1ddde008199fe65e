from __future__ import annotations

import pytest
from hypothesis import given

from shoal.core.errors import InvalidArgument
from shoal.core.fused_search import FieldSpans
from shoal.core.text_calls import TextExplain, WordShare
from shoal.core.text_query import Match, TextAsk
from shoal.v1 import search_pb2
from shoal.wire import text_queries as wire
from tests.support.examples.texts import asks, field_spans, text_explains, word_shares
from tests.unit.shoal.wire.strategies import over_the_wire


@given(ask=asks)
def test_a_query_comes_back(ask: TextAsk) -> None:
    assert wire.ask_from_message(over_the_wire(wire.ask_to_message(ask))) == ask


def test_fields_come_back_by_name() -> None:
    ask = TextAsk(text="a", fields=(("title", 2.0), ("body", 1.0)))
    assert wire.ask_from_message(over_the_wire(wire.ask_to_message(ask))).fields == (("body", 1.0), ("title", 2.0))


def test_a_message_without_a_match_means_any() -> None:
    assert wire.ask_from_message(search_pb2.TextQuery(text="a")) == TextAsk(text="a", match=Match.ANY)


def test_an_unknown_match_is_named() -> None:
    with pytest.raises(InvalidArgument, match="match is 'some', it must be one of any, all") as raised:
        wire.ask_from_message(search_pb2.TextQuery(match="some"))
    assert raised.value.details.field == "match"


@given(share=word_shares)
def test_a_share_comes_back(share: WordShare) -> None:
    assert wire.shares_from_messages([over_the_wire(each) for each in wire.shares_to_messages([share])]) == (share,)


def test_a_lone_surrogate_in_a_word_is_replaced() -> None:
    (message,) = wire.shares_to_messages([WordShare("body", "a\ud800é\udfff\U0001f41f", 1.0)])
    assert over_the_wire(message).word == "a\ufffdé\ufffd\U0001f41f"


@given(marks=field_spans)
def test_spans_come_back(marks: tuple[FieldSpans, ...]) -> None:
    assert wire.marks_from_message(over_the_wire(wire.marks_to_message(marks))) == marks


def test_spans_without_an_end_are_refused() -> None:
    message = search_pb2.Highlights(fields=[search_pb2.FieldSpans(field="body", begins=[1, 2], ends=[3])])
    with pytest.raises(InvalidArgument, match="2 begins and 1 ends are given for field 'body'"):
        wire.marks_from_message(message)


@given(explain=text_explains)
def test_an_explanation_comes_back(explain: TextExplain) -> None:
    assert wire.text_explain_from_message(over_the_wire(wire.text_explain_to_message(explain))) == explain
