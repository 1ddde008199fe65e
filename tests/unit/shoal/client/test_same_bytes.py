"""Searches by one vector are sent in the bytes in which they were sent before there were legs, on every way."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.requests import Search
from shoal.v1 import search_pb2
from shoal.wire.fused_searches import is_fused
from shoal.wire.public_calls import METHODS, encoded
from tests.twins.router_answers import DictCluster, async_client_with, client_with
from tests.twins.router_bytes import BytesMockTransport, bytes_client_with

CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any], str]] = [
    ("search", ("c", [0.5, 1.0]), {}, "0a0163120e120c080212080000003f0000803f180a50016802"),
    (
        "search",
        ("c", [1, 2], 3),
        {"filter": {"label": 3, "t": {"$ne": "x"}}, "recall": 0.9, "explain": True, "allow_partial": True},
        "0a0163120e120c080212080000803f0000004018032a230a210a0f220d0a056c6162656c12040a0210060a0e1a0c220a0a017412050a030a0178"
        "39cdccccccccccec3f4801500160016802",
    ),
    (
        "search",
        ("c", np.array([1, 2], np.float32)),
        {"k": 5, "params": {"ef": 64}, "radius": 2.5, "with_vectors": True, "consistency": "any"},
        "0a0163120e120c080212080000803f000000401805320d0a026566110000000000005040410000000000000440500158016801",
    ),
    (
        "search_many",
        ("c", [[1, 2], [3, 4]]),
        {"k": [1, 2], "filter": [None, {"a": 1}], "exact": True, "with_payload": False},
        "0a016312161214080212100000803f000000400000404000008040200168027a050a010010017a120a010110021a0b22090a016112040a021002",
    ),
]
"""Verb, arguments, options, and the bytes that were sent before."""

USUAL = {"highlight": False, "offset": 0, "threshold": None, "group_by": None, "group_size": 1, "text": None, "legs": None}


@pytest.mark.parametrize(("verb", "arguments", "options", "sent"), CALLS)
@pytest.mark.parametrize("more", [{}, USUAL])
def test_bytes_are_those_of_before(verb: str, arguments: Any, options: dict[str, Any], sent: str, more: dict[str, Any]) -> None:
    client = client_with(DictCluster())
    client.create_collection("c", 2)
    getattr(client, verb)(*arguments, **options, **more)
    (request,) = client.mock.requests(Search)
    assert encoded(METHODS[Search], request, 10**6).hex() == sent

    async def awaited() -> list[Any]:
        other = async_client_with(DictCluster())
        await other.create_collection("c", 2)
        await getattr(other, verb)(*arguments, **options, **more)
        return other.mock.requests(Search)

    (again,) = asyncio.run(awaited())
    assert encoded(METHODS[Search], again, 10**6).hex() == sent


@settings(max_examples=60)
@given(
    st.integers(1, 20),
    st.sampled_from([None, {"a": 1}, {"a": {"$gt": 2}}]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([{}, {"recall": 0.5}, {"params": {"nprobe": 3}}, {"exact": True}, {"radius": 1.5}]),
)
def test_no_search_by_one_vector_is_read_as_one_with_legs(k: int, filter: Any, explain: bool, as_array: bool, accuracy: Any) -> None:
    sent: list[bytes] = []

    class Watched(BytesMockTransport):
        def exchange(self, address: str, kind: Any, data: bytes, timeout_s: float) -> bytes:
            sent.append(data)
            return super().exchange(address, kind, data, timeout_s)

    client = bytes_client_with(DictCluster())
    client._driver._transport = Watched(client.mock.answer)
    client.create_collection("c", 2)
    client.search("c", np.array([0.5, 1.0]) if as_array else [0.5, 1.0], k, filter=filter, explain=explain, **accuracy)
    usual = not explain and "params" not in accuracy and "radius" not in accuracy and not (filter and isinstance(filter["a"], dict))
    assert len(sent) == usual
    for data in sent or [encoded(METHODS[Search], client._driver._transport.requests(Search)[0], 10**6)]:
        message = search_pb2.SearchRequest.FromString(data)
        assert not is_fused(message)
        assert (message.candidates, message.legs[0].name) == (0, "")
