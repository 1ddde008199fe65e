"""Files of derived knowledge: whole or noticed."""

import pytest

from shoal.core.errors import DataLoss
from shoal.shard_worker.storage.derived_file import read_derived, write_derived


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "new" / "file"
    assert read_derived(path) is None
    for data in (b"", b"x" * 1_000):
        write_derived(path, data)
        assert read_derived(path) == data
    assert [each.name for each in path.parent.iterdir()] == ["file"]


def test_every_flipped_bit_and_every_cut_is_noticed(tmp_path):
    path = tmp_path / "file"
    write_derived(path, b"knowledge")
    content = path.read_bytes()
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(DataLoss, match="damaged"):
            read_derived(path)
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(DataLoss, match="damaged"):
            read_derived(path)
