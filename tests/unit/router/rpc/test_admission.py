from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.access import RULES, scope_from_text
from shoal.core.api_keys import ApiKey, CreateKey, key_text, made_key
from shoal.core.errors import PermissionDenied, ResourceExhausted, ShoalError, Unauthenticated, Unavailable
from shoal.router.logic.key_limits import MOST_FAILURES
from shoal.router.rpc.admission import Admission
from shoal.router.rpc.audit_lines import MOST_REFUSALS_PER_S
from shoal.runtime.calls import CallContext, UnaryCall
from shoal.runtime.interceptors import Unreadable
from shoal.v1 import collections_pb2, operations_pb2, search_pb2

SEARCH, LIST, DROP, DRAIN = (
    "/shoal.v1.Search/Search",
    "/shoal.v1.Collections/List",
    "/shoal.v1.Collections/Drop",
    "/shoal.v1.Operations/DrainWorker",
)
MESSAGES: dict[str, tuple[Any, Any]] = {
    SEARCH: (search_pb2.SearchRequest, search_pb2.SearchResponse),
    LIST: (collections_pb2.ListCollectionsRequest, collections_pb2.ListCollectionsResponse),
    DROP: (collections_pb2.DropCollectionRequest, collections_pb2.DropCollectionResponse),
    DRAIN: (operations_pb2.DrainWorkerRequest, operations_pb2.WorkerStanding),
}
PEER = "ipv4:10.0.0.1:5000"


def text(number: int) -> str:
    return key_text(f"{number:012x}", bytes([number]) * 32)


def key(number: int, *scopes: str, **others: Any) -> ApiKey:
    given = tuple(map(scope_from_text, scopes))
    return made_key(CreateKey(name="app", scopes=given, **others), text=text(number), now_ms=0)


class Context:
    def time_remaining(self) -> float | None:
        return None

    def peer(self) -> str:
        return PEER

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]]:
        return ()


CONTEXT: CallContext = Context()


class Keys:
    """Keys that a test changes."""

    def __init__(self, *keys: ApiKey) -> None:
        self.listed = True
        self.known = {each.id: each for each in keys}

    def get(self, id: str) -> ApiKey | None:
        return self.known.get(id)


class Scene:
    """An admission with keys, clocks that tests move, and calls that note who came through."""

    def __init__(self, *keys: ApiKey, admin: ApiKey | None = None) -> None:
        self.keys, self.now_s, self.now_ms = Keys(*keys), 0.0, 0
        self.admission = Admission(keys=self.keys, admin=admin, clock=lambda: self.now_s, wall_ms=lambda: self.now_ms)
        self.through: list[tuple[str, str]] = []
        self.answer: Any = None
        self.going: asyncio.Event | None = None

    def call(self, path: str) -> UnaryCall:
        async def handle(request: Any, context: CallContext) -> Any:
            self.through.append(("handle", context.peer()))
            if self.going is not None:
                await self.going.wait()
            return self.answer if self.answer is not None else MESSAGES[path][1]()

        def at_once(request: bytes, context: CallContext) -> bytes:
            self.through.append(("at_once", context.peer()))
            return b"done"

        def together(asked: Sequence[tuple[bytes, CallContext]]) -> Sequence[bytes]:
            self.through.extend(("together", context.peer()) for _, context in asked)
            return [b"done"] * len(asked)

        request, response = MESSAGES[path]
        search = path == SEARCH
        made = UnaryCall(
            path=path,
            request=request,
            response=response,
            handle=handle,
            at_once=at_once if search else None,
            together=together if search else None,
        )
        return self.admission.guarded(made)

    def admitted(self, path: str, header: str, peer: str = PEER) -> UnaryCall:
        admit = self.call(path).admit
        assert admit is not None
        return admit(header, peer)

    def handled(self, path: str, header: str, request: Any) -> Any:
        return asyncio.run(self.admitted(path, header).handle(request, CONTEXT))  # type: ignore[arg-type]

    def refuses(self, kind: type[ShoalError], path: str, header: str, peer: str = PEER) -> ShoalError:
        with pytest.raises(kind) as refused:
            self.admitted(path, header, peer)
        return refused.value


