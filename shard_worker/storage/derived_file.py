"""Files of knowledge that can be gathered again: checked by a crc32c of their own, and ignored when missing or
damaged.
"""

from __future__ import annotations

import struct
from pathlib import Path

from shoal.core.errors import DataLoss
from shoal.shard_worker.storage.checksum import crc32c
from shoal.shard_worker.storage.durable import make_folder, write_durably
from shoal.shard_worker.storage.failure import read_failure, write_failure

_HEAD = struct.Struct("<8sII")
_MAGIC = b"SHOALDRV"
_FORMAT = 1


def write_derived(path: Path, data: bytes) -> None:
    """Replace `path`, whole. Raises StorageFailed."""
    try:
        make_folder(path.parent)
        write_durably(path, _HEAD.pack(_MAGIC, _FORMAT, crc32c(data, crc32c(_MAGIC + bytes([_FORMAT])))) + data)
    except OSError as error:
        raise write_failure(error, str(path)) from error


def read_derived(path: Path) -> bytes | None:
    """What was written; None when there is no such file.

    Raises DataLoss when it is damaged or of another format, StorageFailed.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise read_failure(error, str(path)) from error
    if len(content) < _HEAD.size:
        raise DataLoss(f"{path} is damaged: it has {len(content)} bytes, its head alone has {_HEAD.size}")
    magic, found, crc = _HEAD.unpack_from(content)
    data = content[_HEAD.size :]
    if magic != _MAGIC or found != _FORMAT or crc != crc32c(data, crc32c(_MAGIC + bytes([_FORMAT]))):
        raise DataLoss(f"{path} is damaged: its head says {magic!r}, format {found}, or its crc does not match")
    return data
