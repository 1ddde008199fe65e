"""Test how a log is opened that a crash or a bad disk has changed."""

import os
import shutil
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.errors import DataLoss, PreconditionFailed
from shoal.shard_worker.storage.log.log import LogSettings
from tests.support.worker.storage_parts import create_log, files_under, log_files, open_log, record, records, seqs_of

FIVE_PER_FILE = LogSettings(file_bytes=400)
COUNT = 17


@pytest.fixture
def crashed(tmp_path):
    """Return the folder of a log whose process was killed: one file, five records in three groups, and the watermark
    still at 0.
    """
    log = create_log(tmp_path)
    unmarked = (tmp_path / "watermark.json").read_bytes()
    for group in (records(1, 2), records(3, 3), records(4, 5)):
        log.append(group)
    log.close()
    (tmp_path / "watermark.json").write_bytes(unmarked)
    return tmp_path


@pytest.fixture
def long_log(tmp_path):
    """Return the folder of a log with several files."""
    folder = tmp_path / "long"
    folder.mkdir()
    log = create_log(folder, FIVE_PER_FILE)
    for seq in range(1, COUNT + 1):
        log.append([record(seq)])
    log.close()
    assert len(log_files(folder)) >= 4
    return folder


def frame_ends(folder):
    """Return the sizes of the only file when it holds 0, 1, 2 ... records."""
    data = log_files(folder)[0].read_bytes()
    return [data.index(b"\xffSR\xfe")] + [data.index(f"body {seq}".encode()) + 6 for seq in range(1, 6)]


def test_a_log_cut_at_any_byte_keeps_every_whole_record(crashed):
    folder = crashed
    path = log_files(folder)[0]
    data, ends = path.read_bytes(), frame_ends(folder)
    assert ends[-1] == len(data)
    unmarked = (folder / "watermark.json").read_bytes()
    for size in range(ends[0], len(data) + 1):
        path.write_bytes(data[:size])
        (folder / "watermark.json").write_bytes(unmarked)
        kept = sum(end <= size for end in ends[1:])
        log = open_log(folder)
        assert seqs_of(log) == list(range(1, kept + 1))
        assert log.cut_bytes == size - ends[kept]
        log.append([record(kept + 1, body=b"after")])
        log.close()
        assert open_and_close(folder, applied_seq=kept + 1) == list(range(1, kept + 2))


def test_a_log_cut_before_what_the_store_has_applied_is_damage(crashed):
    folder = crashed
    path = log_files(folder)[0]
    data, ends = path.read_bytes(), frame_ends(folder)
    for size in range(ends[0], len(data)):
        path.write_bytes(data[:size])
        with pytest.raises(DataLoss, match="the store has applied seq 5 but the log is readable only up to"):
            open_log(folder, applied_seq=5)
        assert path.read_bytes() == data[:size]


def test_a_log_with_a_record_of_a_newer_version_is_not_opened_and_nothing_is_cut(tmp_path):
    log = create_log(tmp_path)
    log.append([record(1), replace(record(2), kind=99), record(3)])
    log.close()
    before = files_under(tmp_path)
    with pytest.raises(PreconditionFailed, match="record 2 is of kind 99"):
        open_log(tmp_path, applied_seq=1)
    assert files_under(tmp_path) == before


def test_a_log_cut_before_the_watermark_is_damage(crashed):
    folder = crashed
    open_and_close(folder)  # writes the watermark
    path = log_files(folder)[0]
    data, ends = path.read_bytes(), frame_ends(folder)
    for size in range(ends[0], len(data)):
        path.write_bytes(data[:size])
        with pytest.raises(DataLoss, match="the log was durable up to seq 5 but is readable only up to"):
            open_log(folder)


def test_records_that_no_watermark_covers_are_written_once_more_and_flushed(crashed, monkeypatch):
    """After a failed flush, the kernel may hold these records only in memory and yet count them as written."""
    path, ends = log_files(crashed)[0], frame_ends(crashed)
    data, calls = path.read_bytes(), []
    write, flush = os.pwrite, os.fsync

    def note_write(descriptor, part, offset):
        calls.append((os.readlink(f"/proc/self/fd/{descriptor}"), part, offset))
        return write(descriptor, part, offset)

    def note_flush(descriptor):
        calls.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        flush(descriptor)

    monkeypatch.setattr(os, "pwrite", note_write)
    monkeypatch.setattr(os, "fsync", note_flush)
    open_and_close(crashed)
    assert calls[:2] == [(str(path), data[ends[0] :], ends[0]), str(path)]
    calls.clear()
    open_and_close(crashed)
    assert calls == [], "everything was durable already"


@pytest.mark.parametrize("tail", [bytes(4096), b"\xffSR\xfe" * 50, b"\xff" * 1000])
def test_a_tail_of_anything_but_records_is_cut(crashed, tail):
    folder = crashed
    path = log_files(folder)[0]
    path.write_bytes(path.read_bytes() + tail)
    log = open_log(folder, applied_seq=5)
    assert (seqs_of(log), log.cut_bytes) == ([1, 2, 3, 4, 5], len(tail))
    log.close()
    assert path.stat().st_size == frame_ends(folder)[-1]