def bearer(number: int) -> str:
    return f"Bearer {text(number)}"


def search(collection: str) -> Any:
    return search_pb2.SearchRequest(collection=collection, k=1)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        text(1),
        f"Basic {text(1)}",
        f"Bearer {text(1)} ",
        f"Bearer {text(1)}, Bearer {text(1)}",
        f"Bearer\t{text(1)}",
        bearer(2),
    ],
)
def test_other_headers_are_refused_and_are_not_repeated(header: str) -> None:
    scene = Scene(key(1, "*:read"))
    refused = scene.refuses(Unauthenticated, SEARCH, header)
    assert text(1) not in refused.message
    assert text(2) not in refused.message


@given(st.text() | st.from_regex(r"(?i:bearer) {1,2}shoal_0{11}[0-9a-f]_[A-Za-z0-9_-]{43}"))
def test_no_header_but_the_right_one_is_admitted(header: str) -> None:
    scene = Scene(key(1, "*:read"))
    try:
        scene.admitted(SEARCH, header)
    except Unauthenticated:
        return
    assert header.rsplit(" ", maxsplit=1)[-1] == text(1)


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER  "])
def test_the_right_key_is_admitted(scheme: str) -> None:
    scene = Scene(key(1, "*:read"))
    assert scene.admitted(SEARCH, scheme + text(1)) is scene.admitted(SEARCH, scheme + text(1))


def test_nobody_is_admitted_before_the_keys_are_known_and_all_are_while_the_store_is_away() -> None:
    scene = Scene(key(1, "*:read"), admin=key(2, "*:read"))
    scene.keys.listed = False
    for number in (1, 2, 3):
        assert "has not read the keys" in scene.refuses(Unavailable, SEARCH, bearer(number)).message
    scene.keys.listed = True
    scene.admitted(SEARCH, bearer(1))
    scene.admitted(SEARCH, bearer(2))


def test_a_revoked_key_is_refused_and_others_go_on() -> None:
    scene = Scene(key(1, "*:read"), key(2, "*:read"))
    before = scene.admitted(SEARCH, bearer(2))
    scene.admitted(SEARCH, bearer(1))
    del scene.keys.known[key(1, "*:read").id]
    scene.admission.keys_changed()
    scene.refuses(Unauthenticated, SEARCH, bearer(1))
    assert scene.admitted(SEARCH, bearer(2)) is before


def test_a_key_whose_scopes_have_changed_has_the_new_ones() -> None:
    scene = Scene(key(1, "*:read"))
    scene.admitted(SEARCH, bearer(1))
    changed = key(1, "*:write")
    scene.keys.known[changed.id] = changed
    scene.admission.keys_changed()
    scene.refuses(PermissionDenied, SEARCH, bearer(1))


def test_an_expired_key_is_refused_also_if_it_was_in_use() -> None:
    scene = Scene(key(1, "*:read", lifetime_s=5.0))
    scene.admitted(SEARCH, bearer(1))
    scene.now_ms = 5_000
    assert "expired" in scene.refuses(Unauthenticated, SEARCH, bearer(1)).message


def test_a_verb_that_a_key_lacks_is_refused_before_the_request_is_read() -> None:
    scene = Scene(key(1, "*:write"))
    assert "may not read" in scene.refuses(PermissionDenied, SEARCH, bearer(1)).message
    scene.refuses(PermissionDenied, DRAIN, bearer(1))


