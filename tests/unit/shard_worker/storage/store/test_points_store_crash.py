"""Test a store whose process was killed: its applied seq, rows, requests and counters agree, and nothing that was
applied is missing.
"""

import subprocess
import sys

from tests.support.repository import ROOT
from tests.support.worker.storage_parts import new_store, open_store
from tests.unit.shard_worker.storage.store.applying_child import group_after

KILLS = 4


def state(store):
    live = store.live_rows()
    page = store.scroll(None, 10_000, with_vectors=True, with_payloads=True)
    return (
        (store.applied_seq, store.next_row, store.count()),
        (live.rows.tolist(), live.ids.tolist()),
        (page.ids.tolist(), page.vectors.tolist(), page.payloads),
        store.requests(),
    )


def killed_after(folder, groups):
    """Let a child process apply at least `groups` groups, then kill it with SIGKILL.

    Returns the last seq that it reported as applied.
    """
    command = [sys.executable, "-m", "tests.unit.shard_worker.storage.store.applying_child", str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        try:
            said = [child.stdout.readline() for _ in range(groups)]
        finally:
            child.kill()
        said += child.stdout.readlines()
    return int([line for line in said if line.endswith("\n")][-1])


def test_a_killed_process_leaves_a_store_at_a_group_with_everything_in_it(tmp_path):
    killed, twin = tmp_path / "killed", tmp_path / "twin"
    killed.mkdir()
    twin.mkdir()
    new_store(killed).close()
    expected = new_store(twin)
    for groups in range(1, KILLS + 1):
        said = killed_after(killed, groups * 3)
        found = open_store(killed)
        assert found.applied_seq >= said
        assert found.applied_seq % 3 == 0
        while expected.applied_seq < found.applied_seq:
            expected.apply(group_after(expected.applied_seq))
        assert state(found) == state(expected)
        found.close()
    expected.close()


def test_a_write_ahead_log_that_lost_its_end_takes_the_store_back_to_a_whole_group(tmp_path):
    """A loss of power may take away the end of the write-ahead log that was not flushed. The replica's log brings it
    back.
    """
    store = new_store(tmp_path)
    states = {0: state(store)}
    while store.applied_seq < 9:
        store.apply(group_after(store.applied_seq))
        states[store.applied_seq] = state(store)
    database, log = (tmp_path / "store.db").read_bytes(), (tmp_path / "store.db-wal").read_bytes()
    store.close()
    seen = set()
    for size in [*range(0, len(log), 1009), len(log)]:
        folder = tmp_path / str(size)
        folder.mkdir()
        (folder / "store.db").write_bytes(database)
        (folder / "store.db-wal").write_bytes(log[:size])
        found = open_store(folder)
        seen.add(found.applied_seq)
        assert state(found) == states[found.applied_seq]
        found.close()
    assert seen == {0, 3, 6, 9}
