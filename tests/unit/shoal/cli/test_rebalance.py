import dataclasses
import json

import pytest

from shoal.core.errors import ErrorDetails, PreconditionFailed
from shoal.core.operations import ApplyRebalance, ControlRebalance, DescribeRebalance, PlanRebalance, SetBalance
from shoal.core.rebalance import BalanceSettings, ItemState, PinnedShard, PlanKind
from tests.twins.balancing import CHANGED, EMPTY, PLAN, STEPS, A, B, shard

SHOWN = """\
20 replicas on 4 workers, 3.9 GiB in memory, off by 100 % (e41d-0004), allowed 5 %

WORKER         ZONE  NOW             THEN               PRIMARIES  IN         OUT
3fa2-0001      a     1.3 GiB  133 %  1000.0 MiB  100 %  7 -> 5     -          330.0 MiB
77c1-0002      b     1.3 GiB  132 %   995.0 MiB  100 %  7 -> 5     -          325.0 MiB
9be0-0003      c     1.3 GiB  135 %  1010.0 MiB  101 %  6 -> 5     -          340.0 MiB
e41d-0004 new  a           0    0 %   995.0 MiB  100 %  0 -> 5     995.0 MiB  -

#  SHARD      FROM -> TO              MEMORY     ON DISK    WHY
1  fashion/2  9be0-0003 -> e41d-0004  340.0 MiB  381.0 MiB  9be0-0003 is 35 % over
2  things/0   3fa2-0001 -> e41d-0004  330.0 MiB  371.0 MiB  3fa2-0001 is 33 % over
3  things/4   77c1-0002 -> e41d-0004  325.0 MiB  366.0 MiB  77c1-0002 is 32 % over

2 primaries change hands without copying: fashion/2, books/1
1.1 GiB are copied, about 40 s; any plan has to move at least 950.0 MiB in memory. No shard has fewer replicas meanwhile.
plan 8c1f09 for revision 4711; to do exactly this: shoal rebalance apply 8c1f09
"""
DONE = "done: 3 of 3 moved, 2 of 2 handed over, 1.1 GiB in 38 s (29.4 MiB/s)"

TYPED = " y\n"
"""What the test runner shows of an answer that is typed."""


@pytest.fixture
def twin(shoal):
    return shoal.cluster.balancing


def requests(shoal, kind):
    return shoal.clients[-1].mock.requests(kind)


def test_a_plan_is_shown_and_nothing_is_changed(shoal, twin):
    shown = shoal("rebalance", "plan")
    assert (shown.code, shown.err) == (0, "")
    assert shown.out == SHOWN
    assert twin.entries == []


def test_a_cluster_that_is_even_has_nothing_to_do(shoal, twin):
    twin.plan = EMPTY
    shown = shoal("rebalance", "plan")
    assert (shown.code, shown.out) == (0, "nothing to do: every worker is within 5 % of what it should hold\n")
    assert shoal("rebalance", "plan", "--check").code == 0


def test_what_stays_is_told_with_its_reason(shoal, twin):
    pinned = [PinnedShard(collection="raw", shard=shard("raw", at), why=f"{A} has not told its size") for at in range(12)]
    off = tuple(dataclasses.replace(each, after_bytes=each.bytes) for each in PLAN.workers)
    twin.plan = dataclasses.replace(EMPTY, workers=off, pinned=tuple(pinned), left=(f"{B} is 32 % over: no shard is small enough",))
    assert shoal("rebalance", "plan").out.splitlines() == [
        "nothing to do: worker e41d-0004 is off by 100 %, and no move would make the cluster more even",
        f"stays as it is: {', '.join(f'raw/{at}' for at in range(10))} and 2 more (3fa2-0001 has not told its size)",
        "left: 77c1-0002 is 32 % over: no shard is small enough",
    ]


