"""Test that what was measured of searches comes with a snapshot, and that damage in it costs nothing else."""

import dataclasses

import pytest

from shoal.core.errors import DataLoss
from shoal.shard_worker.storage.folders.snapshot_import import SnapshotDownload
from shoal.shard_worker.storage.folders.snapshot_manifest import MOST_TUNING_BYTES
from tests.support.worker.snapshot_world import SOURCE, begun, contents, fetch, is_a_copy
from tests.unit.shard_worker.storage.folders.test_snapshot_import import coming

MEASURED = {"tuning/queries": b"q" * 9_000, "tuning/recall": b"r" * 100}


def measured(source):
    """Let the source have files of measurements, and one that is none."""
    for name, data in {**MEASURED, "tuning/queries.tmp": b"half"}.items():
        path = source.folder.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)


def measurements_of(folder):
    return {f"tuning/{path.name}": path.read_bytes() for path in (folder.path / "tuning").iterdir()}


def test_what_was_measured_comes_with_it(source, here):
    measured(source)
    pinned = source.pin()
    download = begun(here, pinned)
    fetch(pinned, download)
    assert measurements_of(download.finish()) == MEASURED


@pytest.mark.parametrize("on_the_way", [True, False])
def test_a_damaged_measurement_is_dropped_and_the_snapshot_is_taken(source, here, on_the_way):
    measured(source)
    pinned = source.pin()
    download = begun(here, pinned)
    if on_the_way:
        (pinned.path / "tuning" / "recall").unlink()
        (pinned.path / "tuning" / "recall").write_bytes(bytes(100))
        with pytest.raises(DataLoss, match=r"tuning/recall of snapshot .* arrived damaged"):
            fetch(pinned, download)
        download.leave_out("tuning/recall")
        fetch(pinned, download)
    else:
        fetch(pinned, download)
        (coming(here) / "tuning" / "recall").write_bytes(bytes(100))
    made = download.finish()
    assert measurements_of(made) == {"tuning/queries": MEASURED["tuning/queries"]}
    assert contents(made)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "tuning/../../x"},
        {"name": "tuning/a/b/recall"},
        {"name": "tuning/later"},
        {"name": "tuning/recall", "size_bytes": MOST_TUNING_BYTES + 1},
        {"name": "tuning/recall", "size_bytes": -1},
        {"name": "tuning/recall", "sha256": "no hash"},
    ],
)
def test_a_measurement_that_cannot_be_is_not_asked_for(source, here, change):
    pinned = source.pin()
    odd = dataclasses.replace(pinned.manifest.files[1], **change)
    manifest = dataclasses.replace(pinned.manifest, files=(*pinned.manifest.files, odd))
    download = SnapshotDownload.open(here, manifest, source=SOURCE.replica_id)
    fetch(pinned, download)
    is_a_copy(download.finish(), source)


def test_a_measurement_whose_name_is_the_folder_of_another_one_is_not_asked_for(source, here):
    measured(source)
    pinned = source.pin()
    below = dataclasses.replace(pinned.manifest.files[-1], name="tuning/queries/recall")
    manifest = dataclasses.replace(pinned.manifest, files=(*pinned.manifest.files, below))
    download = SnapshotDownload.open(here, manifest, source=SOURCE.replica_id)
    assert [file.name for file in download.manifest.files if file.name.startswith("tuning/q")] == ["tuning/queries/recall"]
