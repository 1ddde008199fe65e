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


HEAPS = """
from concurrent.futures import ThreadPoolExecutor
from shoal.shard_worker.resources.allocator import freeing_for_good, give_back_own_heap, settle_allocator
from shoal.shard_worker.hosting.host import resident_bytes

SIZE = 3 << 20

def told(said):
    print(round((resident_bytes() - before) / SIZE, 1), said)

settle_allocator()
other = ThreadPoolExecutor(1)
other.submit(bytes, 100_000).result()
before = resident_bytes()
other.submit(lambda: len(b"x" * SIZE)).result()
told("kept")
other.submit(give_back_own_heap).result()
told("given back by its own thread")
held = [other.submit(lambda: b"x" * SIZE).result()]
with freeing_for_good():
    held.clear()
told("freed for good by another thread")
held = [other.submit(lambda: b"x" * SIZE).result()]
held.clear()
told("kept")
"""


def test_the_end_of_the_heap_of_another_thread_goes_back_when_asked_for_and_is_kept_otherwise() -> None:
    said = subprocess.run([sys.executable, "-c", HEAPS], capture_output=True, text=True, check=True, timeout=60)
    shares = {line.partition(" ")[2]: float(line.partition(" ")[0]) for line in said.stdout.splitlines()}
    assert shares["kept"] >= 0.8, said.stdout
    assert shares["given back by its own thread"] <= 0.2, said.stdout
    assert shares["freed for good by another thread"] <= 0.2, said.stdout