def test_every_flipped_bit_before_the_last_record_is_damage(crashed):
    folder = crashed
    ends = frame_ends(folder)
    for _ in flipped_bits(folder, 0, ends[4]):
        with pytest.raises(DataLoss):
            open_log(folder)


def test_every_flipped_bit_in_the_last_record_is_damage_when_the_store_has_applied_it(crashed):
    folder = crashed
    ends = frame_ends(folder)
    for _ in flipped_bits(folder, ends[4], ends[5]):
        with pytest.raises(DataLoss, match="seq 5"):
            open_log(folder, applied_seq=5)


def test_every_flipped_bit_in_the_last_record_is_damage_when_the_watermark_covers_it(crashed):
    folder = crashed
    open_and_close(folder)
    ends = frame_ends(folder)
    for _ in flipped_bits(folder, ends[4], ends[5]):
        with pytest.raises(DataLoss, match="seq 5"):
            open_log(folder)


def test_damage_names_file_offset_and_seq(crashed):
    folder = crashed
    path, ends = log_files(folder)[0], frame_ends(folder)
    data = bytearray(path.read_bytes())
    data[data.index(b"body 3")] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataLoss, match=f"{path.name} at offset {ends[2]}, seq 3: valid records follow"):
        open_log(folder)


def test_a_record_cut_out_of_the_middle_is_damage(crashed):
    folder = crashed
    path, ends = log_files(folder)[0], frame_ends(folder)
    data = path.read_bytes()
    path.write_bytes(data[: ends[2]] + data[ends[3] :])
    with pytest.raises(DataLoss, match="seq 3: valid records follow"):
        open_log(folder)


def test_a_record_that_is_there_twice_is_damage(crashed):
    folder = crashed
    path, ends = log_files(folder)[0], frame_ends(folder)
    data = path.read_bytes()
    path.write_bytes(data + data[ends[4] : ends[5]])
    with pytest.raises(DataLoss, match="seq 6: valid records follow"):
        open_log(folder)


def test_the_last_of_several_files_may_be_torn_and_the_others_may_not(long_log):
    folder = long_log
    for path in log_files(folder):
        data = path.read_bytes()
        path.write_bytes(data[:-1])
        with pytest.raises(DataLoss, match=path.name):
            open_log(folder)
        path.write_bytes(data)
    before = (folder / "watermark.json").read_bytes()
    log = open_log(folder, settings=FIVE_PER_FILE)
    log.append([record(COUNT + 1)])
    log.close()
    (folder / "watermark.json").write_bytes(before)
    torn = log_files(folder)[-1]
    torn.write_bytes(torn.read_bytes()[:-1])
    assert open_and_close(folder) == list(range(1, COUNT + 1))


def test_every_flipped_byte_of_a_closed_log_of_several_files_is_damage(long_log):
    folder = long_log
    for path in log_files(folder):
        data = path.read_bytes()
        for at in range(len(data)):
            path.write_bytes(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])
            with pytest.raises(DataLoss):
                open_log(folder)
        path.write_bytes(data)
    assert open_and_close(folder) == list(range(1, COUNT + 1))


@pytest.mark.parametrize("position", [0, 1, -2, -1])
def test_a_missing_file_is_damage_wherever_it_was(long_log, position):
    path = log_files(long_log)[position]
    path.unlink()
    with pytest.raises(DataLoss):
        open_log(long_log)


def test_a_missing_first_file_is_damage_also_when_the_store_does_not_need_it(long_log):
    log_files(long_log)[0].unlink()
    with pytest.raises(DataLoss, match="seq 1 and later were never trimmed: a file is missing"):
        open_log(long_log, applied_seq=COUNT)


def test_a_trimmed_log_that_begins_behind_the_store_is_damage(long_log):
    log = open_log(long_log, settings=FIVE_PER_FILE)
    second = int(log_files(long_log)[1].stem)
    log.trim(second - 1)
    log.close()
    assert open_and_close(long_log, applied_seq=second - 1) == list(range(second, COUNT + 1))
    with pytest.raises(DataLoss, match=f"the store needs the records from seq {second - 1} on"):
        open_log(long_log, applied_seq=second - 2)


def test_a_crash_between_the_watermark_and_the_deletions_of_a_trim_is_no_damage(long_log, tmp_path):
    shutil.copytree(long_log / "log", tmp_path / "untrimmed")
    firsts = [int(path.stem) for path in log_files(long_log)]
    log = open_log(long_log, settings=FIVE_PER_FILE)
    log.trim(firsts[2] - 1)
    log.close()
    shutil.copy(tmp_path / "untrimmed" / f"{firsts[1]:020d}.log", long_log / "log")
    assert open_and_close(long_log, applied_seq=COUNT) == list(range(firsts[1], COUNT + 1))
    shutil.copy(tmp_path / "untrimmed" / f"{firsts[0]:020d}.log", long_log / "log")
    assert open_and_close(long_log, applied_seq=COUNT) == list(range(1, COUNT + 1))