@pytest.mark.parametrize("scope", ["*:read", "docs-*:read"])
def test_every_door_is_open_for_a_collection_of_the_key(scope: str) -> None:
    scene = Scene(key(1, scope))
    admitted, request = scene.admitted(SEARCH, bearer(1)), search("docs-1").SerializeToString()
    assert admitted.at_once is not None
    assert admitted.together is not None
    assert admitted.at_once(request, CONTEXT) == b"done"
    assert list(admitted.together([(request, CONTEXT)] * 2)) == [b"done"] * 2
    scene.handled(SEARCH, bearer(1), search("docs-1"))
    assert [door for door, _ in scene.through] == ["at_once", "together", "together", "handle"]


FORGED = [
    search("other").SerializeToString(),
    search("docs-1").SerializeToString() + search("other").SerializeToString(),
    search("").SerializeToString(),
    b"\x0a\x02\xff\xff",
    b"\xff",
    search("docs-1").SerializeToString() + b"\x22" + b"\x80\x80\x08" + bytes(128 * 1024),
]


@pytest.mark.parametrize("request_bytes", FORGED)
def test_no_short_door_opens_for_what_is_not_surely_allowed(request_bytes: bytes) -> None:
    scene = Scene(key(1, "docs-*:read"))
    admitted, good = scene.admitted(SEARCH, bearer(1)), search("docs-1").SerializeToString()
    assert admitted.at_once is not None
    assert admitted.together is not None
    assert admitted.at_once(request_bytes, CONTEXT) is None
    assert list(admitted.together([(request_bytes, CONTEXT), (good, CONTEXT)])) == [None, b"done"]
    assert [door for door, _ in scene.through] == ["together"]


@pytest.mark.parametrize("collection", ["other", "", "docs"])
def test_another_collection_is_refused_whether_it_exists_or_not(collection: str) -> None:
    scene = Scene(key(1, "docs-*:read"))
    with pytest.raises(PermissionDenied, match="may not read in collection"):
        scene.handled(SEARCH, bearer(1), search(collection))
    assert scene.through == []


def test_what_cannot_be_read_is_left_to_the_guard() -> None:
    scene = Scene(key(1, "docs-*:read"))
    scene.handled(SEARCH, bearer(1), Unreadable("no message"))
    assert [door for door, _ in scene.through] == ["handle"]


def test_a_list_keeps_what_the_key_may_see() -> None:
    scene = Scene(key(1, "docs-*:read", "other:write"), key(2, "*:read"))

    def listed(number: int) -> list[str]:
        names = ("docs-1", "other", "docs-2")
        summaries = [collections_pb2.CollectionSummary(spec=collections_pb2.CollectionSpec(name=name)) for name in names]
        scene.answer = collections_pb2.ListCollectionsResponse(collections=summaries)
        answer = scene.handled(LIST, bearer(number), collections_pb2.ListCollectionsRequest())
        return [each.spec.name for each in answer.collections]

    assert listed(1) == ["docs-1", "docs-2"]
    assert listed(2) == ["docs-1", "other", "docs-2"]


def test_a_rate_is_kept_over_all_calls_of_a_key() -> None:
    scene = Scene(key(1, "*:read", rate_per_s=2.0))
    scene.admitted(SEARCH, bearer(1))
    scene.admitted(LIST, "bearer " + text(1))
    refused = scene.refuses(ResourceExhausted, SEARCH, bearer(1))
    assert (refused.details.limit, refused.details.retry_after_s) == ("rate_per_s", 0.5)
    scene.now_s = 0.5
    scene.admitted(SEARCH, bearer(1))


def test_calls_at_the_same_time_are_bounded_and_a_place_is_given_back() -> None:
    scene = Scene(key(1, "*:read", concurrency=1))

    async def story() -> None:
        scene.going = asyncio.Event()
        admitted = scene.admitted(SEARCH, bearer(1))
        first = asyncio.create_task(admitted.handle(search("docs"), CONTEXT))  # type: ignore[arg-type]
        while not scene.through:  # noqa: ASYNC110
            await asyncio.sleep(0)
        with pytest.raises(ResourceExhausted) as refused:
            await admitted.handle(search("docs"), CONTEXT)
        assert refused.value.details.limit == "concurrency"
        assert refused.value.details.retry_after_s
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        scene.going.set()
        await admitted.handle(search("docs"), CONTEXT)

    asyncio.run(story())


