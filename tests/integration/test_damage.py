"""Damage a small replica in every way that a disk can. The damage is noticed, or it changes no answer, and nothing
acknowledged is lost.

Each bit of the log and of the segment files is flipped for the function that detects it. Whole replicas are opened only
for samples of the bits.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from shoal.core.errors import DataLoss, PreconditionFailed, ShoalError
from shoal.core.filter import In
from shoal.runtime.fault_points import CALL_POINTS, armed
from shoal.shard_worker.fsck.finding import Verdict
from shoal.shard_worker.storage.failure import DiskFull, StorageFailed
from shoal.shard_worker.storage.folders.replica_folder import ReplicaFolder
from shoal.shard_worker.storage.folders.segment_files import SegmentFiles
from shoal.shard_worker.storage.log.file import LogIdentity
from shoal.shard_worker.storage.log.opening import verify_log_files
from shoal.shard_worker.storage.log.watermark import load_watermark
from shoal.shard_worker.storage.store.inspection import StoreInspection
from tests.support.worker.engine_driver import CLUSTER, REF, Driven
from tests.support.worker.engine_reading import count, nearest, stored
from tests.support.worker.replica_bench import REPLICA
from tests.support.worker.replica_on_disk import checked, flip, make_worker
from tests.support.worker.storage_parts import files_under, take_back_watermark

IDENTITY = LogIdentity(cluster_id=CLUSTER, replica_id=REPLICA)
QUERIES = ([0.0, 0.0, 0.0, 0.0], [7.0, 1.0, 1.0, -9.0])
ONE = In(("n",), (1,))
Answers = tuple[Any, ...]
Stored = dict[int | str, tuple[list[float], dict[str, Any] | None]]

OF_A_CUT = ("log.drop", "log.shorten")
"""Fault points that a single replica never reaches, because its log is never cut. `test_kill_points` covers them."""


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a replica whose worker stopped cleanly. Tests must not change it."""
    return make_worker(tmp_path_factory.mktemp("stopped"))


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the same replica, but its worker was killed: the last applied writes are in the write-ahead log, and the
    watermark is behind.

    Tests must not change it.
    """
    return make_worker(tmp_path_factory.mktemp("killed"), clean=False)


@pytest.fixture(scope="module")
def truth(stopped: Path, tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """Return what a good replica answers."""
    return answers(copied(stopped, tmp_path_factory.mktemp("truth")))


def copied(path: Path, folder: Path) -> Path:
    """Copy a replica to a data folder of its own."""
    target = folder / "collection" / "0" / path.name
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(path, target)
    shutil.copy(path.parents[2] / "worker.json", folder)
    return target


def answers(path: Path) -> Answers:
    """Open the replica and read it in every way. Raises what opening or reading raises."""
    driven = Driven(path)
    try:
        found = [nearest(driven, query, k, wanted) for query in QUERIES for k in (1, 5, 100) for wanted in (None, ONE)]
        return stored(driven), count(driven), count(driven, ONE), found
    finally:
        with contextlib.suppress(ShoalError):
            driven.close()


def segment_files(path: Path) -> list[Path]:
    return sorted((path / "segments").iterdir())


def log_files(path: Path) -> list[Path]:
    return sorted((path / "log").glob("*.log"))


def every_bit(path: Path) -> Iterator[int]:
    """Flip each bit of a file, one after the other. Afterwards the file is as before."""
    data = path.read_bytes()
    with path.open("r+b", buffering=0) as stream:
        for at, byte in enumerate(data):
            for bit in range(8):
                os.pwrite(stream.fileno(), bytes([byte ^ 1 << bit]), at)
                yield at
            os.pwrite(stream.fileno(), bytes([byte]), at)


def applied_seq(path: Path) -> int:
    with StoreInspection.opened(path / "store.db") as store:
        return store.counters().applied_seq


# Segments


def test_every_flipped_bit_of_every_segment_file_is_seen_by_its_hash(stopped: Path, tmp_path: Path) -> None:
    path = copied(stopped, tmp_path)
    with StoreInspection.opened(path / "store.db") as store:
        entries = store.segments()
    assert [entry.name for entry in entries] == [file.name for file in segment_files(path)]
    files = SegmentFiles(path / "segments")
    for entry in entries:
        assert files.verify(entry.name, size_bytes=entry.size_bytes, sha256=entry.sha256)
        for at in every_bit(path / "segments" / entry.name):
            assert not files.verify(entry.name, size_bytes=entry.size_bytes, sha256=entry.sha256), (entry.name, at)
        for size in range(entry.size_bytes):
            os.truncate(path / "segments" / entry.name, entry.size_bytes - size - 1)
            assert not files.verify(entry.name, size_bytes=entry.size_bytes, sha256=entry.sha256), (entry.name, size)


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_segment_file_changes_no_answer_and_its_rows_are_sealed_again(
    stopped: Path, truth: Answers, tmp_path: Path, seed: int
) -> None:
    chosen = random.Random(seed)
    for file in segment_files(stopped):
        path = copied(stopped, tmp_path)
        flip(path / "segments" / file.name, chosen.randrange(file.stat().st_size), chosen.randrange(8))
        assert [finding.file for finding in checked(path).findings] == [str(path / "segments" / file.name)]
        assert answers(path) == truth
        assert checked(path).findings == ()
        driven = Driven(path)
        while driven.build(everything=True):
            pass
        driven.close()
        assert checked(path).findings == ()
        assert checked(path).figures.growing_rows == 0
        assert answers(path) == truth


# The log


def test_every_flipped_bit_of_the_log_is_damage(killed: Path, tmp_path: Path) -> None:
    path = copied(killed, tmp_path)
    seq, watermark = applied_seq(path), load_watermark(path / "watermark.json")
    assert watermark.seq < seq, "the watermark must not be what saves it"
    assert verify_log_files(path / "log", IDENTITY, watermark, seq).end.seq == seq
    for file in log_files(path):
        for at in every_bit(file):
            try:
                verify_log_files(path / "log", IDENTITY, watermark, seq)
            except DataLoss:
                continue
            pytest.fail(f"a flipped bit at {at} of {file.name} was not noticed")


@pytest.mark.parametrize("seed", range(6))
def test_a_replica_with_a_damaged_log_does_not_open_and_nothing_of_it_is_cut(killed: Path, tmp_path: Path, seed: int) -> None:
    chosen = random.Random(seed)
    path = copied(killed, tmp_path)
    file = chosen.choice(log_files(path))
    flip(file, chosen.randrange(file.stat().st_size), chosen.randrange(8))
    before = files_under(path / "log")
    assert checked(path).verdict is Verdict.DAMAGED
    with pytest.raises(DataLoss):
        answers(path)
    assert files_under(path / "log") == before


def test_a_log_cut_behind_what_is_applied_gives_whole_writes_back(stopped: Path, tmp_path: Path) -> None:
    """Two writes are in the log and not in the store, as after a crash between flush and apply.

    The end of the log may be missing, because its bytes never reached the disk.
    """
    path = copied(stopped, tmp_path)
    driven = Driven(path)
    full = log_files(path)[-1]
    while log_files(path)[-1] == full:
        driven.upsert([99], [[0.0, 0.0, 0.0, 0.0]], [b'{"n":1}'])
    file = log_files(path)[-1]
    states, sizes = [stored(driven)], [file.stat().st_size]
    for number in (100, 101):
        driven.append_only([number], [[1.0, 2.0, 3.0, 4.0]], [b'{"n":1}'])
        states.append({**states[-1], number: ([1.0, 2.0, 3.0, 4.0], {"n": 1})})
        sizes.append(file.stat().st_size)
    driven.copy_to(tmp_path / "ahead")
    driven.close()
    assert sizes == sorted(set(sizes)), "both writes are in one file"
    for size in sorted({*range(sizes[0], sizes[2], 9), *sizes}):
        cut = replaced(path, tmp_path / "ahead")
        os.truncate(log_files(cut)[-1], size)
        again = Driven(cut)
        assert stored(again) == states[sum(size >= each for each in sizes) - 1], size
        again.close()


def test_a_log_cut_before_what_is_applied_is_damage(killed: Path, tmp_path: Path) -> None:
    path = copied(killed, tmp_path)
    seq, watermark = applied_seq(path), load_watermark(path / "watermark.json")
    for file in log_files(path):
        data = file.read_bytes()
        for size in range(len(data)):
            file.write_bytes(data[:size])
            with pytest.raises(DataLoss):
                verify_log_files(path / "log", IDENTITY, watermark, seq)
        file.write_bytes(data)


def replaced(target: Path, source: Path) -> Path:
    """Replace `target` by a copy of `source`."""
    shutil.rmtree(target)
    shutil.copytree(source, target)
    return target


# Small files


def test_every_flipped_bit_of_the_identity_is_noticed_or_harmless(stopped: Path, tmp_path: Path) -> None:
    path = copied(stopped, tmp_path)
    right, noticed = ReplicaFolder.load(path, cluster_id=CLUSTER, ref=REF).known_term, 0
    for _ in every_bit(path / "replica.json"):
        try:
            assert ReplicaFolder.load(path, cluster_id=CLUSTER, ref=REF).known_term == right
        except (DataLoss, PreconditionFailed):
            noticed += 1
    assert noticed > 7 * (path / "replica.json").stat().st_size


# The store


@pytest.mark.parametrize("state", ["stopped", "killed"])
@pytest.mark.parametrize("seed", range(4))
def test_flipped_bits_of_the_store_are_noticed_or_change_no_answer(
    request: pytest.FixtureRequest, truth: Answers, tmp_path: Path, state: str, seed: int
) -> None:
    source, chosen = request.getfixturevalue(state), random.Random(seed)
    noticed = 0
    for _ in range(20):
        path = copied(source, tmp_path)
        file = path / chosen.choice([each.name for each in path.iterdir() if each.name in ("store.db", "store.db-wal")])
        data = file.read_bytes()
        flip(file, chosen.choice([at for at, byte in enumerate(data) if byte]), chosen.randrange(8))
        verdict = checked(path).verdict
        try:
            assert answers(path) == truth
        except (DataLoss, PreconditionFailed):
            assert verdict is Verdict.DAMAGED
            noticed += 1
    assert noticed


@pytest.mark.parametrize("state", ["stopped", "killed"])
def test_a_truncated_store_is_noticed_or_changes_no_answer(
    request: pytest.FixtureRequest, truth: Answers, tmp_path: Path, state: str
) -> None:
    source = request.getfixturevalue(state)
    for name in [each.name for each in source.iterdir() if each.name in ("store.db", "store.db-wal")]:
        size = (source / name).stat().st_size
        for part in range(12):
            path = copied(source, tmp_path)
            os.truncate(path / name, size * part // 12)
            verdict = checked(path).verdict
            try:
                assert answers(path) == truth
            except DataLoss:
                assert verdict is Verdict.DAMAGED


# A disk that is full, or fails

ERRORS = {"full": errno.ENOSPC, "broken": errno.EIO}


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("point", [each for each in CALL_POINTS if each not in OF_A_CUT])
def test_a_call_that_fails_is_refused_clearly_and_loses_nothing(stopped: Path, tmp_path: Path, point: str, kind: str) -> None:
    path = copied(stopped, tmp_path)
    driven = Driven(path)
    with armed(point, lambda: failing(ERRORS[kind])):
        failure, may_be = until_refused(driven)
    assert isinstance(failure, DiskFull) == (kind == "full" and not point.startswith("disk.flush"))
    assert ("disk full" in failure.message) == (kind == "full")
    with contextlib.suppress(ShoalError):
        driven.close()
    again = Driven(path)
    assert stored(again) in may_be
    again.delete([200, 5])
    assert stored(again).keys() == stored(again).keys() - {200, 5}
    while again.build(everything=True):
        pass
    again.close()
    assert checked(path).findings == ()


def until_refused(driven: Driven) -> tuple[StorageFailed, list[Stored]]:
    """Write, build, write checkpoints and open again until the disk refuses.

    Returns the error, and the two states that the replica may then have.
    """
    points = stored(driven)
    take_back = partial(take_back_watermark, driven.path, cluster_id=CLUSTER, replica_id=REPLICA)
    for number in range(200, 210):
        vector = [1.0, 1.0, 1.0, float(number)]
        after: Stored = {**points, number: (vector, {"n": 1, "text": "x" * 200})}
        try:
            driven.upsert([number], [vector], [json.dumps(after[number][1]).encode()])
            points = after
            for operation in (partial(driven.build, everything=True), driven.checkpoint, driven.close, take_back, driven.reopen):
                operation()
        except StorageFailed as error:
            return error, [points, after]
    raise AssertionError("the disk never refused")


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("point", ["segment.write", "segment.rename", "disk.flush"])
def test_a_build_that_finds_no_room_leaves_everything_searchable_and_writes_go_on(
    stopped: Path, truth: Answers, tmp_path: Path, point: str, nth: int
) -> None:
    """The engine stays open: reads and writes go on in it after the failed build."""
    path = copied(stopped, tmp_path)
    driven = Driven(path)
    before = segment_files(path)
    with armed(point, lambda: failing(errno.ENOSPC), nth=nth), pytest.raises(StorageFailed, match="disk full"):
        driven.build(everything=True)
    assert segment_files(path) == before or len(segment_files(path)) < len(before) + nth
    assert not list((path / "segments").glob("*.tmp"))
    assert stored(driven) == truth[0]
    assert nearest(driven, QUERIES[0], 5) == truth[3][2]
    driven.delete([5])
    driven.upsert([300], [[1.0, 1.0, 1.0, 1.0]], [None])
    while driven.build(everything=True):
        pass
    assert set(stored(driven)) == set(truth[0]) - {5} | {300}
    driven.close()
    assert checked(path).findings == ()


def failing(number: int) -> None:
    raise OSError(number, os.strerror(number))
