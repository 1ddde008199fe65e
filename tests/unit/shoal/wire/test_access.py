from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.access import Verb, scope_of
from shoal.core.api_keys import CreateKey, KeyInfo, ListKeys, NewKey, RevokeKey
from shoal.core.errors import InvalidArgument
from shoal.v1 import access_pb2, collections_pb2, search_pb2
from shoal.wire.access import CALLS, METHODS, collection_reader, create_from_message, revoke_from_message
from shoal.wire.public_calls import decoded
from shoal.wire.services import ACCESS, COORDINATOR
from tests.unit.shoal.wire.strategies import over_the_wire

IDS = st.text("0123456789abcdef", min_size=12, max_size=12)
NAMES = st.text("abc é", min_size=1, max_size=9)
SCOPES = st.lists(
    st.builds(scope_of, st.sampled_from(["docs-*", "x"]), st.sets(st.sampled_from([Verb.READ, Verb.MANAGE]), min_size=1)),
    min_size=1,
    max_size=3,
).map(tuple)
INFOS = st.builds(
    KeyInfo,
    id=IDS,
    name=NAMES,
    scopes=SCOPES,
    created_ms=st.integers(0, 2**41),
    expires_ms=st.integers(0, 2**41),
    rate_per_s=st.floats(0, 1e9),
    burst=st.integers(0, 1_000_000),
    concurrency=st.integers(0, 1_000_000),
)
REQUESTS: dict[Any, Any] = {
    CreateKey: st.builds(
        CreateKey,
        name=NAMES,
        scopes=SCOPES,
        lifetime_s=st.floats(0, 1e9),
        rate_per_s=st.floats(0.5, 1e9),
        burst=st.integers(0, 1_000_000),
        concurrency=st.integers(0, 1_000_000),
        asked_by=NAMES,
        request_id=NAMES,
    ),
    ListKeys: st.just(ListKeys()),
    RevokeKey: st.builds(RevokeKey, id=IDS, asked_by=NAMES),
}
ANSWERS: dict[Any, Any] = {
    CreateKey: st.builds(NewKey, key=INFOS, text=NAMES),
    ListKeys: st.lists(INFOS, max_size=3).map(tuple),
    RevokeKey: INFOS,
}


def test_each_request_has_an_rpc_at_the_router_and_at_the_leader() -> None:
    assert set(CALLS) == set(METHODS) == set(REQUESTS)
    names = {call.name for call in CALLS.values()}
    assert names == {each.name for each in ACCESS.methods}
    assert names < {each.name for each in COORDINATOR.methods}


@given(st.data())
@pytest.mark.parametrize("kind", list(CALLS), ids=lambda kind: kind.__name__)
def test_a_request_and_its_answer_come_back(kind: Any, data: st.DataObject) -> None:
    asked, answer, call = data.draw(REQUESTS[kind]), data.draw(ANSWERS[kind]), CALLS[kind]
    assert call.read(over_the_wire(call.to_message(asked))) == asked
    assert decoded(METHODS[kind], call.written(answer).SerializeToString(), "router:1") == answer


def test_unusable_requests_are_refused() -> None:
    scope = access_pb2.KeyScope(collections="*", verbs=["own"])
    with pytest.raises(InvalidArgument, match="verb 'own'"):
        create_from_message(access_pb2.CreateKeyRequest(name="app", scopes=[scope]))
    with pytest.raises(InvalidArgument, match="scopes of a key"):
        create_from_message(access_pb2.CreateKeyRequest(name="app"))
    with pytest.raises(InvalidArgument, match="id of a key"):
        revoke_from_message(access_pb2.RevokeKeyRequest(id="../names/x"))


def test_the_text_of_a_key_is_not_shown() -> None:
    info = KeyInfo(id="", name="", scopes=(), created_ms=0, expires_ms=0, rate_per_s=0, burst=0, concurrency=0)
    assert "secret" not in repr(NewKey(key=info, text="secret"))


@given(st.lists(st.text(max_size=5), max_size=3), st.binary(max_size=30))
def test_the_collection_of_a_request_is_read_as_the_whole_message_reads_it(names: list[str], rest: bytes) -> None:
    data = b"".join(search_pb2.SearchRequest(collection=name, k=7).SerializeToString() for name in names) + rest
    try:
        whole = search_pb2.SearchRequest.FromString(data).collection
    except DecodeError:
        return
    assert collection_reader(search_pb2.SearchRequest, "collection")(data) == whole


def test_a_collection_in_another_place_is_read_too() -> None:
    create = collections_pb2.CreateCollectionRequest(spec=collections_pb2.CollectionSpec(name="docs"))
    read = collection_reader(collections_pb2.CreateCollectionRequest, "spec.name")
    assert read(create.SerializeToString()) == "docs"
    with pytest.raises(DecodeError):
        read(b"\xff")
