import errno
import os

import pytest

from shoal.core.errors import DataLoss, Internal, PreconditionFailed
from shoal.core.ids import ClusterId, ReplicaId, Seq
from shoal.shard_worker.storage.failure import DiskFull, StorageFailed
from shoal.shard_worker.storage.log.log import LogSettings, ReplicaLog
from shoal.shard_worker.storage.log.watermark import load_watermark
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


def test_a_new_log_is_empty_and_stays_so(tmp_path):
    log = create_log(tmp_path)
    assert (log.last, log.first_seq, dict(log.term_starts), list(log.read(Seq(1)))) == ((0, 0), 1, {}, [])
    log.close()
    again = open_log(tmp_path)
    assert (again.last, again.first_seq, again.cut_bytes) == ((0, 0), 1, 0)
    again.close()


def test_records_are_read_back_before_and_after_opening(tmp_path):
    log = create_log(tmp_path)
    written = [*records(1, 3, term=1), *records(4, 4, term=3), *records(5, 9, term=4)]
    log.append(written[:1])
    log.append(written[1:6])
    log.append([])
    log.append(written[6:])
    assert list(log.read(Seq(1))) == written
    log.close()
    again = open_log(tmp_path, applied_seq=9)
    assert list(again.read(Seq(1))) == written
    assert list(again.read(Seq(7))) == written[6:]
    assert list(again.read(Seq(10))) == []
    assert again.last == (4, 9)
    assert list(again.term_starts.items()) == [(1, 1), (3, 4), (4, 5)]
    again.append(records(10, 10, term=4))
    assert seqs_of(again) == list(range(1, 11))
    again.close()


def test_terms_that_begin_within_one_group_are_all_in_the_table(tmp_path):
    log = create_log(tmp_path)
    log.append([*records(1, 2, term=2), *records(3, 4, term=5), *records(5, 5, term=7)])
    log.append(records(6, 6, term=7))
    assert list(log.term_starts.items()) == [(2, 1), (5, 3), (7, 5)]
    log.close()


def test_a_group_costs_one_write_and_one_flush(tmp_path, monkeypatch):
    log = create_log(tmp_path)
    calls = []
    write, flush = os.writev, os.fdatasync
    monkeypatch.setattr(os, "writev", lambda *given: (calls.append("write"), write(*given))[1])
    monkeypatch.setattr(os, "fdatasync", lambda *given: (calls.append("flush"), flush(*given))[1])
    log.append(records(1, 50))
    assert calls == ["write", "flush"]
    log.close()


@pytest.mark.parametrize("part_bytes", [1, 7, 90, 1_000])
def test_a_write_that_takes_only_a_part_is_continued(tmp_path, monkeypatch, part_bytes):
    log = create_log(tmp_path)
    monkeypatch.setattr(os, "writev", lambda descriptor, pieces: os.write(descriptor, b"".join(pieces)[:part_bytes]))
    log.append(records(1, 3))
    monkeypatch.undo()
    log.close()
    again = open_log(tmp_path)
    assert list(again.read(Seq(1))) == records(1, 3)
    again.close()


def test_records_that_do_not_continue_the_log_are_refused_and_nothing_is_written(tmp_path):
    log = create_log(tmp_path)
    log.append(records(1, 2, term=3))
    before = files_under(tmp_path)
    for wrong in ([record(4, term=3)], [record(2, term=3)], [record(3, term=2)], [record(3, term=3), record(5, term=3)]):
        with pytest.raises(Internal, match="does not continue the log"):
            log.append(wrong)
    assert files_under(tmp_path) == before
    log.append([record(3, term=3)])
    log.close()


def test_files_are_rolled_and_joined_again(tmp_path):
    log = create_log(tmp_path, SMALL_FILES)
    for seq in range(1, 31):
        log.append([record(seq)])
    paths = log_files(tmp_path)
    assert len(paths) > 3
    assert all(path.stat().st_size <= SMALL_FILES.file_bytes for path in paths)
    assert log.size_bytes == sum(path.stat().st_size for path in paths)
    log.close()
    again = open_log(tmp_path, applied_seq=30, settings=SMALL_FILES)
    assert seqs_of(again) == list(range(1, 31))
    assert again.size_bytes == sum(path.stat().st_size for path in paths)
    again.close()


def test_a_group_larger_than_a_file_gets_a_file_of_its_own(tmp_path):
    log = create_log(tmp_path, SMALL_FILES)
    log.append(records(1, 20))
    log.append(records(21, 40))
    assert [int(path.stem) for path in log_files(tmp_path)] == [1, 21]
    log.close()


