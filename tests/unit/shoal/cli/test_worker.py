import dataclasses

import pytest

from shoal.cli import worker as commands
from shoal.core.operations import DrainWorker, ForgetWorker
from shoal.core.rebalance import ItemState, PlanKind
from tests.twins.balancing import LOST, NEW, NOW_MS, PLAN, STEPS, A, B, C


@pytest.fixture
def twin(shoal, monkeypatch):
    monkeypatch.setattr(commands, "_LOOK_EVERY_S", 0.0)
    monkeypatch.setattr(commands.time, "time", lambda: NOW_MS / 1000 + 3 * 86_400 + 50)
    return shoal.cluster.balancing


def requests(shoal, kind):
    return shoal.clients[-1].mock.requests(kind)


def test_workers_are_listed_with_what_becomes_of_them(shoal, twin):
    twin.workers[B] = dataclasses.replace(twin.workers[B], started_ms=0)
    shoal("worker", "drain", A, "--no-wait")
    twin.drain_steps = [(3, 0)]
    assert shoal("worker", "list").out.splitlines() == [
        "WORKER     STATE     ZONE  REPLICAS  PRIMARIES  MEMORY             DISK       SINCE",
        "3fa2-0001  draining  a            3  0          1.3 GiB / 4.0 GiB  1.5 GiB    3 d, 3 replicas left",
        "77c1-0002  up        b            7  7          1.3 GiB / 4.0 GiB  1.5 GiB",
        "9be0-0003  up        c            6  6          1.3 GiB / 4.0 GiB  1.5 GiB    3 d",
        "d1ed-0005  down                   2  -          -                  -          down for 4 min, replaced in 6 min",
        "e41d-0004  up        a            0  0          0 B / 4.0 GiB      200.0 MiB  3 d",
    ]


def test_json_for_programs(shoal, twin):
    twin.drain_steps = [(7, 0)] * 2
    shoal("worker", "drain", A, "--no-wait")
    listed = {each["id"]: each for each in shoal("worker", "list", "--json").document}
    assert sorted(listed) == sorted((A, B, C, LOST, NEW))
    drain = listed[A].pop("drain")
    assert (drain["primaries_only"], drain["since_ms"]) == (False, NOW_MS)
    assert listed[A] == {
        "id": A,
        "state": "up",
        "zone": "a",
        "replicas": 7,
        "primaries": 0,
        "left": 7,
        "memory": 1330 * 1024**2,
        "memory_budget": 4096 * 1024**2,
        "disk": 1530 * 1024**2,
        "started_ms": NOW_MS,
        "down_s": 0.0,
        "replaced_in_s": None,
    }
    assert (listed[LOST]["state"], listed[LOST]["down_s"], listed[LOST]["replaced_in_s"]) == ("down", 240.0, 360.0)


def test_a_drain_waits_until_the_worker_holds_nothing(shoal, twin):
    ended = shoal("worker", "drain", "77")
    assert ended.code == 0
    assert (
        ended.out
        == "worker 77c1-0002 holds nothing and leads nothing: it may be switched off. `shoal worker undrain 77c1-0002` takes it back\n"
    )
    (line,) = ended.err.splitlines()
    assert line.startswith("primaries handed over: 7 in ")
    (asked,) = requests(shoal, DrainWorker)
    assert (asked.worker, asked.primaries_only, "@" in asked.asked_by) == ("77", False, True)


