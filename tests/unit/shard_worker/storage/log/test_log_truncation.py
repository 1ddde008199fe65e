"""Test how records are cut from the end of a log, logs that begin after a snapshot, and reads that begin at
any record.
"""

import errno
import itertools
import os
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from shoal.core.errors import DataLoss, Internal, PreconditionFailed, ShoalError
from shoal.core.ids import Seq, Term
from shoal.runtime.fault_points import SimulatedCrash, armed
from shoal.shard_worker.storage.failure import StorageFailed
from shoal.shard_worker.storage.log import file as log_file
from shoal.shard_worker.storage.log.log import LogSettings, ReplicaLog
from shoal.shard_worker.storage.log.places import SPACING_BYTES
from shoal.shard_worker.storage.log.watermark import load_watermark
from tests.support.scope import cells
from tests.support.worker.storage_parts import (
    CLUSTER,
    REPLICA,
    create_log,
    files_under,
    log_files,
    open_log,
    record,
    records,
    seqs_of,
)

SMALL_FILES = LogSettings(file_bytes=400)
COUNT = 20
WAYS = ("file.write", "file.written", "file.rename", "file.renamed", "disk.flush", "log.marked", "log.truncate", "log.drop", "log.shorten")


@pytest.fixture
def log(tmp_path):
    """Make a log of several files, with twenty records of terms 1 to 4. Each record is appended alone."""
    made = create_log(tmp_path, SMALL_FILES)
    for seq in range(1, COUNT + 1):
        made.append([record(seq, term=term_of(seq))])
    assert len(log_files(tmp_path)) >= 4
    yield made
    made.close()


def term_of(seq):
    return 1 + (seq - 1) // 6


def create_behind(folder, term, seq, settings=None):
    base = (Term(term), Seq(seq))
    return ReplicaLog.create(folder, cluster_id=CLUSTER, replica_id=REPLICA, base=base, settings=settings or LogSettings())


@pytest.mark.parametrize("seq", cells(range(COUNT), [0, 1, 6, 7, 12, 13, COUNT - 1]))
def test_cut_anywhere_it_holds_what_came_before_and_goes_on(log, tmp_path, seq):
    log.truncate_after(Seq(seq))
    assert seqs_of(log) == list(range(1, seq + 1))
    assert log.last == ((term_of(seq), seq) if seq else (0, 0))
    assert dict(log.term_starts) == {term: first for term, first in ((1, 1), (2, 7), (3, 13), (4, 19)) if first <= seq}
    assert log.size_bytes == sum(path.stat().st_size for path in log_files(tmp_path))
    assert load_watermark(tmp_path / "watermark.json").seq == seq
    log.append([record(seq + 1, term=9, body=b"other"), record(seq + 2, term=9)])
    log.close()
    again = open_log(tmp_path, applied_seq=seq, settings=SMALL_FILES)
    assert seqs_of(again) == list(range(1, seq + 3))
    assert (next(again.read(Seq(seq + 1))).body, again.last, again.cut_bytes) == (b"other", (9, seq + 2), 0)
    again.close()


@pytest.mark.parametrize("seq", [COUNT, COUNT + 1, COUNT + 100])
def test_where_nothing_is_to_be_cut_nothing_is_touched(log, tmp_path, seq):
    before = files_under(tmp_path)
    log.truncate_after(Seq(seq))
    assert files_under(tmp_path) == before


def test_a_log_cannot_be_cut_before_its_base(tmp_path):
    log = create_behind(tmp_path, 3, 50)
    log.append(records(51, 53, term=3))
    with pytest.raises(Internal, match="begins with seq 51 and cannot be cut after seq 49"):
        log.truncate_after(Seq(49))
    assert seqs_of(log) == [51, 52, 53]
    log.truncate_after(Seq(50))
    assert (log.last, log.base, seqs_of(log)) == ((3, 50), (3, 50), [])
    log.close()


def test_a_log_behind_a_snapshot_begins_with_the_next_record(tmp_path):
    log = create_behind(tmp_path, 3, 50)
    assert (log.base, log.last, log.first_seq, dict(log.term_starts)) == ((3, 50), (3, 50), 51, {})
    for wrong in (record(50, term=3), record(52, term=3), record(51, term=2)):
        with pytest.raises(Internal, match="does not continue the log after seq 50 of term 3"):
            log.append([wrong])
    log.append(records(51, 52, term=3))
    assert dict(log.term_starts) == {3: 51}
    log.close()
    again = open_log(tmp_path, applied_seq=50)
    assert (again.base, again.last, seqs_of(again)) == ((3, 50), (3, 52), [51, 52])
    with pytest.raises(PreconditionFailed, match="the log begins with seq 51, seq 50 is trimmed"):
        again.read_some(Seq(50), 1)
    again.close()
    with pytest.raises(DataLoss, match="the store needs the records from seq 50 on"):
        open_log(tmp_path, applied_seq=49)


