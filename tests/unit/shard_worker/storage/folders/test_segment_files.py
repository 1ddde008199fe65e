import errno
import hashlib
import os

import pytest

from shoal.core.errors import Internal
from shoal.shard_worker.storage.failure import StorageFailed
from shoal.shard_worker.storage.folders.segment_files import SegmentFiles, WrittenFile


@pytest.fixture
def files(tmp_path):
    return SegmentFiles(tmp_path / "segments")


def names(files):
    return sorted(path.name for path in files.path("x").parent.iterdir())


def test_a_file_is_there_whole_with_its_hash(files):
    data = bytes(range(256)) * 5000
    written = files.write("s1.faiss", lambda path: path.write_bytes(data))
    assert written == WrittenFile(name="s1.faiss", size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    assert files.path("s1.faiss").read_bytes() == data
    assert names(files) == ["s1.faiss"]
    assert files.write_bytes("s1.rows", b"abc") == WrittenFile(
        name="s1.rows", size_bytes=3, sha256="ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_the_file_is_flushed_before_it_gets_its_name_and_the_folder_after(files, monkeypatch):
    files.write_bytes("first", b"1")
    calls = []
    flush, rename = os.fsync, os.rename
    monkeypatch.setattr(os, "fsync", lambda descriptor: (calls.append(os.readlink(f"/proc/self/fd/{descriptor}")), flush(descriptor))[1])
    monkeypatch.setattr(os, "rename", lambda source, target: (calls.append("rename"), rename(source, target))[1])
    files.write_bytes("second", b"2")
    folder = files.path("second").parent.resolve()
    assert calls == [str(folder / "second.tmp"), "rename", str(folder)]


def test_what_fails_leaves_nothing_behind(files):
    def fail(path):
        path.write_bytes(b"half")
        raise RuntimeError("no more")

    def full(path):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "no space left on device")

    with pytest.raises(RuntimeError, match="no more"):
        files.write("s1", fail)
    with pytest.raises(StorageFailed, match="disk full"):
        files.write("s1", full)
    assert names(files) == []


def test_files_are_immutable(files):
    files.write_bytes("s1", b"one")
    with pytest.raises(Internal, match="exists"):
        files.write_bytes("s1", b"two")
    assert files.path("s1").read_bytes() == b"one"


@pytest.mark.parametrize("name", ["", "../s1", "a/b", ".hidden", "s1.tmp", "a" * 200])
def test_names_that_are_none_are_refused(files, name):
    with pytest.raises(Internal, match="cannot name a segment file"):
        files.write_bytes(name, b"")


def test_only_what_was_written_is_verified(files):
    data = b"0123456789" * 10
    written = files.write_bytes("s1", data)
    path = files.path("s1")

    def right():
        return files.verify("s1", size_bytes=written.size_bytes, sha256=written.sha256)

    assert right()
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        assert not right()
    path.write_bytes(data[:-1])
    assert not right()
    path.write_bytes(data + b"0")
    assert not right()
    path.unlink()
    assert not right()


def test_orphans_are_removed_and_named_files_stay(files):
    assert files.remove_orphans([]) == ()
    for name in ("a", "b", "c"):
        files.write_bytes(name, b"")
    (files.path("d").parent / "d.tmp").write_bytes(b"half")
    assert files.remove_orphans(["b", "missing"]) == ("a", "c", "d.tmp")
    assert names(files) == ["b"]
