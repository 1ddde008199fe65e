"""Keeps the recall tables of one replica's segments true: gathers real queries, measures in the background, remembers on disk.

Measurements run in the worker's build thread, at low priority; those in the background make way for builds, searches and for `tune`.
Refuses to decide when one is due (shard_worker.logic.tuning_plan, tuning_lull) and what it promises (shard_worker.logic.recall_bounds).
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from shard_worker.index.calibrate import calibrate, shape_of
from shard_worker.index.recall_probe import Probed, ProbeQueries, Reading, probe, stand_ins
from shard_worker.index.reservoir import QueryReservoir
from shard_worker.index.threads import alone
from shard_worker.index.truth import Sample
from shard_worker.index.tuning import Tuning
from shard_worker.index.view import Part, View
from shard_worker.logic.segment_plan import SegmentState
from shard_worker.logic.tuning_lull import may_begin, rest_s
from shard_worker.logic.tuning_plan import ENOUGH_QUERIES, Measurable, Standing, due
from shard_worker.pools import Pools
from shard_worker.tuning_files import Learnt, TuningFiles
from shoal.core.collection import Metric
from shoal.core.errors import DeadlineExceeded, ErrorDetails, InvalidArgument, ShoalError, Unavailable
from shoal.core.ids import ShardId
from shoal.core.points import Matrix
from shoal.core.shard_calls import SegmentCurve, ShardMeasureRecall, ShardRecall, ShardTune
from shoal.runtime.clock import boot_s
from shoal.runtime.logs import event

log = logging.getLogger("shoal.worker.tuning")

SAMPLE = 256
"""Queries of one measurement. More would make the promise tighter by less than a step of the grid."""

MOST_PROBED = 10_000
LOOK_S = 5.0
"""Pause between two looks at what is due, when nobody kicks."""

PAUSE_S = 0.2
"""Least pause between two looks."""

RETRY_S = 60.0
"""Rest of a segment whose measurement failed."""

PATIENCE = 3
"""Times that a measurement makes way for a build before it insists."""

_PROBED_AT_ONCE = 4


class Tuner:
    """Background tuning of one replica. Made on its event loop; `kick` whenever there may be new segments, `offer` with every search,
    `close` before its engine."""

    def __init__(self, *, shard: ShardId, reading: Reading, pools: Pools, metric: Metric, dim: int, folder: Path, seed: int = 0) -> None:
        """folder: for what is remembered, made when there is something."""
        self._shard, self._reading, self._pools, self._metric = shard, reading, pools, metric
        self._files = TuningFiles(folder)
        self._dim, self._seed = dim, seed
        self._reservoir = QueryReservoir(dim=dim, seed=seed)
        self._random = np.random.default_rng(seed)
        self._learnt: dict[str, Learnt] = {}
        self._standings: dict[str, Standing] = {}
        self._resting: dict[str, float] = {}
        self._saved = 0
        self._gave_way = 0
        self._searched_s, self._due_s = -math.inf, math.inf
        self._asked = Counter[str]()
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        self._running = asyncio.create_task(self._run())

    def kick(self) -> None:
        """Look whether there is something to measure."""
        self._wake.set()

    def offer(self, queries: Matrix) -> None:
        """Queries (n, dim) float32 were asked, as given."""
        self._searched_s = boot_s()
        self._reservoir.offer(queries)

    async def close(self) -> None:
        """Stop what runs, remember what was learnt, and end."""
        self._stop.set()
        self._wake.set()
        await self._running
        if self._reservoir.taken != self._saved:
            await self._save()

    async def tune(self, call: ShardTune, timeout_s: float) -> tuple[SegmentCurve, ...]:
        """Measure every sealed segment that has an index, now. Raises DeadlineExceeded, Unavailable when the replica closes."""
        if call.k < 1:
            raise InvalidArgument(f"k is {call.k}, it must be at least 1", ErrorDetails(field="k"))
        withdrawn = threading.Event()
        curves = []
        parts = _measurable(self._reading.view())
        names = Counter(part.name for part in parts)
        self._asked = self._asked + names
        try:
            async with asyncio.timeout(timeout_s):
                for part in parts:
                    tuning = await self._measure(part, withdrawn.is_set)
                    if tuning is None:
                        raise self._closing()
                    curves.append(self._curve(part, tuning, call.k))
                await self._save()
        except TimeoutError:
            raise self._late(f"was not measured within {timeout_s:.0f} s") from None
        finally:
            withdrawn.set()
            self._asked = self._asked - names
        return tuple(curves)

    async def measure_recall(self, call: ShardMeasureRecall, timeout_s: float) -> ShardRecall:
        """Answer a sample of real queries, or of points that stand in for them, as any search and exactly. Raises as tune."""
        _check_probe(call)
        withdrawn = threading.Event()
        probed: list[Probed] = []
        try:
            async with asyncio.timeout(timeout_s):
                queries = await self._probe_queries(call.sample, withdrawn)
                for start in range(0, 0 if queries is None else len(queries), _PROBED_AT_ONCE):
                    assert queries is not None
                    probed += await self._probe(queries.slice(start, start + _PROBED_AT_ONCE), call, withdrawn)
        except TimeoutError:
            raise self._late(f"answered {len(probed)} of {call.sample} queries within {timeout_s:.0f} s") from None
        finally:
            withdrawn.set()
        if queries is None and self._stop.is_set():
            raise self._closing()
        return _summary(self._shard.number, probed, real=queries is not None and queries.own is None)

    async def _run(self) -> None:
        await self._load()
        while not self._stop.is_set():
            await self._pause()
            while not self._stop.is_set():
                part = self._next()
                if part is None or not await self._measure_in_background(part):
                    break

    async def _pause(self) -> None:
        """Until it is kicked or time to look, but not at once: kicks come with every write."""
        try:
            async with asyncio.timeout(PAUSE_S):
                await self._stop.wait()
        except TimeoutError:
            pass
        try:
            async with asyncio.timeout(LOOK_S):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    def _next(self) -> Part | None:
        """The segment to measure next, None while there is none, or builds or searches are to go first."""
        if self._pools.builds_running and self._gave_way < PATIENCE:
            return None
        parts = {part.name: part for part in _measurable(self._reading.view())}
        self._forget_all_but(parts)
        for name, part in parts.items():
            self._recall_what_was_learnt(name, part)
        now = boot_s()
        wanted = due(
            [Measurable(name=name, rows=len(part), standing=self._standings.get(name)) for name, part in parts.items()],
            held=len(self._reservoir),
            capacity=self._reservoir.capacity,
            taken=self._reservoir.taken,
            now_s=now,
        )
        chosen = next((parts[name] for name in wanted if self._resting.get(name, 0.0) <= now and name not in self._asked), None)
        self._due_s = math.inf if chosen is None else min(self._due_s, now)
        return chosen if may_begin(now_s=now, searched_s=self._searched_s, due_s=self._due_s) else None

    def _recall_what_was_learnt(self, name: str, part: Part) -> None:
        """Use what a file says of a segment that was not measured by this process."""
        learnt = self._learnt.get(name)
        if learnt is None or name in self._standings or part.native is None:
            return
        if _fits(learnt.tuning, part):
            part.tuning.now = learnt.tuning
            self._standings[name] = Standing(
                real=learnt.tuning.real, held=learnt.held, taken=learnt.taken, at_s=boot_s(), took_s=learnt.took_s
            )

    def _forget_all_but(self, names: dict[str, Part]) -> None:
        for known in (self._learnt, self._standings, self._resting):
            for name in [name for name in known if name not in names]:
                del known[name]

    async def _measure_in_background(self, part: Part) -> bool:
        """Returns whether it is worth looking for another at once."""
        insists, standing = self._gave_way >= PATIENCE, self._standings.get(part.name)

        def withdrawn() -> bool:
            return (not insists and self._pools.builds_running > 0) or self._is_settled(part, standing)

        try:
            tuning = await self._measure(part, withdrawn, aside=True)
        except ShoalError as error:
            self._rest(part, error.message)
            return True
        except Exception as error:
            log.exception(event("measuring_failed", shard=self._shard, segment=part.name))
            self._rest(part, f"{type(error).__name__}: {error}")
            return True
        if tuning is None:
            settled = self._is_settled(part, standing)
            self._gave_way += not settled
            return settled
        self._gave_way, self._due_s = 0, math.inf
        await self._save()
        return True

    def _is_settled(self, part: Part, standing: Standing | None) -> bool:
        """Whether a segment of which this was known need not be measured any more: `tune` does it or has done it, or it is gone."""
        if part.name in self._asked or self._standings.get(part.name) is not standing:
            return True
        return all(each.name != part.name for each in _measurable(self._reading.view()))

    def _rest(self, part: Part, reason: str) -> None:
        log.warning(event("measuring_failed", shard=self._shard, segment=part.name, reason=reason, retry_s=RETRY_S))
        self._resting[part.name] = boot_s() + RETRY_S

    async def _measure(self, part: Part, withdrawn: Callable[[], bool], *, aside: bool = False) -> Tuning | None:
        """Measure a segment and let searches use it; None when it was stopped. aside: on one core, resting while there are searches."""
        held, taken, seq = len(self._reservoir), self._reservoir.taken, self._reading.view().seq
        asked = self._reservoir.sample(SAMPLE, self._random) if held >= min(ENOUGH_QUERIES, self._reservoir.capacity) else None
        seed = int(self._random.integers(2**32))
        took_s, rests = 0.0, _Rests(self._pools.stopping)

        def stopped() -> bool:
            if aside:
                rests.take(self._searched_s)
            return self._stop.is_set() or self._pools.stopping.is_set() or withdrawn()

        def work() -> Tuning | None:
            nonlocal took_s
            if stopped():
                return None
            began = boot_s()
            random = np.random.default_rng(seed)
            sample = Sample.own_rows(part, SAMPLE, random, seq=seq) if asked is None else Sample.asked(asked, self._metric)
            with alone() if aside else nullcontext():
                tuning = calibrate(part, sample, metric=self._metric, should_stop=stopped, clock=boot_s) if len(sample) else part.tuning.now
            took_s = boot_s() - began - rests.rested_s
            return tuning

        tuning = await self._pools.build(work, self._stop)
        if tuning is None:
            return None
        part.tuning.now = tuning
        self._standings[part.name] = Standing(real=tuning.real, held=held, taken=taken, at_s=boot_s(), took_s=took_s)
        if tuning.measured:
            self._learnt[part.name] = Learnt(tuning=tuning, held=held, taken=taken, took_s=took_s)
        fields = {"queries": tuning.queries, "real": tuning.real, "seconds": f"{took_s:.2f}"}
        log.info(event("recall_measured", shard=self._shard, segment=part.name, **fields))
        return tuning

    async def _probe_queries(self, most: int, withdrawn: threading.Event) -> ProbeQueries | None:
        if len(self._reservoir) >= min(ENOUGH_QUERIES, self._reservoir.capacity):
            return ProbeQueries(queries=self._reservoir.sample(most, self._random), own=None)
        random = np.random.default_rng(int(self._random.integers(2**32)))
        return await self._pools.build(
            lambda: None if withdrawn.is_set() else stand_ins(self._reading.view(), most, random),
            self._stop,
        )

    async def _probe(self, queries: ProbeQueries, call: ShardMeasureRecall, withdrawn: threading.Event) -> list[Probed]:
        """A slice of a measurement: builds and other slices have their turn between two."""
        found = await self._pools.build(
            lambda: [] if withdrawn.is_set() else probe(self._reading, self._shard, queries, call, self._metric, boot_s), self._stop
        )
        if found is None or self._stop.is_set():
            raise self._closing()
        return found

    async def _load(self) -> None:
        self._learnt = await asyncio.to_thread(self._files.load_tables)
        restored = QueryReservoir(dim=self._dim, seed=self._seed)
        await asyncio.to_thread(self._files.load_queries, restored)
        self._saved = restored.taken
        for query in self._reservoir.sample(len(self._reservoir), self._random):
            restored.offer(query[None, :])
        self._reservoir = restored

    async def _save(self) -> None:
        queries, tables, taken = self._reservoir.to_bytes(), dict(self._learnt), self._reservoir.taken
        await asyncio.to_thread(self._files.save, queries, tables)
        self._saved = taken

    def _curve(self, part: Part, tuning: Tuning, k: int) -> SegmentCurve:
        return SegmentCurve(
            shard=self._shard.number,
            segment=part.name,
            index=part.index,
            rows=len(part),
            breadth_name=tuning.shape.breadth_name,
            queries=tuning.queries,
            real_queries=tuning.real,
            points=tuning.curve(k),
            exact_us=tuning.exact_us(len(part)),
        )

    def _closing(self) -> Unavailable:
        return Unavailable(f"shard {self._shard} is closing", ErrorDetails(shard=str(self._shard)))

    def _late(self, what: str) -> DeadlineExceeded:
        return DeadlineExceeded(f"shard {self._shard} {what}; give it longer", ErrorDetails(shard=str(self._shard)))


class _Rests:
    """Rests between slices of work in one thread."""

    def __init__(self, stopping: threading.Event) -> None:
        """stopping: ends a rest."""
        self._stopping = stopping
        self._began_s: float | None = None
        self.rested_s = 0.0

    def take(self, searched_s: float) -> None:
        """Rest after a slice, which began when the last rest ended. searched_s: the last search."""
        now = boot_s()
        if self._began_s is not None:
            self._stopping.wait(rest_s(now_s=now, searched_s=searched_s, slice_s=now - self._began_s))
        self._began_s = boot_s()
        self.rested_s += self._began_s - now


def _measurable(view: View) -> list[Part]:
    return [part for part in view.parts if part.state is SegmentState.SEALED and part.native is not None and part.name]


def _fits(tuning: Tuning, part: Part) -> bool:
    assert part.native is not None
    shape = shape_of(part, part.native)
    known = tuning.shape
    return (known.breadth_name, known.max_breadth, known.quantised, known.rows, known.dim) == (
        shape.breadth_name,
        shape.max_breadth,
        shape.quantised,
        shape.rows,
        shape.dim,
    )


def _check_probe(call: ShardMeasureRecall) -> None:
    if call.k < 1:
        raise InvalidArgument(f"k is {call.k}, it must be at least 1", ErrorDetails(field="k"))
    if not 1 <= call.sample <= MOST_PROBED:
        raise InvalidArgument(f"sample is {call.sample}, it must be 1-{MOST_PROBED}", ErrorDetails(field="sample"))
    if not 0 < call.recall <= 1:
        raise InvalidArgument(f"recall is {call.recall}, it must be above 0 and at most 1", ErrorDetails(field="recall"))


def _summary(shard: int, probed: list[Probed], *, real: bool) -> ShardRecall:
    """Without any query there is nothing that was not found."""
    count = max(1, len(probed))
    return ShardRecall(
        shard=shard,
        queries=len(probed),
        real_queries=real,
        recall=sum(each.recall for each in probed) / count if probed else 1.0,
        lowest=min((each.recall for each in probed), default=1.0),
        search_us=sum(each.search_us for each in probed) / count,
        exact_us=sum(each.exact_us for each in probed) / count,
    )
