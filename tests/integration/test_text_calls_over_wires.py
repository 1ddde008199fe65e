"""Text calls arrive at a worker, and its answers and errors come back, over gRPC and over HTTP."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from shoal.core.cluster_map import WorkerEntry
from shoal.core.errors import ErrorDetails, InvalidArgument, Unavailable
from shoal.core.filter import In
from shoal.core.fused_search import FieldSpans
from shoal.core.ids import CollectionId, Revision, Seq, ShardId, WorkerId
from shoal.core.points import id_array
from shoal.core.shard_calls import Consistency, OlderWorker, QueryGroup, ReadTerms
from shoal.core.text_calls import (
    TextExplain,
    TextFound,
    TextHitColumns,
    TextMarksCall,
    TextSearchCall,
    TextStatsCall,
    TextStatsFound,
    WordShare,
)
from shoal.core.text_query import Match, QueryWord, TextAsk
from shoal.core.text_statistics import FieldStatistics, TextStatistics
from shoal.router.rpc.remote_worker import RemoteWorker, connect_worker
from shoal.runtime.http.limits import HttpLimits
from shoal.runtime.http.server import HttpServer
from shoal.runtime.interceptors import call_table
from shoal.runtime.server import GrpcServer
from shoal.shard_worker.rpc.worker_service import WorkerServicer
from shoal.wire import text_calls
from shoal.wire.worker_methods import WORKER_METHODS
from tests.twins.cluster import TwinWorker, new_conversions

MESSAGE_BYTES = 1024 * 1024
WAIT_S = 20.0
SHARDS = (ShardId(CollectionId("c"), 4), ShardId(CollectionId("c"), 2))
ASK = TextAsk(text="a b", fields=(("body", 2.0),), match=Match.ALL, must=("c",), must_not=("d",), phrases=("e f",), prefix="g")
STATISTICS = TextStatistics(fields={"body": FieldStatistics(5, 50)}, holding={QueryWord("body", "a"): 3, QueryWord("body", "g", True): 0})
TERMS = {"shards": SHARDS, "consistency": Consistency.PRIMARY, "min_seqs": {SHARDS[0]: Seq(7), SHARDS[1]: Seq(8)}, "caller": "me"}
STATS = TextStatsCall(asks=(ASK,), **TERMS)  # type: ignore[arg-type]
SEARCH = TextSearchCall(
    asks=(ASK, TextAsk(text="x")),
    groups=(QueryGroup(k=3, filter=In(("n",), (1, 2))),),
    statistics=STATISTICS,
    min_score=0.25,
    shares=True,
    explain=True,
    **TERMS,  # type: ignore[arg-type]
)
MARKS = TextMarksCall(shard=SHARDS[1], ids=id_array([1, "1"]), ask=ASK, terms=ReadTerms(min_seq=Seq(3), caller="me"))
FAILED = {SHARDS[1]: Unavailable("gone", ErrorDetails(shard="c/2"))}
FOUND = TextFound(
    hits=TextHitColumns(
        counts=np.array([1, 1]),
        ids=id_array(["é", 3]),
        scores=np.array([2.0000000000000004, 0.1]),
        shares=((WordShare("body", "a", 2.0), WordShare("body", "g", 4e-16, prefix=True)), ()),
    ),
    failed=FAILED,
    explain=(
        TextExplain(
            shard=4, segment="s", state="sealed", query=1, rows=9, words=2, postings=5, plan="rows first", eligible=3, scored=2, us=1.5
        ),
    ),
    statistics=STATISTICS,
)
SPANS = ((FieldSpans("body", ((0, 2), (5, 9))),), ())

Check = Callable[["CannedTexts", RemoteWorker], Awaitable[None]]


class CannedTexts(TwinWorker):
    """A worker that remembers text calls and answers always the same, or with an error."""

    def __init__(self) -> None:
        super().__init__()
        self.error: InvalidArgument | None = None

    async def text_stats(self, call: TextStatsCall, timeout_s: float) -> TextStatsFound:
        self._asked(call)
        return TextStatsFound(statistics=STATISTICS, failed=FAILED)

    async def text_search(self, call: TextSearchCall, timeout_s: float) -> TextFound:
        self._asked(call)
        return FOUND

    async def text_marks(self, call: TextMarksCall, timeout_s: float) -> tuple[tuple[FieldSpans, ...], ...]:
        self._asked(call)
        return SPANS

    def _asked(self, call: object) -> None:
        self.calls.append(call)
        if self.error is not None:
            raise self.error


def entry(address: str, http_port: int = 0) -> WorkerEntry:
    return WorkerEntry(
        id=WorkerId("w0"), address=address, http_port=http_port, incarnation="i", pid=1, node="n", zone="", registration=Revision(1)
    )


def over_wire(check: Check, *, over_http: bool) -> None:
    """Run a check with a worker that serves calls on points over one wire only."""

    async def run() -> None:
        worker, server = CannedTexts(), GrpcServer(host="127.0.0.1", port=0, message_bytes=MESSAGE_BYTES)
        calls = WorkerServicer(worker, new_conversions()).calls()
        server.add(call_table(call for call in calls if not (over_http and WORKER_METHODS[call.path.rpartition("/")[2]].of_data)))
        http = HttpServer(
            host="127.0.0.1", port=0, table=call_table(calls), limits=HttpLimits(message_bytes=MESSAGE_BYTES), role="worker", server_id="i"
        )
        http_port = int((await http.start()).rpartition(":")[2]) if over_http else 0
        remote = connect_worker(entry(await server.start(), http_port), MESSAGE_BYTES, new_conversions())
        try:
            await check(worker, remote)
        finally:
            await remote.close()
            await server.stop(0)
            await http.stop(0)

    asyncio.run(run())


def plain(found: TextFound) -> tuple[object, ...]:
    hits = found.hits
    return (hits.counts.tolist(), hits.ids.tolist(), hits.scores.tolist(), hits.shares, found.explain, found.statistics)


@pytest.mark.parametrize("over_http", [False, True], ids=["grpc", "http"])
@pytest.mark.parametrize("many", [0, 10_000], ids=["read aside", "read at once"])
def test_calls_and_answers_arrive_as_they_were(over_http: bool, many: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_calls, "MANY_WORDS", many)

    async def check(worker: CannedTexts, remote: RemoteWorker) -> None:
        counted = await remote.text_stats(STATS, WAIT_S)
        found = await remote.text_search(SEARCH, WAIT_S)
        assert await remote.text_marks(MARKS, WAIT_S) == SPANS
        assert (counted.statistics, plain(found)) == (STATISTICS, plain(FOUND))
        for failed in (counted.failed, found.failed):
            assert {shard: (type(each), each.message, each.details) for shard, each in failed.items()} == {
                SHARDS[1]: (Unavailable, "gone", ErrorDetails(shard="c/2"))
            }
        stats, search, marks = worker.calls
        assert stats == STATS
        assert isinstance(search, TextSearchCall)
        assert (search.groups[0].k, search.groups[0].filter) == (3, In(("n",), (1, 2)))
        assert dataclasses.replace(search, groups=SEARCH.groups) == SEARCH
        assert isinstance(marks, TextMarksCall)
        assert (marks.shard, marks.ids.tolist(), marks.ask, marks.terms) == (MARKS.shard, [1, "1"], ASK, MARKS.terms)

    over_wire(check, over_http=over_http)


@pytest.mark.parametrize("over_http", [False, True], ids=["grpc", "http"])
def test_errors_arrive_with_their_field(over_http: bool) -> None:
    async def check(worker: CannedTexts, remote: RemoteWorker) -> None:
        worker.error = InvalidArgument("prefix is two words", ErrorDetails(field="prefix"))
        for asked in (remote.text_stats(STATS, WAIT_S), remote.text_search(SEARCH, WAIT_S), remote.text_marks(MARKS, WAIT_S)):
            with pytest.raises(InvalidArgument, match="prefix is two words") as raised:
                await asked
            assert raised.value.details.field == "prefix"

    over_wire(check, over_http=over_http)


def test_a_worker_of_an_older_version_is_recognised() -> None:
    async def run() -> None:
        server = GrpcServer(host="127.0.0.1", port=0, message_bytes=MESSAGE_BYTES)  # It does not know the calls.
        remote = connect_worker(entry(await server.start()), MESSAGE_BYTES, new_conversions())
        try:
            for asked in (remote.text_stats(STATS, WAIT_S), remote.text_search(SEARCH, WAIT_S), remote.text_marks(MARKS, WAIT_S)):
                with pytest.raises(OlderWorker):
                    await asked
        finally:
            await remote.close()
            await server.stop(0)

    asyncio.run(run())