def test_a_crash_while_a_file_is_begun_is_no_damage(long_log):
    before = files_under(long_log)
    log = open_log(long_log, settings=LogSettings(file_bytes=1))
    log.append([record(COUNT + 1)])
    log.close()
    new = log_files(long_log)[-1]
    header = new.read_bytes()[: new.read_bytes().index(b"\xffSR\xfe")]
    for path, data in before.items():
        path.write_bytes(data)
    new.write_bytes(header)  # the file has its name, but the group is not written yet
    assert open_and_close(long_log, applied_seq=COUNT) == list(range(1, COUNT + 1))
    new.rename(new.with_name(new.name + ".tmp"))
    assert open_and_close(long_log, applied_seq=COUNT) == list(range(1, COUNT + 1))
    assert not list((long_log / "log").glob("*.tmp"))


def test_a_log_without_files_or_watermark_is_damage(tmp_path):
    create_log(tmp_path).close()
    marked = (tmp_path / "watermark.json").read_bytes()
    (tmp_path / "watermark.json").unlink()
    with pytest.raises(DataLoss, match=r"watermark\.json is missing"):
        open_log(tmp_path)
    (tmp_path / "watermark.json").write_bytes(marked)
    log_files(tmp_path)[0].unlink()
    with pytest.raises(DataLoss, match="holds no file of the log"):
        open_log(tmp_path)


def test_a_file_with_another_name_is_damage(long_log):
    path = log_files(long_log)[-1]
    path.rename(path.with_name(f"{int(path.stem) + 1:020d}.log"))
    with pytest.raises(DataLoss, match="the header says that it begins with seq"):
        open_log(long_log)
    path.with_name("strange.log").write_bytes(b"")
    with pytest.raises(DataLoss, match="is not named as a file of a log"):
        open_log(long_log)


def test_a_record_that_is_not_the_one_the_watermark_saw_is_damage(tmp_path):
    for name, body in (("one", b"first"), ("two", b"other")):
        (tmp_path / name).mkdir()
        log = create_log(tmp_path / name)
        log.append([record(1, body=body)])
        log.close()
    shutil.copy(tmp_path / "one" / "watermark.json", tmp_path / "two" / "watermark.json")
    with pytest.raises(DataLoss, match="the crc of record 1 is not the one in the watermark"):
        open_log(tmp_path / "two")


def test_every_flipped_bit_of_the_watermark_is_noticed_or_harmless(crashed):
    folder = crashed
    open_and_close(folder)
    path = folder / "watermark.json"
    data = path.read_bytes()
    noticed = 0
    for at in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[at // 8] ^= 1 << at % 8
        path.write_bytes(flipped)
        try:
            assert open_and_close(folder) == [1, 2, 3, 4, 5]
        except DataLoss:
            noticed += 1
    assert noticed > len(data) * 7


@settings(max_examples=60, deadline=None)
@given(
    groups=st.lists(st.integers(1, 4), min_size=1, max_size=8),
    cut=st.floats(0, 1),
    file_bytes=st.sampled_from([150, 400, 10_000]),
)
def test_a_crash_in_an_append_costs_nothing_that_was_acknowledged(tmp_path_factory, groups, cut, file_bytes):
    folder = tmp_path_factory.mktemp("crash")
    log = create_log(folder, LogSettings(file_bytes=file_bytes, watermark_every_appends=3))
    seq = 0
    for size in groups:
        acknowledged, before = seq, files_under(folder)
        log.append(records(seq + 1, seq + size))
        seq += size
    log.close()
    (folder / "watermark.json").write_bytes(before[folder / "watermark.json"])
    last = log_files(folder)[-1]
    data = last.read_bytes()
    durable_bytes = len(before[last]) if last in before else data.index(b"\xffSR\xfe")
    last.write_bytes(data[: durable_bytes + int(cut * (len(data) - durable_bytes))])
    found = open_and_close(folder, applied_seq=acknowledged)
    assert found == list(range(1, len(found) + 1))
    assert acknowledged <= len(found) <= seq


def open_and_close(folder, *, applied_seq=0):
    log = open_log(folder, applied_seq=applied_seq)
    try:
        return seqs_of(log)
    finally:
        log.close()


def flipped_bits(folder, begin, end):
    """Flip each bit of these bytes of the only file, one after the other. Afterwards the file is as before."""
    path = log_files(folder)[0]
    data = path.read_bytes()
    for at in range(begin * 8, end * 8):
        flipped = bytearray(data)
        flipped[at // 8] ^= 1 << at % 8
        path.write_bytes(flipped)
        yield at
    path.write_bytes(data)