def test_what_leaves_a_drained_worker_is_shown(shoal, twin):
    plan = dataclasses.replace(PLAN, kind=PlanKind.DRAIN, subject=B)
    twin._begin(plan, "me")
    twin.steps = (*STEPS[:1], *(((ItemState.DONE, 1.0), (ItemState.DONE, 1.0), (state, 0.5), *STEPS[0][3:]) for state in STATES))
    twin.drain_steps = [(7, 7), (7, 0), (2, 0), (1, 0), (0, 0)]
    ended = shoal("worker", "drain", B)
    assert ended.code == 0
    lines = ended.err.splitlines()
    assert [line.partition(" in ")[0] for line in lines if not line.startswith("[")] == ["primaries handed over: 7"]
    assert [line for line in lines if line.startswith("[")] == [
        "[3] things/4  77c1-0002 -> e41d-0004   copying 366.0 MiB",
        "[3] things/4  77c1-0002 -> e41d-0004   has the data, builds its indexes",
        "[3] things/4  77c1-0002 -> e41d-0004   leaving",
        "[3] things/4  77c1-0002 -> e41d-0004   moved",
    ]


STATES = (ItemState.COPYING, ItemState.WARMING, ItemState.LEAVING, ItemState.DONE)


def test_a_drain_for_a_restart_keeps_the_replicas(shoal, twin):
    ended = shoal("worker", "drain", B, "--primaries")
    assert ended.out == (
        "worker 77c1-0002 leads nothing and keeps its 7 replicas: it may be restarted. `shoal worker undrain 77c1-0002` takes it back\n"
    )
    assert requests(shoal, DrainWorker)[0].primaries_only
    assert "77c1-0002  leads nothing  b            7  0 " in shoal("worker", "list").out


def test_a_drain_without_waiting_says_how_to_see_it(shoal, twin):
    ended = shoal("worker", "drain", B, "--no-wait")
    said = "worker 77c1-0002 is being drained, it holds 7 replicas; `shoal worker list` shows how far it is\n"
    assert (ended.code, ended.out, ended.err) == (0, said, "")
    assert shoal("worker", "drain", C, "--no-wait", "--json").document["left"] == 6