def test_long_ids_are_shown_by_their_beginning_everywhere(shoal, twin):
    long = {each.worker: f"{each.worker[:4]}{'0' * 28}{at}" for at, each in enumerate(PLAN.workers)}
    moves = [dataclasses.replace(m, source=long[m.source], target=long[m.target], why=f"{long[m.source]} is over") for m in PLAN.moves]
    workers = [dataclasses.replace(each, worker=long[each.worker]) for each in PLAN.workers]
    twin.plan = dataclasses.replace(PLAN, workers=tuple(workers), moves=tuple(moves), hand_overs=())
    shown = shoal("rebalance", "plan").out
    assert "\n1  fashion/2  9be00000 -> e41d0000  340.0 MiB  381.0 MiB  9be00000 is over\n" in shown
    assert "0" * 10 not in shown


def test_check_is_for_cron(shoal, twin, tmp_path):
    assert shoal("rebalance", "plan", "--check").code == 3
    ended = shoal("rebalance", "plan", "--check", "--json")
    assert (ended.code, ended.document["plan"]) == (3, "8c1f09")


def test_a_plan_goes_into_a_file_and_comes_back_whole(shoal, twin, tmp_path):
    file = tmp_path / "plan.json"
    shown = shoal("rebalance", "plan", "-o", file)
    assert shown.out.splitlines()[-1] == f"plan 8c1f09 for revision 4711; to do exactly this: shoal rebalance apply {file}"
    assert [each.name for each in tmp_path.iterdir()] == ["plan.json"]
    assert json.loads(file.read_text()) == shoal("rebalance", "plan", "--json").document
    ended = shoal("rebalance", "apply", file, "--yes")
    assert (ended.code, ended.out) == (0, f"{DONE}\n")
    (asked,) = requests(shoal, ApplyRebalance)
    assert (asked.plan_id, asked.plan) == ("8c1f09", PLAN)
    assert "@" in asked.asked_by


def test_without_a_plan_it_is_made_shown_and_asked_for(shoal, twin):
    ended = shoal("rebalance", "apply", typed="y\n")
    assert ended.code == 0
    assert ended.out == f"{SHOWN}{TYPED}{DONE}\n"
    assert ended.err.splitlines() == [
        "apply 3 moves and 2 hand-overs, 1.1 GiB? [y/N]:started, plan 8c1f09; it goes on without this terminal",
        "[1] fashion/2  9be0-0003 -> e41d-0004   copying 381.0 MiB",
        "[1] fashion/2  9be0-0003 -> e41d-0004   moved",
        "[2] things/0  3fa2-0001 -> e41d-0004   copying 371.0 MiB",
        "[2] things/0  3fa2-0001 -> e41d-0004   moved",
        "[3] things/4  77c1-0002 -> e41d-0004   moved",
        "[4] fashion/2  9be0-0003 -> e41d-0004   handing over",
        "[4] fashion/2  9be0-0003 -> e41d-0004   handed over",
        "[5] books/1  3fa2-0001 -> e41d-0004   handed over",
    ]
    again = shoal("rebalance", "apply")
    assert (again.code, again.err) == (0, "")
    assert again.out.startswith("nothing to do: ")


@pytest.mark.parametrize("typed", ["n\n", "\n", ""])
@pytest.mark.parametrize("which", [(), ("8c1f09",)])
def test_nothing_is_applied_without_a_yes(shoal, twin, typed, which):
    ended = shoal("rebalance", "apply", *which, typed=typed)
    assert ended.code == 1
    assert ended.err.endswith("error: nothing was applied; answer y, or pass --yes\n")
    assert twin.entries == []


def test_a_plan_is_named_by_its_id(shoal, twin):
    ended = shoal("rebalance", "apply", "8c1f09", "--no-wait", typed="y\n")
    assert ended.err == "apply plan 8c1f09? [y/N]:"
    assert ended.out == f"{TYPED}started, plan 8c1f09; `shoal rebalance watch` shows how far it is\n"
    (asked,) = requests(shoal, ApplyRebalance)
    assert (asked.plan_id, asked.plan, requests(shoal, PlanRebalance)) == ("8c1f09", None, [])


def test_a_plan_for_another_state_of_the_cluster_is_refused_with_a_code_of_its_own(shoal, twin):
    twin.changed = True
    ended = shoal("rebalance", "apply", "8c1f09", "--yes")
    assert (ended.code, ended.out) == (4, "")
    assert ended.err == f"error: {CHANGED}; make a new one with `shoal rebalance plan`\n"


