"""Define the history of one small replica, and what it must hold after any number of steps, for tests that end it
anywhere.

Each step that writes is one call: it is acknowledged or it is not. The model after n steps is a plain dictionary. A
replica is of SPEC, or of NAMED, whose points have several vectors.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shoal.core.collection import CollectionSpec
from shoal.core.filter import Filter, In
from shoal.core.ids import ClusterId, Seq
from shoal.core.point_change import SetPayload, UpdatePacked, UpdateVectors
from shoal.core.points import PointId, id_order
from shoal.core.text_fields import text_fields_from_input
from shoal.core.text_query import Match, TextAsk
from shoal.shard_worker.logic.replication.record import Record, RecordKind
from shoal.shard_worker.storage.folders.replica_folder import ReplicaRef
from shoal.shard_worker.storage.folders.snapshot_export import pin_snapshot, read_piece
from shoal.shard_worker.storage.folders.snapshot_import import SnapshotDownload
from shoal.shard_worker.storage.folders.worker_folder import WorkerFolder
from shoal.shard_worker.storage.log.log import LogSettings, ReplicaLog
from shoal.shard_worker.storage.store.points_store import PointsStore
from tests.integration.replica_reading import count, delete_matching, nearest, scroll
from tests.support.worker.named_vectors import DIMS, NAMED, Vectors, nearest_by, row_of, rows_of
from tests.support.worker.replica_bench import DIM, REPLICA, SHARD, SPEC, Bench, opened
from tests.support.worker.replica_texts import PointsWithTexts, found_texts
from tests.support.worker.storage_parts import take_back_watermark

GROWING_ROWS = 24
LOG_FILE_BYTES = 2_000
CLASSES = 3
PIECE_BYTES = 20_000
CLUSTER, REF = ClusterId("cluster"), ReplicaRef(SHARD, REPLICA)

Content = tuple[tuple[float, ...], dict[str, Any] | None]
Model = Mapping[PointId, Content]
"""Vector, or packed row of named vectors, and payload of each point, by id."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Write:
    """Upsert `ids` in version `version`."""

    ids: tuple[PointId, ...]
    version: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Remove:
    """Delete by id."""

    ids: tuple[PointId, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoveClass:
    """Delete by the filter {"class": number}."""

    number: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """Set fields of the payloads of those of `ids` that exist, and are of the class `number` unless it is None."""

    ids: tuple[PointId, ...]
    number: int | None
    version: int

    @property
    def fields(self) -> dict[str, Any]:
        return {"mark": self.version, "note": f"green mark{self.version}"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """Give those of `ids` that exist the vectors of version `version`; of NAMED, the vector `text`."""

    ids: tuple[PointId, ...]
    version: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Optimize:
    """Seal and merge everything, write a checkpoint, trim the log and delete old files."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AlterTexts:
    """Give the open replica other text fields: a mapping of names to analyzers. Ends when all segments have them."""

    fields: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class CloseFiles:
    """Make everything durable and close the files of the open replica. The step after it opens them again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Restart:
    """Close, with a watermark as after a kill, and open again, in a new term."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CutTail:
    """While the replica is closed: append records that are never committed, over several files, and cut
    them off again.
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class TakeSnapshot:
    """While the replica is closed: replace it by a snapshot of itself, as a replica does that is far behind."""


Closed = Restart | CutTail | TakeSnapshot
"""Steps during which the replica is closed. The step after them opens it in a new term."""

Step = Write | Mark | Move | Remove | RemoveClass | Optimize | AlterTexts | CloseFiles | Closed

FIRST_TEXTS = (("of", "auto"),)


def history() -> tuple[Step, ...]:
    """Return the steps. They write new points and new versions of old ones, and change parts of points. Ids are
    integers and strings; some payloads are missing; rows are in growing, sealed and merged segments. Text fields are
    there from the beginning, added and changed.
    """
    steps: list[Step] = []
    for version in range(1, 13):
        steps.append(Write(ids=tuple(range(version * 4, version * 4 + 9)), version=version))
        steps.append(Write(ids=(f"text {version % 5}", version), version=version))
        match version % 6:
            case 0:
                steps += [Restart(), CutTail()]
            case 1:
                steps += [CloseFiles(), Mark(ids=tuple(range(version * 4 + 9)), number=version % CLASSES, version=version)]
            case 2:
                steps.append(Remove(ids=(version * 4, version * 4 + 1, "text 1", "never there")))
            case 3:
                fields = (("note", "auto"), ("of", "auto")) if version == 3 else (("note", "words"),)
                steps += [Optimize(), AlterTexts(fields=fields), TakeSnapshot()]
            case 4:
                steps.append(RemoveClass(number=version % CLASSES))
                steps.append(Move(ids=(*range(version * 4 - 4, version * 4 + 4), "text 2", "never there"), version=version + 100))
            case 5:
                steps.append(Mark(ids=("text 0", *range(version * 4 + 4)), number=None, version=version))
                steps.append(Remove(ids=tuple(range(version))))
    return (*steps, Optimize())


def content(point_id: PointId, version: int, base: CollectionSpec) -> Content:
    """Return the vector, or packed row, and the payload of a point in a version. Some points have no payload, and some
    lack named vectors, which differ between versions.
    """
    number = point_id if isinstance(point_id, int) else len(point_id)
    payload = (
        None
        if number % 4 == 0
        else {
            "class": number % CLASSES,
            "version": version,
            "of": str(point_id),
            "note": [f"version {version}", "red green"] if number % 3 else f"red version{version}",
        }
    )
    if not base.vectors:
        return (float(number), float(version), float(number % 7), 1.0), payload
    vectors = {"image": (number, version, number % 7), "text": moved_to(point_id, version), "sound_1-x": (number * version % 11,)}
    lacking = {"image": number % 5 == 0, "text": number % 3 == 0, "sound_1-x": version % 2 == 0}
    return tuple(row_of({name: vector for name, vector in vectors.items() if not lacking[name]})), payload


def moved_to(point_id: PointId, version: int) -> tuple[float, float]:
    """Return the vector `text` of a point in a version."""
    number = point_id if isinstance(point_id, int) else len(point_id)
    return float(number - 20), float(version)


def moved(row: tuple[float, ...], to: tuple[float, float]) -> tuple[float, ...]:
    """Return a packed row of NAMED with another vector `text`, the second one."""
    return (float(int(row[0]) | 2), *row[1:4], *to, *row[6:])


def vectors_in(row: Sequence[float]) -> Vectors:
    """Return the vectors of a packed row of NAMED."""
    found = {"image": row[1:4], "text": row[4:6], "sound_1-x": row[6:7]}
    return {name: vector for bit, (name, vector) in enumerate(found.items()) if int(row[0]) >> bit & 1}


def of_class(number: int) -> Filter:
    """Return the filter for the points of one class."""
    return In(("class",), (number,))


def after(steps: Sequence[Step], base: CollectionSpec) -> Model:
    """Return the points that exist after all `steps`."""
    points: dict[PointId, Content] = {}
    for step in steps:
        match step:
            case Write(ids=ids, version=version):
                points.update((each, content(each, version, base)) for each in ids)
            case Mark(ids=ids, number=number):
                marked = [each for each in ids if each in points and (number is None or (points[each][1] or {}).get("class") == number)]
                points |= {each: (points[each][0], {**(points[each][1] or {}), **step.fields}) for each in marked}
            case Move(ids=ids, version=version):
                there = {each: points[each] for each in ids if each in points}
                if base.vectors:
                    points |= {each: (moved(row, moved_to(each, version)), payload) for each, (row, payload) in there.items()}
                else:
                    points |= {each: (content(each, version, base)[0], payload) for each, (_, payload) in there.items()}
            case Remove(ids=ids):
                points = {each: kept for each, kept in points.items() if each not in ids}
            case RemoveClass(number=number):
                points = {each: kept for each, kept in points.items() if (kept[1] or {}).get("class") != number}
            case _:
                pass
    return points


def spec_after(steps: Sequence[Step], base: CollectionSpec) -> CollectionSpec:
    """Return the specification that the collection has after `steps`. base: before its text fields."""
    fields = [step.fields for step in steps if isinstance(step, AlterTexts)]
    return dataclasses.replace(base, text=text_fields_from_input(dict((FIRST_TEXTS, *fields)[-1])))


def replica_path(folder: Path) -> Path:
    """Return the path of the replica in a worker's data folder."""
    return folder / SHARD.collection / str(SHARD.number) / REPLICA


def bench(folder: Path, term: int, spec: CollectionSpec) -> AbstractAsyncContextManager[Bench]:
    """Open the replica with small segments and small log files."""
    return opened(folder, term=term, growing_rows=GROWING_ROWS, log_file_bytes=LOG_FILE_BYTES, spec=spec)


async def live(
    folder: Path, steps: Sequence[Step], base: CollectionSpec, *, begin: int = 0, first_term: int, acknowledge: Callable[[int], None]
) -> None:
    """Do the steps from number `begin` on, and call `acknowledge` with the number of each one once it is
    acknowledged."""
    term, at = first_term, begin
    while at < len(steps):
        async with bench(folder, term, spec_after(steps[:at], base)) as opened_bench:
            while at < len(steps) and not isinstance(steps[at], Closed):
                await _do(opened_bench, steps[at], base)
                acknowledge(at)
                at += 1
        while at < len(steps) and isinstance(steps[at], Closed):
            _do_closed(folder, steps[at])
            acknowledge(at)
            at += 1
        term += 1


async def _do(replica: Bench, step: Step, base: CollectionSpec) -> None:
    match step:
        case Write(ids=ids, version=version):
            made = [content(each, version, base) for each in ids]
            payloads = tuple(None if payload is None else json.dumps(payload).encode() for _, payload in made)
            await replica.upsert(ids, [vector for vector, _ in made], payloads)
        case Mark(ids=ids, number=number):
            await replica.update(ids, SetPayload(json.dumps(step.fields).encode()), None if number is None else of_class(number))
        case Move(ids=ids, version=version):
            if base.vectors:
                change: UpdatePacked | UpdateVectors = UpdatePacked(rows_of([{"text": moved_to(each, version)} for each in ids]), DIMS)
            else:
                change = UpdateVectors(np.array([content(each, version, base)[0] for each in ids], dtype=np.float32))
            await replica.update(ids, change)
        case Remove(ids=ids):
            await replica.delete(ids)
        case RemoveClass(number=number):
            await delete_matching(replica, of_class(number))
        case Optimize():
            await replica.replica.optimize(60.0)
        case AlterTexts(fields=fields):
            replica.replica.tell_spec(dataclasses.replace(base, text=text_fields_from_input(dict(fields))))
            await built(replica)
        case CloseFiles():
            await replica.rest()
        case _:
            raise AssertionError(f"{step} is for a closed replica")


def _do_closed(folder: Path, step: Step) -> None:
    with closing(WorkerFolder.open(folder, CLUSTER)) as worker:
        match step:
            case Restart():
                take_back_watermark(worker.open_replica(REF).path, cluster_id=CLUSTER, replica_id=REPLICA)
            case CutTail():
                _cut_tail(worker)
            case TakeSnapshot():
                _take_snapshot(worker)
            case _:
                raise AssertionError(f"{step} is for an open replica")


def _cut_tail(worker: WorkerFolder) -> None:
    identity = {"cluster_id": CLUSTER, "replica_id": REPLICA}
    replica = worker.open_replica(REF)
    with closing(PointsStore.open(replica.store_path, **identity)) as store:
        applied_seq = store.applied_seq
    with closing(ReplicaLog.open(replica.path, **identity, applied_seq=applied_seq, settings=LogSettings(file_bytes=400))) as log:
        term, seq = log.last
        for number in range(1, 13):
            log.append([Record(term=term, seq=Seq(seq + number), kind=RecordKind.NOOP, time_ms=1, request_id=None, body=b"")])
        log.truncate_after(seq)


def _take_snapshot(worker: WorkerFolder) -> None:
    replica = worker.open_replica(REF)
    with closing(PointsStore.open(replica.store_path, cluster_id=CLUSTER, replica_id=REPLICA)) as store:
        pinned = pin_snapshot(replica, store, lambda seq: replica.known_term, replica.path.parent)
    download = SnapshotDownload.open(replica, pinned.manifest, source=REPLICA)
    while (wanted := download.missing()) is not None:
        download.write(wanted.name, wanted.offset, read_piece(pinned, wanted.name, wanted.offset, PIECE_BYTES))
    download.finish()
    pinned.release()


async def built(replica: Bench) -> None:
    """Wait until no build is due, and all text fields are indexed."""
    async with asyncio.timeout(60.0):
        while replica.replica.stats_now().builds_pending:  # noqa: ASYNC110 - nothing tells when the last build has ended
            await asyncio.sleep(0.001)


async def check(replica: Bench, expected: Sequence[Model], spec: CollectionSpec) -> int:
    """Return the number of the model that the replica holds, by every way of reading. Fails if it holds none of them,
    or if two ways of reading differ. spec: that it was opened with.
    """
    found = {each: (vector, payload) for each, vector, payload in await scroll(replica)}
    number = next((at for at, model in enumerate(expected) if model == found), -1)
    assert number >= 0, difference(found, expected)
    model = expected[number]
    assert await count(replica) == len(model)
    for wanted in range(CLASSES):
        members = {each for each, (_, payload) in model.items() if (payload or {}).get("class") == wanted}
        assert await count(replica, of_class(wanted)) == len(members)
        assert [each for each, _, _ in await scroll(replica, of_class(wanted))] == sorted(members, key=id_order)
        await _check_nearest(replica, model, members, of_class(wanted), spec)
    await built(replica)
    texts = PointsWithTexts(spec.text, {each: payload for each, (_, payload) in model.items()})
    for ask in (TextAsk(text="red 12 text versions"), TextAsk(text="green 3", match=Match.ALL), TextAsk(prefix="vers", text="5")):
        members = {each for each, (_, payload) in model.items() if (payload or {}).get("class") == 1}
        assert found_texts(replica.engine, ask, 10) == texts.search(ask, 10)
        assert found_texts(replica.engine, ask, 10, of_class(1)) == texts.search(ask, 10, members)
    await _check_nearest(replica, model, set(model), None, spec)
    return number


async def _check_nearest(replica: Bench, model: Model, among: set[PointId], filter: Filter | None, spec: CollectionSpec) -> None:
    """Check what searches find among the points that match the filter: of named vectors, searches by each."""
    for query in ([0.0, 0.0, 0.0, 0.0], [20.0, 5.0, 3.0, 1.0]):
        if not spec.vectors:
            assert await nearest(replica, query, 10, filter) == best(model, query, 10, among)
        points = {each: vectors_in(model[each][0]) for each in among} if spec.vectors else {}
        for vector in spec.vectors:
            asked = query[: vector.dim]
            assert await nearest(replica, asked, 10, filter, vector.name) == nearest_by(vector.name, asked, points, 10), vector.name


def best(model: Model, query: Sequence[float], k: int, among: set[PointId]) -> list[PointId]:
    """Return the k nearest ids by brute force. Ties are ordered by id."""
    distance = {each: float(np.square(np.subtract(model[each][0], query)).sum()) for each in among}
    return sorted(among, key=lambda each: (distance[each], id_order(each)))[:k]


def difference(found: Model, expected: Sequence[Model]) -> str:
    """Say in words how a state differs from each model."""
    said = []
    for model in expected:
        lost, strange = sorted(set(model) - set(found), key=id_order), sorted(set(found) - set(model), key=id_order)
        changed = [each for each in model if each in found and model[each] != found[each]]
        said.append(f"{len(lost)} lost {lost[:5]}, {len(strange)} not written {strange[:5]}, {len(changed)} changed {changed[:5]}")
    return f"{len(found)} points; against each model: " + "; ".join(said)


assert DIM == 4, "content() makes vectors of dimension 4"
assert DIMS == (3, 2, 1), "content() makes named vectors of these dimensions"
BASES: Mapping[str, CollectionSpec] = {"one vector": SPEC, "named vectors": NAMED}