def test_ctrl_c_leaves_it_draining(shoal, twin, monkeypatch):
    def interrupted(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(commands.time, "sleep", interrupted)
    ended = shoal("worker", "drain", B)
    assert (ended.code, ended.out) == (130, "")
    assert ended.err.splitlines()[-1] == (
        "error: interrupted, worker 77c1-0002 goes on to be drained; `shoal worker list` shows how far it is, "
        "`shoal worker undrain 77c1-0002` ends it"
    )
    assert twin.workers[B].drain is not None


def test_a_drain_that_stands_still_ends_with_a_code_of_its_own(shoal, twin, monkeypatch):
    monkeypatch.setattr(commands, "_STUCK_S", 0.0)
    twin.drain_steps = [(7, 7), (7, 0)]
    ended = shoal("worker", "drain", B)
    assert (ended.code, ended.out) == (5, "")
    assert ended.err.splitlines()[-1] == (
        "error: worker 77c1-0002 is not drained, nothing changed for 0 s: it holds 7 replicas and leads 7 shards; "
        "it goes on to be drained; `shoal rebalance watch` shows why"
    )


def test_a_drain_that_somebody_takes_back_is_told(shoal, twin, monkeypatch):
    listed, looks = twin.ListWorkers, []

    def taken_back(request):
        looks.append(request)
        if len(looks) == 2:
            twin.workers[B] = dataclasses.replace(twin.workers[B], drain=None)
        return listed(request)

    monkeypatch.setattr(twin, "ListWorkers", taken_back)
    ended = shoal("worker", "drain", B)
    assert (ended.code, ended.out) == (1, "")
    assert "worker 77c1-0002 is not drained any more: somebody has taken it back" in ended.err


def test_a_worker_that_ends_once_it_is_empty_was_drained(shoal, twin, monkeypatch):
    listed, looks = twin.ListWorkers, []

    def ended_meanwhile(request):
        looks.append(request)
        if len(looks) == 2:
            del twin.workers[B]
            twin.drain_steps = []
        return listed(request)

    monkeypatch.setattr(twin, "ListWorkers", ended_meanwhile)
    assert shoal("worker", "drain", B).out.startswith("worker 77c1-0002 holds nothing and leads nothing")


def test_a_worker_is_taken_back(shoal, twin):
    shoal("worker", "drain", B, "--no-wait")
    ended = shoal("worker", "undrain", "77c1")
    assert ended.out == ("worker 77c1-0002 is not drained any more, it holds 7 replicas; `shoal rebalance plan` shows what to move to it\n")
    assert twin.workers[B].drain is None
    assert shoal("worker", "undrain", B, "--json").document["drain"] is None


def test_a_lost_worker_is_forgotten_after_a_yes(shoal, twin):
    said = "worker d1ed-0005 is down for 4 min. Its 2 replicas are replaced at once, and it is refused if it comes back.\n"
    for typed in ("n\n", ""):
        ended = shoal("worker", "forget", "d1", typed=typed)
        assert (ended.code, ended.out.strip()) == (1, typed.strip())
        assert ended.err.startswith(said)
        assert ended.err.endswith("error: worker d1ed-0005 was not forgotten; answer y, or pass --yes\n")
        assert [each.confirmed for each in requests(shoal, ForgetWorker)] == [False]
    ended = shoal("worker", "forget", "d1", typed="y\n")
    assert ended.out.endswith("worker d1ed-0005 is forgotten; its 2 replicas are replaced, `shoal status` shows how far that is\n")
    assert [(each.worker, each.confirmed) for each in requests(shoal, ForgetWorker)] == [("d1", False), (LOST, True)]
    assert LOST not in shoal("worker", "list").out


def test_nobody_is_asked_with_yes(shoal, twin):
    ended = shoal("worker", "forget", LOST, "--yes", "--json")
    assert (ended.code, ended.err, ended.document) == (0, "", {"forgotten": LOST, "down_s": 240.0, "replicas": 2})


@pytest.mark.parametrize("words", [("drain", "zz"), ("drain", "zz", "--primaries"), ("undrain", "zz"), ("forget", "zz", "--yes")])
def test_an_unknown_worker_is_one_line(shoal, twin, words):
    before = dict(twin.workers)
    ended = shoal("worker", *words)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == (
        "error: worker 'zz' does not exist (there are: 3fa2-0001, 77c1-0002, 9be0-0003, d1ed-0005, e41d-0004); "
        "`shoal worker list` shows the workers\n"
    )
    assert twin.workers == before


@pytest.mark.parametrize("word", ["drain", "undrain", "forget"])
def test_the_beginning_of_several_ids_is_one_line(shoal, twin, word):
    other = dataclasses.replace(twin.workers[A], worker="3fa2-0009")
    twin.workers[other.worker] = other
    ended = shoal("worker", word, "3fa2")
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (1, "", 1)
    assert "is the beginning of several ids: 3fa2-0001, 3fa2-0009; give more of it" in ended.err


@pytest.mark.parametrize("word", ["drain", "undrain", "forget"])
def test_an_empty_name_is_refused_before_anything_is_asked(shoal, word):
    ended = shoal("worker", word, "")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("error: worker is empty, give its id or the beginning of it; ")
    assert shoal.clients[-1].mock.sent == []


def test_what_the_rest_cannot_hold_stays(shoal, twin):
    twin.workers = {A: twin.workers[A]}
    ended = shoal("worker", "drain", A)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == (
        "error: worker 3fa2-0001 cannot be drained: it is the last worker that may hold replicas; `shoal worker list` shows the workers\n"
    )
    assert twin.workers[A].drain is None


def test_a_live_worker_is_not_forgotten(shoal, twin):
    ended = shoal("worker", "forget", B, "--yes")
    assert (ended.code, ended.out) == (1, "")
    assert "worker 77c1-0002 is up: only a worker that is down can be forgotten; drain it instead" in ended.err


@pytest.mark.parametrize("words", [("drain",), ("drain", A, "--nope"), ("list", "more")])
def test_wrong_usage_is_one_line(shoal, words):
    ended = shoal("worker", *words)
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (2, "", 1)