def test_another_refusal_is_an_error(shoal, twin):
    shoal("rebalance", "apply", "--yes", "--no-wait")
    twin.plan = PLAN
    ended = shoal("rebalance", "apply", "--yes")
    assert (ended.code, ended.err) == (1, "error: plan 8c1f09 runs already; `shoal rebalance history` shows the plans\n")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("none.json", None, "cannot be read: No such file or directory"),
        (".", None, "cannot be read: Is a directory"),
        ("plan.json", "{", "is no JSON document; `shoal rebalance plan -o FILE` writes one"),
        ("plan.json", "[1]", "is no plan of `shoal rebalance plan`: it is [1], it must be an object"),
        ("plan.json", "{}", "is no plan of `shoal rebalance plan`: kind is missing"),
    ],
)
def test_a_bad_file_is_one_line(shoal, twin, tmp_path, name, text, said):
    file = tmp_path / name
    if text is not None:
        file.write_text(text)
    ended = shoal("rebalance", "apply", file, "--yes")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == f"error: {file} {said}; correct the input and try again\n"
    assert twin.entries == []
    assert shoal.clients == []


def test_an_unknown_id_is_one_line(shoal):
    ended = shoal("rebalance", "apply", "abcdef01", "--yes")
    assert (ended.code, ended.err) == (1, "error: plan 'abcdef01' is not known; `shoal rebalance history` shows the plans\n")


def test_items_that_did_not_happen_are_told_with_their_reasons(shoal, twin):
    twin.failing = {2: "no progress for 10 min", 5: f"worker {A} is down"}
    ended = shoal("rebalance", "apply", "--yes")
    assert ended.code == 5
    assert ended.out.splitlines()[-3:] == [
        "[2] things/0  3fa2-0001 -> e41d-0004   failed: no progress for 10 min",
        "[5] books/1  3fa2-0001 -> e41d-0004   failed: worker 3fa2-0001 is down",
        "ended: 2 of 3 moved, 1 of 2 handed over, 2 failed, 747.0 MiB in 38 s (19.7 MiB/s)",
    ]
    assert shoal("rebalance", "watch").code == 5


def test_watching_ends_with_the_plan_and_later_tells_what_became_of_it(shoal, twin):
    shoal("rebalance", "apply", "--yes", "--no-wait")
    ended = shoal("rebalance", "watch")
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (0, f"{DONE}\n", 8)
    assert {each.plan_id for each in requests(shoal, DescribeRebalance)} == {"", "8c1f09"}
    later = shoal("rebalance", "watch")
    assert (later.code, later.out, later.err) == (0, f"{DONE}\n", "")


def test_programs_get_a_document_for_each_change(shoal, twin):
    shoal("rebalance", "apply", "--yes", "--no-wait", "--json")
    lines = [json.loads(line) for line in shoal("rebalance", "watch", "--json").out.splitlines()]
    assert [each["ended"] for each in lines] == [False] * (len(STEPS) - 2) + [True]
    assert {each["plan"] for each in lines} == {"8c1f09"}
    assert lines[0]["items"][0] == {
        "n": 1,
        "what": "move",
        "shard": "fashion/2",
        "from": "9be0-0003",
        "to": "e41d-0004",
        "state": "copying",
        "done_bytes": PLAN.moves[0].disk_bytes // 2,
        "total_bytes": PLAN.moves[0].disk_bytes,
        "bytes_per_s": 47.0 * 1024**2,
        "reason": "",
    }
    assert lines[-1]["items"][-1]["what"] == "hand-over"
    assert [lines[-1][name] for name in ("state", "ended_ms")] == ["done", lines[-1]["started_ms"] + 38_000]


def test_applying_for_programs_prints_documents_only(shoal, twin):
    ended = shoal("rebalance", "apply", "--yes", "--json")
    documents = [json.loads(line) for line in ended.out.splitlines()]
    assert [each["ended"] for each in documents][-1] is True
    twin.plan = EMPTY
    assert shoal("rebalance", "apply", "--json").document["moves"] == []


