import asyncio
import inspect

import numpy as np
import pytest
import uvloop

import shoal
from shoal.client import writes
from shoal.client.key_calls import AwaitedKeyCalls, KeyCalls
from shoal.client.operation_calls import AwaitedRebalanceCalls, AwaitedWorkerCalls, RebalanceCalls, WorkerCalls
from shoal.core.errors import DeadlineExceeded, InvalidArgument, NotFound, PreconditionFailed, ShoalError, Unavailable
from shoal.core.requests import Count, Upsert
from tests.twins.every_verb import SCRIPT, answers_of, awaited_answers_of
from tests.twins.router_answers import DictCluster, PausingClock, async_client_with, client_with

ITERATED = ("scroll", "rebalance.watch")
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(params=sorted(LOOPS))
def run(request):
    """Return a function that runs a coroutine on a loop of its own, and checks that no task is left at its end."""

    async def whole(coroutine):
        async with asyncio.timeout(30):
            result = await coroutine
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return result

    def on_loop(coroutine):
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            return runner.run(whole(coroutine))

    return on_loop


@pytest.fixture
def small_messages(monkeypatch):
    """Limit messages to ten points of dimension 2 with integer ids."""
    monkeypatch.setattr(writes, "MESSAGE_BYTES", 200)


GROUPS = {
    shoal.Client: {"rebalance": RebalanceCalls, "workers": WorkerCalls, "keys": KeyCalls},
    shoal.AsyncClient: {"rebalance": AwaitedRebalanceCalls, "workers": AwaitedWorkerCalls, "keys": AwaitedKeyCalls},
}


def verbs_of(kind):
    """Return the verbs of a client by name, those of its groups with a dot."""
    groups = [("", kind), *((f"{name}.", group) for name, group in GROUPS[kind].items())]
    members = [(f"{before}{name}", member) for before, each in groups for name, member in inspect.getmembers(each, inspect.isfunction)]
    return {name: member for name, member in members if not name.rpartition(".")[2].startswith("_")}


def test_both_clients_have_the_same_verbs_with_the_same_signatures_and_texts():
    blocking, awaited = verbs_of(shoal.Client), verbs_of(shoal.AsyncClient)
    assert list(blocking) == list(awaited)
    assert {"create_collection", "upsert", "upsert_batches", "search", "search_many", "scroll", "cluster"} <= set(blocking)
    for name in blocking:
        one, other = (inspect.signature(verbs[name]) for verbs in (blocking, awaited))
        plain = [[(each.name, each.kind, each.default) for each in signature.parameters.values()] for signature in (one, other)]
        assert plain[0] == plain[1], name
        if name not in (*ITERATED, "upsert_batches"):
            assert one == other, name
        assert inspect.iscoroutinefunction(awaited[name]) == (name not in ITERATED), name
        assert len(awaited[name].__doc__) > 20, name
    assert shoal.AsyncClient.search.__doc__ == shoal.Client.search.__doc__
    assert AwaitedWorkerCalls.drain.__doc__ == WorkerCalls.drain.__doc__


def test_both_clients_have_the_same_groups_of_verbs():
    for kind, groups in GROUPS.items():
        found = {name for name, member in inspect.getmembers(kind) if isinstance(member, property)}
        assert found == set(groups)
    client = client_with(DictCluster())
    assert {name: type(getattr(client, name)) for name in GROUPS[shoal.Client]} == GROUPS[shoal.Client]


def test_help_of_the_package_leads_on():
    assert {"connect", "connect_async", "AsyncClient"} <= set(shoal.__all__)
    for word in ("shoal.connect(", "shoal.connect_async(", "help(shoal.Client)"):
        assert word in shoal.__doc__


def test_both_clients_answer_alike(run):
    assert {name for name, _, _ in SCRIPT} | {"close"} == set(verbs_of(shoal.Client))
    with client_with(DictCluster()) as client:
        wanted = answers_of(client)

    async def answers():
        async with async_client_with(DictCluster()) as client:
            found = await awaited_answers_of(client)
            with pytest.raises(NotFound):
                await client.count("c")
        assert client.mock.closed
        return found

    assert run(answers()) == wanted


def test_bad_input_is_refused_before_anything_is_sent(run):
    async def check():
        client = async_client_with(DictCluster())
        with pytest.raises(InvalidArgument, match="NaN"):
            await client.upsert("c", [1], [[float("nan")]])
        with pytest.raises(InvalidArgument, match="batch"):
            client.scroll("c", batch=0)
        assert client.mock.sent == []

    run(check())
    for bad in ("https://a:1", 7600, None):
        with pytest.raises(InvalidArgument, match="address"):
            shoal.connect_async(bad)


def test_retries_carry_one_request_id_and_move_over_the_addresses(run):
    cluster, clock, outcomes = DictCluster(), PausingClock(), [Unavailable("down"), Unavailable("not primary"), Unavailable("not ready")]

    def answer(address, request, timeout_s):
        if isinstance(request, Upsert) and outcomes:
            raise outcomes.pop()
        return cluster(address, request, timeout_s)

    async def check():
        async with async_client_with(answer, address=["one:1", "two:2"], clock=clock) as client:
            await client.create_collection("c", 2)
            assert await client.upsert("c", [1], [[0.0, 1.0]]) == 1
            return client.mock

    mock = run(check())
    sent = [(address, request.request_id) for address, request, _ in mock.sent if isinstance(request, Upsert)]
    assert [address for address, _ in sent] == ["one:1", "two:2", "one:1", "two:2"]
    assert len({request_id for _, request_id in sent}) == 1
    assert clock.pauses == [0.05]


