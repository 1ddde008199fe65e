from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.errors import InvalidArgument
from shoal.v1 import common_pb2, search_pb2
from shoal.wire.connect_json import message_from_json, message_to_json

Request = search_pb2.SearchRequest


def read(text: str | bytes) -> search_pb2.SearchRequest:
    return message_from_json(Request, text.encode() if isinstance(text, str) else text)


def test_both_spellings_of_a_name_are_read() -> None:
    assert read('{"withPayload": true}') == read('{"with_payload": true}') == Request(with_payload=True)


def test_how_values_map() -> None:
    seqs = [common_pb2.ShardSeq(seq=2**63)]
    assert read(f'{{"minSeqs": [{{"seq": "{2**63}"}}]}}') == read(f'{{"minSeqs": [{{"seq": {2**63}}}]}}') == Request(min_seqs=seqs)
    assert read('{"consistency": "CONSISTENCY_ANY"}') == read('{"consistency": 1}') == Request(consistency=1)
    assert read('{"params": {"ef": 64}}') == Request(params={"ef": 64})
    assert math.isnan(read('{"legs": [{"vectors": {"values": ["NaN"]}}]}').legs[0].vectors.values[0])
    vectors = read('{"legs": [{"vectors": {"dim": 2, "data": "AACAPwAAAEA="}}]}').legs[0].vectors
    assert np.frombuffer(vectors.data, "<f4").tolist() == [1.0, 2.0]


def test_how_answers_map() -> None:
    ids = common_pb2.PointIds(integers=[-5, 2**60], strings=["é"], string_positions=[2])
    hits = common_pb2.Hits(counts=[3], ids=ids, scores=[0.5, math.inf, math.nan], payloads=['{"a":1}', "", ""])
    body = json.loads(message_to_json(search_pb2.SearchResponse(hits=hits)))
    assert body == {
        "hits": {
            "counts": [3],
            "ids": {"integers": ["-5", str(2**60)], "strings": ["é"], "stringPositions": [2]},
            "scores": [0.5, "Infinity", "NaN"],
            "payloads": ['{"a":1}', "", ""],
        }
    }
    assert message_to_json(search_pb2.SearchResponse()) == b"{}"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "must be an object"),
        ("[]", "must be an object"),
        ("null", "must be an object"),
        ("{", "Failed to load JSON"),
        (b'{"collection": "\xff"}', "not UTF-8: byte 0xff at 16"),
        ('{"kk": 1}', 'no field named "kk"'),
        ('{"k": 1, "k": 2}', "duplicate key k"),
        ('{"k": 1.5}', "k field"),
        ('{"k": -1}', "k field"),
        ('{"k": 4294967296}', "k field"),
        ('{"k": ' + "9" * 5_000 + "}", "4300 digits"),
        ('{"collection": 5}', "collection field"),
        ('{"collection": "\\ud800"}', "collection"),
        ('{"consistency": "SOMETIMES"}', "consistency field"),
        ('{"params": 5}', "params field"),
        ('{"legs": {"a": 1}}', "legs field"),
        ('{"legs": [null]}', "legs field"),
        ('{"legs": [{"vectors": {"data": "A"}}]}', "data field"),
        ('{"legs": [{"vectors": {"values": [1e300]}}]}', "values"),
        ('{"radius": 1e999}', "radius"),
        ('{"filter": ' + '{"not": ' * 150 + "{}" + "}" * 151, "filter field"),
        ('{"filter": ' + '{"not": ' * 5_000 + "{}" + "}" * 5_001, "nested too deeply|recursion"),
        ('{"legs": ' + "[" * 100_000, "nested too deeply|recursion"),
    ],
)
def test_what_is_no_request_is_refused_by_name(text: str | bytes, told: str) -> None:
    with pytest.raises(InvalidArgument, match=told) as caught:
        read(text)
    assert len(caught.value.message) < 400


@settings(deadline=None, max_examples=200)
@given(st.one_of(st.binary(max_size=40), st.from_regex(rb'\{("(legs|k|params|filter)":(\[|\{|\d|"|null|\]|\}|,|:)*)?\}?', fullmatch=True)))
def test_any_bytes_are_a_request_or_refused(data: bytes) -> None:
    try:
        message = read(data)
    except InvalidArgument:
        return
    assert message_from_json(Request, message_to_json(message)) == message
