"""The part of a build that any process can do: an index over vectors, which needs nothing of the worker.

A NativeTask says what to build. Its Material is the data; the carrier decides how to transport it. The result comes
back packed, with its hash, and is compared with the task before it is used. Owns nothing on disk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from shoal.core.errors import DataLoss, Internal
from shoal.core.index_spec import parse_index
from shoal.core.metric import Metric
from shoal.core.points import Matrix
from shoal.shard_worker.index.native.filling import block_step, filled
from shoal.shard_worker.index.native.index import NativeIndex, Packed
from shoal.shard_worker.index.native.training import trained_index

_BLOCK_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class NativeTask:
    """Description of an index to build.

    index: spelling of the result's IndexSpec, all numbers filled in; rows: of the result, including rows of the base.
    """

    index: str
    dim: int
    metric: Metric
    ef_construction: int
    rows: int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Material:
    """The data that a task needs. Each function is called when its data is needed, `blocks` once or twice.

    base: the packed index to extend, or None; sample: (n, dim) float32, prepared, to train on, or None when the index
    needs no training or is extended; blocks: the prepared vectors to insert, (m, dim) float32 each, at most
    _BLOCK_BYTES.
    """

    base: Callable[[], Packed | None]
    sample: Callable[[], Matrix | None]
    blocks: Callable[[], Iterable[Matrix]]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PackedIndex:
    """The result of a task. sha256: hash of `packed`, in hexadecimal."""

    packed: Packed
    sha256: str


def run_native_task(task: NativeTask, material: Material, should_stop: Callable[[], bool]) -> PackedIndex | None:
    """Build the index in the calling thread, with its number of OpenMP threads. Return None as soon as should_stop().

    The result depends only on the arguments. Raises Internal when FAISS refuses, DataLoss when the base does not fit
    the task.
    """
    start = _start(task, material, should_stop)
    if start is None:
        return None

    def blocks(step: int) -> Iterator[Matrix]:
        for block in material.blocks():
            for at in range(0, len(block), step):
                yield block[at : at + step]

    native = filled(start, blocks, dim=task.dim, copy=False, should_stop=should_stop)
    if native is None:
        return None
    native.settle()
    packed = native.packed()
    return PackedIndex(packed=packed, sha256=_sha256(packed))


def unpacked(task: NativeTask, built: PackedIndex) -> NativeIndex:
    """Unpack the index that was built for the task.

    Raises DataLoss when it was damaged in transport, Internal when it is not the index of the task.
    """
    found = _sha256(built.packed)
    if found != built.sha256:
        raise DataLoss(f"an index of {built.packed.nbytes} bytes has the hash {found} where {built.sha256} was announced")
    native = NativeIndex.unpack(built.packed, task.dim, task.metric)
    if (native.label, len(native)) != (task.index, task.rows):
        raise Internal(f"{native.label} with {len(native)} rows came back where {task.index} with {task.rows} was asked for")
    return native


def carried_rows(dim: int) -> int:
    """Return the rows of a block of Material.

    It is a multiple of the insertion's block, so the index is the same wherever it is built.
    """
    step = block_step(dim)
    return step * max(1, _BLOCK_BYTES // (4 * dim * step))


def _start(task: NativeTask, material: Material, should_stop: Callable[[], bool]) -> NativeIndex | None:
    """Return the index to extend, or an empty index to fill."""
    spec, base = parse_index(task.index, task.dim), material.base()
    if base is not None:
        native = NativeIndex.unpack(base, task.dim, task.metric)
        if native.spec != spec:
            raise DataLoss(f"{native.label} came where the base of {task.index} was announced")
        native.resume()
        return native
    sample = material.sample()
    if sample is None:
        return NativeIndex.empty(spec, task.dim, task.metric, ef_construction=task.ef_construction)
    return trained_index(spec, sample, task.metric, should_stop=should_stop, ef_construction=task.ef_construction)


def _sha256(packed: Packed) -> str:
    return hashlib.sha256(packed.data).hexdigest()