def test_trimming_deletes_whole_files_and_never_the_active_one(tmp_path):
    log = create_log(tmp_path, SMALL_FILES)
    for seq in range(1, 31):
        log.append([record(seq, term=1 + seq // 10)])
    firsts = [int(path.stem) for path in log_files(tmp_path)]
    assert log.trim(Seq(firsts[1] - 2)) == 0
    assert log.trim(Seq(firsts[2] - 1)) == 2
    assert log.first_seq == firsts[2]
    assert seqs_of(log) == list(range(firsts[2], 31))
    assert log.trim(Seq(30)) == len(firsts) - 3
    assert [int(path.stem) for path in log_files(tmp_path)] == firsts[-1:]
    assert dict(log.term_starts) == ({3: firsts[-1], 4: 30} if firsts[-1] < 30 else {4: 30})
    with pytest.raises(PreconditionFailed, match=f"the log begins with seq {firsts[-1]}, seq 1 is trimmed"):
        log.read(Seq(1))
    log.close()
    again = open_log(tmp_path, applied_seq=29, settings=SMALL_FILES)
    assert (again.first_seq, again.last) == (firsts[-1], (4, 30))
    again.append([record(31, term=4)])
    again.close()


def test_the_term_table_after_trimming_is_that_of_opening(tmp_path):
    log = create_log(tmp_path, SMALL_FILES)
    for seq in range(1, 41):
        log.append([record(seq, term=1 + seq // 7)])
    for first in [int(path.stem) for path in log_files(tmp_path)][1:]:
        log.trim(Seq(first - 1))
        kept = {}
        for each in log.read(log.first_seq):
            kept.setdefault(each.term, each.seq)
        assert dict(log.term_starts) == kept
    log.close()


def test_a_reader_that_trimming_overtakes_is_told(tmp_path):
    log = create_log(tmp_path, SMALL_FILES)
    for seq in range(1, 31):
        log.append([record(seq)])
    reading = log.read(Seq(1))
    assert next(reading).seq == 1
    log.trim(Seq(30))
    with pytest.raises(PreconditionFailed, match="was trimmed during a read"):
        list(reading)
    log.close()


def test_a_reader_sees_what_was_appended_when_it_asked(tmp_path):
    log = create_log(tmp_path)
    log.append(records(1, 2))
    reading = log.read(Seq(1))
    log.append(records(3, 3))
    assert [each.seq for each in reading] == [1, 2]
    log.close()


def test_the_watermark_follows_the_appends(tmp_path):
    log = create_log(tmp_path, LogSettings(watermark_every_appends=3))
    path = tmp_path / "watermark.json"
    log.append(records(1, 5))
    log.append(records(6, 6))
    assert load_watermark(path).seq == 0
    log.append(records(7, 7))
    assert load_watermark(path).seq == 7
    log.append(records(8, 8))
    log.close()
    assert load_watermark(path).seq == 8


def test_the_watermark_follows_the_bytes_and_the_files(tmp_path):
    log = create_log(tmp_path, LogSettings(watermark_every_bytes=100, file_bytes=1000))
    path = tmp_path / "watermark.json"
    log.append([record(1, body=bytes(150))])
    assert load_watermark(path).seq == 1
    log.append([record(2, body=b"")])
    assert load_watermark(path).seq == 1
    log.append([record(3, body=bytes(900))])
    assert len(log_files(tmp_path)) == 2
    assert load_watermark(path).seq == 3
    log.close()


@pytest.mark.parametrize("name", ["writev", "fdatasync"])
def test_after_a_failed_write_or_flush_the_log_is_dead(tmp_path, monkeypatch, name):
    log = create_log(tmp_path)
    log.append(records(1, 2))

    def fail(*given):
        raise OSError(errno.EIO, "input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, name, fail)
        with pytest.raises(StorageFailed, match="write failed"):
            log.append(records(3, 3))
    with pytest.raises(StorageFailed, match="takes nothing more, an earlier write failed"):
        log.append(records(3, 3))
    with pytest.raises(StorageFailed, match="takes nothing more"):
        log.trim(Seq(2))
    assert log.last == (1, 2)
    log.close()
    assert load_watermark(tmp_path / "watermark.json").seq == 0
    again = open_log(tmp_path)
    assert seqs_of(again) in ([1, 2], [1, 2, 3])
    again.close()


def test_a_full_disk_is_named_as_such(tmp_path, monkeypatch):
    log = create_log(tmp_path)

    def full(descriptor, data):
        raise OSError(errno.ENOSPC, "no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "writev", full)
        with pytest.raises(StorageFailed, match="disk full"):
            log.append(records(1, 1))
    log.close()


@pytest.mark.parametrize(("name", "kind"), [("writev", DiskFull), ("fdatasync", StorageFailed)])
def test_only_a_write_without_room_may_be_cured_by_opening_again_never_a_failed_flush(tmp_path, monkeypatch, name, kind):
    log = create_log(tmp_path)

    def full(*given):
        raise OSError(errno.ENOSPC, "no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, name, full)
        for message in ("disk full", "takes nothing more"):
            with pytest.raises(StorageFailed, match=message) as caught:
                log.append(records(1, 1))
            assert type(caught.value) is kind
    log.close()


def test_what_a_failed_write_left_behind_is_cut(tmp_path, monkeypatch):
    log = create_log(tmp_path)
    log.append(records(1, 2))

    def full_after_a_part(descriptor, pieces):
        data = b"".join(pieces)
        if len(data) < 60:
            raise OSError(errno.ENOSPC, "no space left on device")
        return os.write(descriptor, data[:50])

    with monkeypatch.context() as patched:
        patched.setattr(os, "writev", full_after_a_part)
        with pytest.raises(StorageFailed, match="disk full"):
            log.append(records(3, 3))
    log.close()
    again = open_log(tmp_path, applied_seq=2)
    assert (seqs_of(again), again.cut_bytes) == ([1, 2], 50)
    again.append(records(3, 4))
    assert seqs_of(again) == [1, 2, 3, 4]
    again.close()


def test_a_log_at_rest_has_no_file_open_and_goes_on_with_the_next_append(tmp_path):
    log = create_log(tmp_path)
    log.append(records(1, 3))
    assert not log.is_marked
    log.rest()
    assert log.is_marked
    assert [os.readlink(f"/proc/self/fd/{each}") for each in os.listdir("/proc/self/fd") if is_below(tmp_path, each)] == []
    assert seqs_of(log) == [1, 2, 3]
    log.append(records(4, 5))
    log.rest()
    log.rest()
    log.truncate_after(Seq(4))
    log.close()
    log.close()
    again = open_log(tmp_path)
    assert seqs_of(again) == [1, 2, 3, 4]
    again.close()


def is_below(folder, descriptor):
    return os.path.islink(f"/proc/self/fd/{descriptor}") and os.readlink(f"/proc/self/fd/{descriptor}").startswith(str(folder))


def test_a_log_that_changes_while_it_rests_takes_nothing(tmp_path):
    log = create_log(tmp_path)
    log.append(records(1, 3))
    log.rest()
    path = log_files(tmp_path)[0]
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    for _ in range(2):
        with pytest.raises(DataLoss, match=f"had {len(data)} bytes when it was closed, it has {len(data) - 1} now"):
            log.append(records(4, 4))
    path.unlink()
    with pytest.raises(DataLoss, match="is missing"):
        log.append(records(4, 4))
    assert log.last == (1, 3)
    log.close()


def test_an_intact_marked_log_is_opened_without_a_flush(tmp_path, monkeypatch):
    log = create_log(tmp_path)
    log.append(records(1, 3))
    log.close()
    monkeypatch.setattr(os, "fsync", lambda descriptor: pytest.fail("flushed"))
    again = open_log(tmp_path)
    assert seqs_of(again) == [1, 2, 3]
    again.close()


def test_a_closed_log_takes_nothing(tmp_path):
    log = create_log(tmp_path)
    log.close()
    log.close()
    with pytest.raises(Internal, match="is closed"):
        log.append(records(1, 1))


def test_another_cluster_or_replica_is_refused(tmp_path):
    create_log(tmp_path).close()
    with pytest.raises(PreconditionFailed, match="belongs to cluster cluster-a, this process to cluster cluster-b"):
        ReplicaLog.open(tmp_path, cluster_id=ClusterId("cluster-b"), replica_id=REPLICA, applied_seq=Seq(0))
    with pytest.raises(PreconditionFailed, match="belongs to replica replica-a, not to replica-b"):
        ReplicaLog.open(tmp_path, cluster_id=CLUSTER, replica_id=ReplicaId("replica-b"), applied_seq=Seq(0))


def test_a_newer_format_is_refused(tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr("shoal.shard_worker.storage.log.file.LOG_FORMAT", 2)
        create_log(tmp_path).close()
    with pytest.raises(PreconditionFailed, match="has format 2, this program knows formats up to 1"):
        open_log(tmp_path)


def test_damage_found_while_reading_an_open_log_is_data_loss(tmp_path):
    log = create_log(tmp_path)
    log.append(records(1, 9))
    path = log_files(tmp_path)[0]
    data = bytearray(path.read_bytes())
    data[data.index(b"body 5")] ^= 1
    path.write_bytes(data)
    reading = log.read(Seq(1))
    assert [next(reading).seq for _ in range(4)] == [1, 2, 3, 4]
    with pytest.raises(DataLoss, match=r"seq 5: the record is no longer readable"):
        next(reading)
    log.close()