def test_the_base_of_a_trimmed_log_is_what_was_trimmed_last(log, tmp_path):
    second = int(log_files(tmp_path)[1].stem)
    log.trim(Seq(second - 1))
    assert log.base == (term_of(second - 1), second - 1)
    log.truncate_after(Seq(second - 1))
    assert (log.last, log.first_seq, seqs_of(log)) == (log.base, second, [])


@pytest.mark.parametrize("seq", [0, 2, 7, 13, 19])
@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize("point", WAYS)
def test_a_crash_at_any_step_leaves_a_beginning_of_the_log_that_holds_what_was_kept(log, tmp_path, point, nth, seq):
    def crash():
        raise SimulatedCrash

    try:
        with armed(point, crash, nth=nth):
            log.truncate_after(Seq(seq))
        kept = {seq}
    except SimulatedCrash:
        kept = set(range(seq, COUNT + 1))
    again = open_log(tmp_path, applied_seq=seq, settings=SMALL_FILES)
    assert again.last[1] in kept
    assert seqs_of(again) == list(range(1, again.last[1] + 1))
    again.truncate_after(Seq(seq))
    again.append([record(seq + 1, term=9)])
    assert seqs_of(again) == list(range(1, seq + 2))
    again.close()


def test_the_watermark_falls_first_then_files_go_from_the_last_on_then_the_rest_is_shortened_each_for_good(log, tmp_path, monkeypatch):
    """In any other order, a crash of the machine could leave a gap in the log, or a watermark that calls deleted
    records durable.
    """
    names = [path.name for path in log_files(tmp_path)]
    steps = []
    fsync, unlink, ftruncate, replace = os.fsync, Path.unlink, os.ftruncate, Path.rename

    def name_of(descriptor):
        return Path(os.readlink(f"/proc/self/fd/{descriptor}")).name

    monkeypatch.setattr(os, "fsync", lambda fd: (steps.append(("flush", name_of(fd))), fsync(fd))[1])
    monkeypatch.setattr(os, "ftruncate", lambda fd, size: (steps.append(("shorten", name_of(fd))), ftruncate(fd, size))[1])
    monkeypatch.setattr(Path, "unlink", lambda path, **given: (steps.append(("unlink", path.name)), unlink(path, **given))[1])
    monkeypatch.setattr(Path, "rename", lambda path, to: (steps.append(("rename", to.name)), replace(path, to))[1])
    log.truncate_after(Seq(2))
    monkeypatch.undo()
    marked = [("flush", "watermark.json.tmp"), ("rename", "watermark.json"), ("flush", tmp_path.name)]
    gone = [step for name in reversed(names[1:]) for step in (("unlink", name), ("flush", "log"))]
    assert steps == [*marked, *gone, ("shorten", names[0]), ("flush", names[0])]


@pytest.mark.parametrize("point", ["log.drop", "log.shorten"])
def test_when_the_disk_refuses_a_cut_the_log_is_dead_until_opened(log, tmp_path, point):
    def fail():
        raise OSError(errno.EIO, "input/output error")

    with armed(point, fail), pytest.raises(StorageFailed, match="write failed"):
        log.truncate_after(Seq(2))
    with pytest.raises(StorageFailed, match="takes nothing more"):
        log.append([record(3)])
    again = open_log(tmp_path, applied_seq=2, settings=SMALL_FILES)
    assert 2 <= again.last[1] <= COUNT
    again.close()


def test_a_log_whose_kept_record_is_damaged_is_not_cut(log, tmp_path):
    path = log_files(tmp_path)[0]
    data = bytearray(path.read_bytes())
    data[data.index(b"body 2")] ^= 1
    path.write_bytes(data)
    before = files_under(tmp_path)
    with pytest.raises(DataLoss, match="seq 2: the record is no longer readable"):
        log.truncate_after(Seq(2))
    assert files_under(tmp_path) == before