def test_a_host_that_fails_often_is_refused_and_good_keys_of_it_are_admitted() -> None:
    scene = Scene(key(1, "*:read"), key(2, "*:read"))
    wrong = "Bearer " + key_text(key(1, "*:read").id, bytes(32))
    for _ in range(MOST_FAILURES):
        assert "unknown" in scene.refuses(Unauthenticated, SEARCH, wrong).message
    assert "too many calls" in scene.refuses(Unauthenticated, SEARCH, wrong).message
    assert "too many calls" not in scene.refuses(Unauthenticated, SEARCH, wrong, "ipv4:10.0.0.2:1").message
    scene.admitted(SEARCH, bearer(2))
    scene.now_s = 1.0
    scene.admitted(SEARCH, bearer(1))
    scene.now_s = 0.0
    scene.admitted(SEARCH, bearer(1))


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [json.loads(record.getMessage()) for record in caplog.records if record.name == "shoal.audit"]


def test_administration_is_told_with_its_key_and_how_it_ended(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "shoal.audit")
    scene = Scene(key(1, "docs-*:manage,read", "*:operate"))
    scene.handled(DROP, bearer(1), collections_pb2.DropCollectionRequest(name="docs-1"))
    scene.handled(DRAIN, bearer(1), operations_pb2.DrainWorkerRequest(worker="w"))
    scene.handled(SEARCH, bearer(1), search("docs-1"))
    whose = {"key": "000000000001", "peer": PEER}
    assert lines(caplog) == [
        {**whose, "method": DROP, "collection": "docs-1", "outcome": "OK"},
        {**whose, "method": DRAIN, "collection": "", "outcome": "OK"},
    ]
    assert scene.through[1] == ("handle", f"{PEER} with key 000000000001")


def test_refusals_are_told_and_of_many_only_some(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(key(1, "docs-*:manage,read"))
    with pytest.raises(PermissionDenied):
        scene.handled(DROP, bearer(1), collections_pb2.DropCollectionRequest(name="other"))
    for _ in range(MOST_REFUSALS_PER_S + 4):
        scene.refuses(Unauthenticated, SEARCH, "")
    scene.now_s = 1.0
    scene.refuses(PermissionDenied, DRAIN, bearer(1))
    told = lines(caplog)
    assert told[0] == {"key": "000000000001", "peer": PEER, "method": DROP, "collection": "other", "outcome": "PERMISSION_DENIED"}
    assert told[1] == {"key": "", "peer": PEER, "method": SEARCH, "collection": "", "outcome": "UNAUTHENTICATED"}
    assert len(told) == MOST_REFUSALS_PER_S + 1
    assert told[-1] == {
        "key": "000000000001",
        "peer": PEER,
        "method": DRAIN,
        "collection": "",
        "outcome": "PERMISSION_DENIED",
        "left_out": 5,
    }


def test_a_call_without_a_rule_is_not_served() -> None:
    scene = Scene()
    call = UnaryCall(path="/shoal.v1.Search/Other", request=search_pb2.SearchRequest, response=search_pb2.SearchResponse, handle=None)  # type: ignore[arg-type]
    with pytest.raises(KeyError):
        scene.admission.guarded(call)
    assert call.path not in RULES


def test_a_reader_of_everything_searches_as_without_keys() -> None:
    scene = Scene(admin=key(1, "*:read"))
    guarded = scene.call(SEARCH)
    assert guarded.admit is not None
    admitted = guarded.admit(bearer(1), PEER)
    assert (admitted.handle, admitted.at_once, admitted.together) == (guarded.handle, guarded.at_once, guarded.together)