def test_ctrl_c_leaves_the_plan_running_and_says_how_to_watch_it(shoal, twin, monkeypatch):
    answer, looks = twin.DescribeRebalance, []

    def interrupted(request):
        looks.append(request)
        if len(looks) == 2:
            raise KeyboardInterrupt
        return answer(request)

    monkeypatch.setattr(twin, "DescribeRebalance", interrupted)
    ended = shoal("rebalance", "apply", "--yes")
    said = "error: interrupted, the plan goes on; `shoal rebalance watch` shows it again, `shoal rebalance cancel` ends it"
    assert (ended.code, ended.out, ended.err.splitlines()[-1]) == (130, SHOWN, said)
    assert twin.entries[0].active
    looks.pop()
    assert shoal("rebalance", "watch").code == 130


def test_a_plan_is_paused_and_goes_on(shoal, twin):
    shoal("rebalance", "apply", "--yes", "--no-wait")
    paused = shoal("rebalance", "pause")
    assert paused.out.splitlines() == [
        "plan 8c1f09 is paused, 0 of 5 items done: none of the 4 that wait begins, what is under way ends:",
        "[1] fashion/2  9be0-0003 -> e41d-0004   copying   0 B / 381.0 MiB   47.0 MiB/s   8.1 s left",
    ]
    assert requests(shoal, ControlRebalance)[0].action == "pause"
    resumed = shoal("rebalance", "resume")
    assert resumed.out == "plan 8c1f09 goes on, 0 of 5 items done; `shoal rebalance watch` shows it\n"
    assert shoal("rebalance", "pause", "--json").document["state"] == "paused"


def test_a_plan_is_cancelled_and_what_is_finished_is_told(shoal, twin):
    twin.steps = (STEPS[2], ((ItemState.DONE, 1.0), (ItemState.LEAVING, 1.0), *STEPS[2][2:]))
    shoal("rebalance", "apply", "--yes", "--no-wait")
    cancelled = shoal("rebalance", "cancel")
    assert cancelled.out == "plan 8c1f09 is cancelled, 1 of 5 items done, 4 given up or never begun\n"
    ended = shoal("rebalance", "watch")
    assert ended.code == 5
    assert ended.out.splitlines()[-1] == "cancelled: 1 of 3 moved, 0 of 2 handed over, 381.0 MiB in 38 s (10.0 MiB/s)"
    assert ended.out.splitlines()[0] == "[2] things/0  3fa2-0001 -> e41d-0004   cancelled: the plan was cancelled"


@pytest.mark.parametrize("word", ["pause", "resume", "cancel"])
def test_without_a_plan_there_is_nothing_to_control(shoal, word):
    ended = shoal("rebalance", word)
    assert (ended.code, ended.out, ended.err) == (1, "", "error: no plan runs; `shoal rebalance history` shows the plans\n")


def test_without_a_plan_there_is_nothing_to_watch_or_to_undo(shoal):
    for word, said in (("watch", "no plan was applied yet"), ("undo", "no plan was applied yet, so there is none to undo")):
        ended = shoal("rebalance", word)
        assert (ended.code, ended.out, ended.err) == (1, "", f"error: {said}; `shoal rebalance history` shows the plans\n")


def test_undo_shows_what_can_be_undone_and_asks(shoal, twin):
    shoal("rebalance", "apply", "--yes")
    refused = shoal("rebalance", "undo", typed="n\n")
    assert refused.code == 1
    assert refused.out.splitlines()[0].startswith("takes back plan 8c1f09: 20 replicas on 4 workers")
    assert "left: things/4: worker 77c1-0002 is drained; it stays where it is" in refused.out
    assert refused.err == "undo 2 moves, 752.0 MiB? [y/N]:error: nothing was undone; answer y, or pass --yes\n"
    done = shoal("rebalance", "undo", "--yes")
    assert (done.code, done.out.splitlines()[-1]) == (0, "done: 2 of 2 moved, 752.0 MiB in 38 s (19.8 MiB/s)")
    assert [each.plan.kind for each in twin.entries] == [PlanKind.UNDO, PlanKind.BALANCE]


def test_nothing_to_undo_is_no_error(shoal, twin):
    shoal("rebalance", "apply", "--yes")
    twin.undoes = dataclasses.replace(twin.undoes, moves=(), hand_overs=())
    ended = shoal("rebalance", "undo", "--yes")
    assert (ended.code, ended.out.splitlines()[0]) == (0, "nothing to do: nothing of plan 8c1f09 can be undone")