def test_a_reader_that_a_cut_overtakes_is_told_that_it_was_no_damage(log):
    inside, behind = log.read(Seq(1)), log.read(Seq(1))
    log.truncate_after(Seq(2))
    with pytest.raises(PreconditionFailed, match="the end of the log was cut during a read"):
        list(inside)
    log.append([record(seq, term=9, body=b"other") for seq in range(3, 12)])
    with pytest.raises(PreconditionFailed, match="during a read"):
        list(behind)
    assert seqs_of(log) == list(range(1, 12))


def test_pieces_hold_one_record_or_as_many_as_fit(tmp_path):
    log = create_log(tmp_path)
    one = [record(seq, body=bytes(100)) for seq in range(1, 8)]
    log.append(one)
    frame = (log.size_bytes - log_files(tmp_path)[0].read_bytes().index(b"\xffSR\xfe")) // 7
    assert frame > 100
    for allowed, count in ((0, 1), (1, 1), (frame, 1), (2 * frame - 1, 1), (2 * frame, 2), (5 * frame, 5), (99 * frame, 7)):
        assert log.read_some(Seq(1), allowed) == tuple(one[:count])
    assert log.read_some(Seq(7), 9999) == (one[6],)
    assert log.read_some(Seq(8), 9999) == ()
    log.close()


@pytest.mark.parametrize("way", ["appended one by one", "appended at once", "opened"])
def test_a_piece_from_the_end_of_a_large_file_reads_little(tmp_path, way, monkeypatch):
    log = create_log(tmp_path)
    count, body = 400, bytes(10_000)
    groups = [[seq] for seq in range(1, count + 1)] if way == "appended one by one" else [range(1, count + 1)]
    for group in groups:
        log.append([record(seq, body=body) for seq in group])
    if way == "opened":
        log.close()
        log = open_log(tmp_path)
    if way == "appended at once":
        list(log.read(Seq(1)))  # this walk learns the borders of records
    read = []

    def counting(stream, seed, real=log_file.read_frame):
        frame = real(stream, seed)
        read.append(0 if frame is None else frame.size_bytes)
        return frame

    monkeypatch.setattr(log_file, "read_frame", counting)
    for seq in (1, 200, 390, count):
        read.clear()
        assert [each.seq for each in log.read_some(Seq(seq), 25_000)] == list(range(seq, min(seq + 2, count + 1)))
        assert sum(read) <= 2 * SPACING_BYTES + 4 * 10_100
    log.close()