def test_the_deadline_ends_all_retries(run):
    clock = PausingClock()

    def answer(address, request, timeout_s):
        raise Unavailable("failed to connect")

    async def check():
        client = async_client_with(answer, clock=clock, timeout=5)
        with pytest.raises(Unavailable, match="gave up after"):
            await client.count("c")

    run(check())
    assert 4.0 < clock.now - 100.0 <= 5.0


class Held:
    """A cluster whose upserts wait until `go` is set. Counts the upserts: running now, the most at once,
    and cancelled.
    """

    def __init__(self, at_once=writes.MESSAGES_AT_ONCE):
        self.cluster, self.go, self.full = DictCluster(), asyncio.Event(), asyncio.Event()
        self.at_once, self.running, self.most, self.cancelled = at_once, 0, 0, 0

    def __call__(self, address, request, timeout_s):
        return self.upsert(address, request, timeout_s) if isinstance(request, Upsert) else self.cluster(address, request, timeout_s)

    async def upsert(self, *call):
        self.running += 1
        self.most = max(self.most, self.running)
        if self.running == self.at_once:
            self.full.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        return self.cluster(*call)


def test_four_messages_travel_at_a_time_and_no_more(run, small_messages):
    async def check():
        held = Held()
        async with async_client_with(held) as client:
            await client.create_collection("c", 2)
            writing = asyncio.create_task(client.upsert("c", range(100), np.zeros((100, 2))))
            await held.full.wait()
            held.go.set()
            assert await writing == 100
        assert held.most == writes.MESSAGES_AT_ONCE == 4
        assert len(held.cluster.points["c"]) == 100

    run(check())


def test_a_cancelled_upsert_cancels_its_calls_and_leaves_nothing_running(run, small_messages):
    async def check():
        held = Held()
        client = async_client_with(held)
        await client.create_collection("c", 2)
        writing = asyncio.create_task(client.upsert("c", range(100), np.zeros((100, 2))))
        await held.full.wait()
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        assert (held.cancelled, held.running) == (4, 0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert len(client.mock.requests(Upsert)) == 4
        held.go.set()
        assert await client.upsert("c", range(100), np.zeros((100, 2))) == 100

    run(check())


def test_a_timeout_around_a_call_that_sleeps_ends_it(run):
    def answer(address, request, timeout_s):
        raise Unavailable("down")

    async def check():
        client = async_client_with(answer)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await client.count("c", timeout=600)

    run(check())


def test_closing_wakes_who_waits_and_refuses_later_calls(run):
    async def check():
        asked = asyncio.Event()

        def answer(address, request, timeout_s):
            asked.set()
            raise Unavailable("down")

        client = async_client_with(answer)
        waiting = asyncio.create_task(client.count("c", timeout=600))
        await asked.wait()
        await client.close()
        with pytest.raises(PreconditionFailed, match="closed"):
            await waiting
        with pytest.raises(PreconditionFailed, match="closed"):
            await client.count("c")
        assert len(client.mock.requests(Count)) == 1

    run(check())


def test_after_a_failure_no_further_message_is_sent_and_the_error_says_how_far_it_came(run, small_messages, monkeypatch):
    monkeypatch.setattr("shoal.client.async_client.MESSAGES_AT_ONCE", 1)
    cluster = DictCluster()

    def answer(address, request, timeout_s):
        if isinstance(request, Upsert) and 20 in request.points.ids.tolist():
            raise DeadlineExceeded("too late")
        return cluster(address, request, timeout_s)

    async def check():
        client = async_client_with(answer)
        await client.create_collection("c", 2)
        with pytest.raises(DeadlineExceeded, match="20 of 100 points were acknowledged") as raised:
            await client.upsert("c", range(100), np.zeros((100, 2)))
        assert len(client.mock.requests(Upsert)) == 3
        assert raised.value.details.applied == {"c/0": "maybe", "c/1": "maybe"}

    run(check())


def test_progress_is_told_and_its_defects_are_not_swallowed(run, small_messages):
    async def check():
        client, told = async_client_with(DictCluster()), []
        await client.create_collection("c", 2)
        await client.upsert("c", range(45), np.zeros((45, 2)), progress=lambda rows, of: told.append((rows, of)))
        assert [of for _, of in told] == [45] * len(told)
        assert told[-1][0] == 45
        with pytest.raises(ZeroDivisionError):
            await client.upsert("c", range(45), np.zeros((45, 2)), progress=lambda rows, of: rows // 0)

    run(check())


def test_an_error_of_the_servers_is_the_same_class(run):
    def answer(address, request, timeout_s):
        raise NotFound("collection 'c' does not exist")

    async def check():
        with pytest.raises(ShoalError) as raised:
            await async_client_with(answer).count("c")
        assert type(raised.value) is NotFound

    run(check())
