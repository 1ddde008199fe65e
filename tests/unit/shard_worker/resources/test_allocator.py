from __future__ import annotations

import subprocess
import sys

CHILD = """
import sys
from shoal.shard_worker.resources.allocator import give_back_free_memory, settle_allocator
from shoal.shard_worker.hosting.host import resident_bytes

settle_allocator()
before = resident_bytes()
for _ in range(3):
    large = bytearray(20 << 20)
    large[::4096] = bytes([1]) * len(large[::4096])
    del large
print((resident_bytes() - before) >> 20)
pieces = [bytes(100_000) + b"x" for _ in range(600)]
last = bytes(100_000) + b"x"
del pieces
give_back_free_memory()
print((resident_bytes() - before) >> 20)
"""


def test_free_memory_below_what_is_used_goes_back_and_large_pieces_go_at_once() -> None:
    said = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True, timeout=60)
    assert [int(line) < 10 for line in said.stdout.split()] == [True, True], said.stdout
