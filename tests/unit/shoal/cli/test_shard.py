import pytest

from shoal.core.health import WorkerCondition
from shoal.core.recovery import AuditEntry
from shoal.core.replies import ClusterInfo, WorkerInfo
from shoal.core.requests import RecoverShard


@pytest.fixture
def lost(shoal):
    """Create the collection c. The recovery of its shard 1 is answered as if its only replica in sync were lost."""
    shoal("collection", "create", "c", "--dim", 4)
    return shoal


def asked(shoal):
    (request,) = shoal.clients[-1].mock.requests(RecoverShard)
    return request.asked


def test_without_the_flag_it_tells_what_would_be_lost_and_does_nothing(lost):
    told = lost("shard", "recover", "c/1")
    assert told.code == 0
    lines = told.out.splitlines()
    assert lines[:3] == [
        "REPLICA  WORKER  WAS               LOG ENDS AT     BECOMES",
        "r2       w2      learner           term 3, seq 70  the primary",
        "r1       w1      in sync, primary  unknown         given up",
    ]
    assert lines[-1].startswith("nothing was changed. With --accept-data-loss, shard c/1 goes on with the data of worker w2")
    assert (asked(lost).name, asked(lost).number, asked(lost).worker, asked(lost).accept_data_loss) == ("c", 1, None, False)
    assert lost("audit").out.splitlines()[1:] == []


def test_with_it_it_is_done_and_the_audit_has_it(lost):
    done = lost("shard", "recover", "c/1", "--worker", "w2", "--accept-data-loss", "--reason", "disks died")
    assert done.out.splitlines()[-1] == "shard c/1 goes on in term 5 with the data of worker w2; `shoal audit` has the record"
    assert (asked(lost).worker, asked(lost).accept_data_loss, asked(lost).reason) == ("w2", True, "disks died")
    assert "@" in asked(lost).asked_by
    (line,) = lost("audit").out.splitlines()[1:]
    assert line.startswith("2023-11-14T22:13:20Z  accept-data-loss  c/1")
    assert line.endswith("disks died")


def test_a_worker_is_named_by_how_its_id_begins(lost):
    workers = [
        WorkerInfo(id=each, address="", pid=0, node="", zone="", state=WorkerCondition.UP, memory=0)
        for each in ("ab12", "ab34", "cd56", "cd56-2")
    ]
    lost.cluster.info = ClusterInfo(cluster_id="c", leader="l:1", workers=tuple(workers), shards=())
    for given, meant in (("ab3", "ab34"), ("cd56", "cd56"), ("nobody", "nobody")):
        lost("shard", "recover", "c/1", "--worker", given)
        assert asked(lost).worker == meant
    ended = lost("shard", "recover", "c/1", "--worker", "ab")
    assert (ended.code, ended.out) == (2, "")
    assert "may be any of ab12, ab34" in " ".join(ended.err.split())


def test_a_call_has_one_request_id_and_two_have_two(lost):
    ids = []
    for _ in range(2):
        lost("shard", "recover", "c/1")
        ids.append(asked(lost).request_id)
    assert len(set(ids)) == 2


def test_pages_are_read_until_there_are_enough(lost):
    for number in range(5):
        lost("shard", "recover", "c/1", "--accept-data-loss", "--reason", number)
    assert [each["reason"] for each in lost("audit", "--json").document] == ["4", "3", "2", "1", "0"]
    assert [each["reason"] for each in lost("audit", "--json", "--limit", 3).document] == ["4", "3", "2"]
    shard = lost("audit", "--json").document[0]["recovery"]["shard"]
    assert sorted(shard) == ["collection", "number"]
    assert shard["number"] == 1


def test_json_for_programs(lost):
    document = lost("shard", "recover", "c/1", "--json").document
    assert (document["shard"], document["done"], document["term"]) == ("c/1", False, 5)
    assert document["chosen"] == {"replica": "r2", "worker": "w2", "role": "learner", "end": {"term": 3, "seq": 70}}
    assert [each["end"] for each in document["given_up"]] == [None]


def test_the_audit_tells_what_was_done_to_plans_and_workers(lost):
    done = {"time_ms": 1_700_000_000_123, "collection": "", "recovery": None, "asked_by": "me@here", "request_id": "r"}
    lost.cluster.audit = [
        AuditEntry(action="drain-worker", subject="3fa2-0001", reason="nothing is placed on it", **done),
        AuditEntry(action="apply-plan", subject="8c1f09", reason="3 moves, 2 hand-overs", **done),
    ]
    assert lost("audit").out.splitlines() == [
        "TIME                  ACTION        OF         TERM  CHOSEN WORKER  GIVEN UP WORKERS  ASKED BY  REASON",
        "2023-11-14T22:13:20Z  drain-worker  3fa2-0001                                         me@here   nothing is placed on it",
        "2023-11-14T22:13:20Z  apply-plan    8c1f09                                            me@here   3 moves, 2 hand-overs",
    ]
    assert [(each["subject"], each["recovery"]) for each in lost("audit", "--json").document] == [("3fa2-0001", None), ("8c1f09", None)]


@pytest.mark.parametrize("name", ["c", "c/", "/1", "c/x", "c/-1", "c/²"])
def test_what_names_no_shard_is_wrong_usage(lost, name):
    ended = lost("shard", "recover", name)
    assert (ended.code, ended.out) == (2, "")
    assert "names no shard" in ended.err


def test_an_unknown_collection_is_one_line(lost):
    ended = lost("shard", "recover", "nope/0")
    assert ended.code == 1
    assert ended.err.startswith("error: collection 'nope' does not exist")