def test_settings_are_changed_and_shown(shoal, twin):
    changed = shoal("rebalance", "set", "--rate", "100MiB", "--at-once", "8", "--tolerance", "10%")
    assert twin.settings == BalanceSettings(move_bytes_per_s=100 * 1024**2, moves_at_once=8, tolerance=0.1)
    assert changed.out.splitlines() == [
        "WHAT                    VALUE",
        "automatic balancing     off",
        "a worker may be off by  10 %",
        "moves at once           8",
        "read from one worker    100.0 MiB/s",
    ]
    shoal("rebalance", "set", "--tolerance", "0.05")
    assert twin.settings.tolerance == 0.05
    assert shoal("rebalance", "auto", "on").out.splitlines()[1].endswith("on: plans are made and applied without an operator")
    shown = shoal("rebalance", "auto", "show", "--json")
    assert shown.document == {"auto": True, "tolerance": 0.05, "moves_at_once": 8, "move_bytes_per_s": 100 * 1024**2}
    assert requests(shoal, SetBalance) == [SetBalance()]
    shoal("rebalance", "auto", "off")
    assert not twin.settings.auto


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["set"], 2, "give --rate, --at-once or --tolerance"),
        (["set", "--rate", "fast"], 2, "--rate is 'fast', it must be a size such as 512MiB or 8GiB"),
        (["set", "--rate", "0"], 2, "--rate is '0', it must be a size"),
        (["set", "--tolerance", "120%"], 2, "--tolerance is '120%', it must be a share above 0 and at most 100 %"),
        (["set", "--tolerance", "0"], 2, "--tolerance is '0', it must be"),
        (["set", "--tolerance", "nan"], 2, "--tolerance is 'nan', it must be"),
        (["set", "--at-once", "0"], 1, "moves_at_once is 0"),
        (["set", "--at-once", "x"], 2, "'--at-once': Input should be a valid integer"),
        (["auto"], 2, "missing argument"),
        (["auto", "maybe"], 2, "'maybe' is not one of"),
        (["history", "--limit", "0"], 1, "limit is 0"),
        (["apply", "8c1f09", "more"], 2, "unexpected extra argument"),
    ],
)
def test_wrong_input_is_one_line(shoal, twin, words, code, said):
    before = twin.settings
    ended = shoal("rebalance", *words)
    assert (ended.code, ended.out) == (code, "")
    assert len(ended.err.splitlines()) == 1
    assert said in ended.err
    assert twin.settings == before


def test_plans_of_before_are_listed(shoal, twin):
    assert shoal("rebalance", "history").out.splitlines() == [
        "PLAN  WHAT  OF  STATE  DONE  FAILED  SKIPPED  ON DISK  BEGAN  TOOK  ASKED BY"
    ]
    shoal("rebalance", "apply", "--yes")
    shoal("rebalance", "undo", "--yes", "--no-wait")
    listed = shoal("rebalance", "history")
    rows = [line.split("  ") for line in listed.out.splitlines()[1:]]
    assert [row[0] for row in rows] == ["77aa01", "8c1f09"]
    assert "8c1f09  balance          done   5 of 5       0        0  1.1 GiB    2023-11-14T22:13:20Z  38 s" in listed.out
    newest, oldest = shoal("rebalance", "history", "--json").document
    assert (newest["kind"], newest["subject"], newest["state"], newest["ended_ms"]) == ("undo", "8c1f09", "runs", 0)
    assert (oldest["plan"], oldest["done"], oldest["items"], oldest["bytes"]) == ("8c1f09", 5, 5, PLAN.bytes)
    assert len(shoal("rebalance", "history", "--limit", "1", "--json").document) == 1


def test_an_error_in_the_middle_of_watching_is_told(shoal, twin, monkeypatch):
    shoal("rebalance", "apply", "--yes", "--no-wait")

    def refused(request):
        raise PreconditionFailed("this coordinator is of an older version", ErrorDetails())

    monkeypatch.setattr(twin, "DescribeRebalance", refused)
    ended = shoal("rebalance", "watch")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("error: this coordinator is of an older version; ")
