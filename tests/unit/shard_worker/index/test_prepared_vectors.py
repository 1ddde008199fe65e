from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shoal.core.errors import DataLoss, Internal
from shoal.shard_worker.index.sealed import map_vectors, write_vectors

VECTORS = np.random.default_rng(1).random((10, 3)).astype(np.float32)


def _written(path: Path) -> Path:
    write_vectors(path, [VECTORS[:4], VECTORS[4:4], VECTORS[4:]], rows=10, dim=3)
    return path


def test_what_was_written_in_blocks_is_mapped(tmp_path: Path) -> None:
    path = _written(tmp_path / "v")
    mapped = map_vectors(path, rows=10, dim=3)
    path.unlink()
    assert type(mapped) is np.ndarray
    assert np.array_equal(mapped, VECTORS)
    with pytest.raises(ValueError, match="read-only"):
        mapped[0, 0] = 1.0


def test_it_is_an_npy_file(tmp_path: Path) -> None:
    assert np.array_equal(np.load(_written(tmp_path / "v.npy")), VECTORS)


def test_no_rows(tmp_path: Path) -> None:
    write_vectors(tmp_path / "v", [], rows=0, dim=3)
    assert map_vectors(tmp_path / "v", rows=0, dim=3).shape == (0, 3)


def test_fewer_vectors_than_announced_are_a_defect(tmp_path: Path) -> None:
    with pytest.raises(Internal, match="got 4 vectors where 10"):
        write_vectors(tmp_path / "v", [VECTORS[:4]], rows=10, dim=3)


def test_a_full_disk_is_an_os_error() -> None:
    with pytest.raises(OSError, match="No space left"):
        write_vectors(Path("/dev/full"), [VECTORS] * 1_000, rows=10_000, dim=3)


def test_other_files_are_data_loss(tmp_path: Path) -> None:
    path = _written(tmp_path / "v")
    whole = path.read_bytes()
    np.save(tmp_path / "doubles.npy", VECTORS.astype(np.float64))
    np.save(tmp_path / "columns.npy", np.asfortranarray(VECTORS))
    (tmp_path / "cut").write_bytes(whole[:-1])
    (tmp_path / "long").write_bytes(whole + b"x")
    (tmp_path / "head").write_bytes(whole[:20])
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "junk").write_bytes(b"no vectors" * 100)
    for name in ("doubles.npy", "columns.npy", "cut", "long", "head", "empty", "junk"):
        with pytest.raises(DataLoss):
            map_vectors(tmp_path / name, rows=10, dim=3)
    for rows, dim in ((9, 3), (11, 3), (10, 4), (3, 10)):
        with pytest.raises(DataLoss, match="are wanted"):
            map_vectors(path, rows=rows, dim=dim)