def test_readers_beside_the_writer_see_whole_records_in_order_or_are_told(tmp_path):
    """A record that was read at `seq` is one that the writer wrote at `seq`, in some term. A cut is never taken for
    damage.
    """
    log = create_log(tmp_path, LogSettings(file_bytes=5_000))
    log.append([record(1)])
    wrong, ended, rounds = [], threading.Event(), [0] * 3

    def look(number):
        while not ended.is_set():
            try:
                found = log.read_some(Seq(max(1, log.last[1] - 60)), 4_000)
            except PreconditionFailed:
                found = ()
            except ShoalError as error:
                wrong.append(error)
                return
            wrong.extend(each for each in found if each.body != f"{each.seq} of {each.term}".encode() and each.seq > 1)
            wrong.extend((one, other) for one, other in itertools.pairwise(found) if other.seq != one.seq + 1)
            rounds[number] += 1

    threads = [threading.Thread(target=look, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    term = 1
    while not wrong and (term < 60 or min(rounds) < 20):
        term += 1
        log.truncate_after(Seq(max(log.base[1] + 1, log.last[1] - term % 37)))
        for _ in range(4):
            first = log.last[1] + 1
            log.append([record(seq, term=term, body=f"{seq} of {term}".encode()) for seq in range(first, first + 9)])
        if term % 10 == 0:
            log.trim(Seq(log.last[1] - 100))
    ended.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    log.close()


def test_a_log_whose_last_file_was_emptied_by_a_cut_has_no_terms_once_the_others_are_trimmed(tmp_path):
    log = create_behind(tmp_path, 0, 0, LogSettings(file_bytes=150, watermark_every_appends=3))
    log.append([record(1, term=1)])
    log.append([record(2, term=1), record(3, term=1)])
    log.truncate_after(Seq(1))
    log.trim(Seq(1))
    assert (log.base, dict(log.term_starts)) == ((1, 1), {})
    log.append([record(2, term=2)])
    assert dict(log.term_starts) == {2: 2}
    log.close()


class AnyLog(RuleBasedStateMachine):
    """Compares a log with a list of records."""

    @initialize(base=st.integers(0, 3), file_bytes=st.sampled_from([150, 400, 100_000]), data=st.data())
    def begin(self, base, file_bytes, data):
        self.folder = Path(tempfile.mkdtemp(dir=self.root))
        self.settings = LogSettings(file_bytes=file_bytes, watermark_every_appends=3)
        self.log = create_behind(self.folder, base, base, self.settings)
        self.base, self.kept, self.made, self.term = (base, base), [], 0, max(1, base)

    @rule(count=st.integers(1, 5), new_term=st.booleans())
    def append(self, count, new_term):
        self.term += new_term
        group = []
        for _ in range(count):
            self.made += 1
            group.append(record(self._last() + 1 + len(group), term=self.term, body=f"made {self.made}".encode()))
        self.log.append(group)
        self.kept += group

    @rule(part=st.floats(0, 1))
    def truncate(self, part):
        self.log.truncate_after(Seq(self.base[1] + round(part * (self._last() - self.base[1]))))
        self.kept = self.kept[: round(part * len(self.kept))]

    @precondition(lambda self: self.kept)
    @rule(part=st.floats(0, 1))
    def trim(self, part):
        self.log.trim(Seq(self.base[1] + round(part * len(self.kept))))
        gone = self.log.base[1] - self.base[1]
        assert gone <= round(part * len(self.kept))
        if gone:
            self.base, self.kept = (self.kept[gone - 1].term, self.kept[gone - 1].seq), self.kept[gone:]

    @rule()
    def rest(self):
        self.log.rest()

    @rule(killed=st.booleans())
    def open_again(self, killed):
        if not killed:
            self.log.close()
        self.log = open_log(self.folder, applied_seq=self.base[1], settings=self.settings)
        assert self.log.cut_bytes == 0

    @rule(at=st.floats(0, 1), max_bytes=st.integers(0, 500))
    def read_a_piece(self, at, max_bytes):
        first = round(at * len(self.kept))
        found = list(self.log.read_some(Seq(self.base[1] + 1 + first), max_bytes))
        assert found == self.kept[first : first + len(found)]
        assert bool(found) == (first < len(self.kept))

    @invariant()
    def it_holds_the_list(self):
        if not hasattr(self, "log"):
            return
        assert list(self.log.read(self.log.first_seq)) == self.kept
        assert self.log.base == self.base
        assert self.log.last == ((self.kept[-1].term, self.kept[-1].seq) if self.kept else self.base)
        starts = {}
        for each in self.kept:
            starts.setdefault(each.term, each.seq)
        assert dict(self.log.term_starts) == starts

    def teardown(self):
        if hasattr(self, "log"):
            self.log.close()

    def _last(self):
        return self.kept[-1].seq if self.kept else self.base[1]


@pytest.mark.parametrize("spacing", [SPACING_BYTES, 1, 100])
def test_whatever_is_appended_cut_trimmed_and_opened_it_is_as_a_list(tmp_path, monkeypatch, spacing):
    for user in ("places", "reading", "opening"):
        monkeypatch.setattr(f"shoal.shard_worker.storage.log.{user}.SPACING_BYTES", spacing)
    machine = type("Machine", (AnyLog,), {"root": tmp_path})
    machine.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
    machine.TestCase("runTest").runTest()


@settings(max_examples=50, deadline=None)
@given(seq=st.integers(0, COUNT), torn=st.floats(0, 1), group=st.integers(1, 4))
def test_a_crash_in_the_append_behind_a_cut_costs_that_append_only(tmp_path_factory, seq, torn, group):
    folder = tmp_path_factory.mktemp("cut")
    log = create_log(folder, SMALL_FILES)
    for each in range(1, COUNT + 1):
        log.append([record(each, term=term_of(each))])
    log.truncate_after(Seq(seq))
    before = files_under(folder)
    log.append([record(each, term=9) for each in range(seq + 1, seq + 1 + group)])
    log.close()
    (folder / "watermark.json").write_bytes(before[folder / "watermark.json"])
    last = log_files(folder)[-1]
    data = last.read_bytes()
    durable = len(before[last]) if last in before else data.index(b"\xffSR\xfe")
    last.write_bytes(data[: durable + int(torn * (len(data) - durable))])
    again = open_log(folder, applied_seq=seq, settings=SMALL_FILES)
    assert seq <= again.last[1] <= seq + group
    assert seqs_of(again) == list(range(1, again.last[1] + 1))
    again.close()
