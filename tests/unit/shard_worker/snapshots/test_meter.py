"""Test the progress of a fetch that a worker tells."""

from shoal.core.shard_calls import SnapshotProgress
from shoal.shard_worker.snapshots.meter import RECENT_S, SnapshotMeter


def test_it_tells_what_is_here_and_the_rate_of_late():
    now = [100.0]
    meter = SnapshotMeter(lambda: now[0])
    assert meter.progress() == SnapshotProgress(done_bytes=0, total_bytes=0, bytes_per_s=0.0)
    now[0] += 1_000.0
    meter.begins(total_bytes=1_000, done_bytes=400)
    for _ in range(2):
        now[0] += 1.0
        meter.adds(100)
    assert meter.progress() == SnapshotProgress(done_bytes=600, total_bytes=1_000, bytes_per_s=100.0)
    now[0] += RECENT_S - 0.5
    assert meter.progress() == SnapshotProgress(done_bytes=600, total_bytes=1_000, bytes_per_s=100 / RECENT_S)
    now[0] += RECENT_S
    assert meter.progress().bytes_per_s == 0.0


def test_what_came_damaged_is_taken_back():
    now = [0.0]
    meter = SnapshotMeter(lambda: now[0])
    meter.begins(total_bytes=10, done_bytes=0)
    meter.adds(6)
    meter.adds(-6)
    now[0] += 1.0
    assert meter.progress() == SnapshotProgress(done_bytes=0, total_bytes=10, bytes_per_s=0.0)
