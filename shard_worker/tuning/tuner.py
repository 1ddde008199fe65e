"""Keeps the recall tables of one replica's segments true: gathers real queries, measures in the background, remembers
on disk.

Measurements run at low priority: those of segments that are about to be swapped in and those that were asked for in the
worker's build thread; those in the background make way for builds, searches and for `tune`, but not where searches go
to some length until a segment is measured on the queries that are asked: these run beside builds. And now and then the
latest queries are checked against the exact answer. Refuses to decide when a measurement is due
(shoal.shard_worker.logic.tuning.tuning_plan, tuning_lull), what it promises
(shoal.shard_worker.logic.tuning.recall_bounds) and when queries are unlike those measured
(shoal.shard_worker.logic.tuning.query_drift).
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np

from shoal.core.collection import CollectionSpec, Metric
from shoal.core.errors import DeadlineExceeded, ErrorDetails, InvalidArgument, ShoalError, Unavailable
from shoal.core.ids import ShardId
from shoal.core.points import Matrix
from shoal.core.shard_calls import SegmentCurve, ShardMeasureRecall, ShardRecall, ShardTune
from shoal.runtime.clock import boot_s
from shoal.runtime.logs import event
from shoal.shard_worker.index.native.threads import alone
from shoal.shard_worker.index.tuning import DEAR_US, Tuning
from shoal.shard_worker.index.view import IndexView, SegmentView
from shoal.shard_worker.logic.segments.segment_plan import SegmentState
from shoal.shard_worker.logic.tuning.query_drift import misses
from shoal.shard_worker.logic.tuning.tuning_lull import may_begin, rest_s
from shoal.shard_worker.logic.tuning.tuning_plan import Due, Measurable, Standing, due
from shoal.shard_worker.resources.pools import Pools
from shoal.shard_worker.tuning.calibrate import calibrate, shape_of
from shoal.shard_worker.tuning.query_kinds import LATEST, QueryKinds
from shoal.shard_worker.tuning.recall_probe import Probed, ProbedReads, ProbeQueries, probe, stand_ins
from shoal.shard_worker.tuning.truth import QuerySample
from shoal.shard_worker.tuning.tuning_files import Learnt, TuningFiles

log = logging.getLogger("shoal.worker.tuning")

SAMPLE = 256
"""Queries of one measurement. More would make the promise tighter by less than a step of the grid."""

MOST_PROBED = 10_000
BRIEF_SAMPLE = 128
"""Of each kind of query, before a segment is swapped in and where it is urgent: measured again, on all, when there is
time.
"""

STAND_INS = 64
"""Of each kind of what stands in for real queries where exact search is dear.

Fewer promise nothing, with the margin they need.
"""

BRIEF_S, BRIEF_SHARE = 1.0, 0.4
"""A measurement before a swap begins no further breadth after so long, or so large a share of the time that the build
took.
"""

CHECK_REST_RATIO = 50.0
"""After a check of the latest queries nothing is checked for so many times as long as it took."""

CHECK_K = 10

LOOK_S = 1.0
"""Pause between two looks at what is due, when nobody kicks."""

PAUSE_S = 0.2
"""Least pause between two looks."""

RETRY_S = 60.0
"""Rest of a segment whose measurement failed."""

PATIENCE = 3
"""Times that a measurement makes way for a build before it insists."""

_PROBED_AT_ONCE = 4


class Tuner:
    """Background tuning of one replica. Made on its event loop; `kick` whenever there may be new segments, `offer` with
    every search, `close` before its engine."""

    def __init__(self, *, shard: ShardId, reading: ProbedReads, pools: Pools, spec: CollectionSpec, folder: Path, seed: int = 0) -> None:
        """folder: for what is remembered, made when there is something."""
        self._shard, self._reading, self._pools = shard, reading, pools
        self._metric, self._dim, self._recall = spec.metric, spec.dim, spec.recall
        self._files = TuningFiles(folder)
        self._seed = seed
        self._queries = QueryKinds(dim=spec.dim, seed=seed)
        self._random = np.random.default_rng(seed)
        self._learnt: dict[str, Learnt] = {}
        self._standings: dict[str, Standing] = {}
        self._resting: dict[str, float] = {}
        self._coming: set[str] = set()
        self._unsaved = False
        self._doubting = False
        self._checked, self._check_from_s = 0, -math.inf
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
        before = self._queries.asked_enough
        self._queries.offer(queries)
        if self._queries.asked_enough != before:
            self.kick()

    def aim(self, recall: float) -> None:
        """Another target for searches that name none."""
        self._recall = recall

    async def close(self) -> None:
        """Stop what runs, remember what was learnt, and end."""
        self._stop.set()
        self._wake.set()
        await self._running
        if self._queries.heard != self._saved:
            await self._save()

    async def measure_new(self, part: SegmentView, name: str, build_s: float) -> None:
        """Measure a segment that is about to be swapped in as `name`, after a build of build_s: then its first search
        takes the index, else it is searched exactly until it was measured. Without enough real queries only where exact
        searches are dear."""
        if part.native is None or not (self._queries.asked.enough or part.tuning.now.exact_us(len(part)) > DEAR_US):
            return
        self._coming.add(name)
        try:
            await self._measure(part, name, bool, brief_s=max(BRIEF_S, BRIEF_SHARE * build_s))
        except Exception as error:
            self._rest(name, f"{type(error).__name__}: {error}")

    def swapped(self, name: str) -> None:
        """The segment `name` is in the view now, or will never be."""
        self._coming.discard(name)
        self._unsaved |= name in self._learnt
        self.kick()

    async def tune(self, call: ShardTune, timeout_s: float) -> tuple[SegmentCurve, ...]:
        """Measure every sealed segment that has an index, now.

        Raises DeadlineExceeded, Unavailable when the replica closes.
        """
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
                    tuning = await self._measure(part, part.name, withdrawn.is_set)
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
        """Answer a sample of real queries, or of points that stand in for them, as any search and exactly.

        Raises as tune.
        """
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
            if self._unsaved:
                await self._save()
            while not self._stop.is_set():
                found = self._next()
                if found is None or not await self._measure_in_background(*found):
                    break
            await self._check_latest()

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

    def _next(self) -> tuple[SegmentView, bool] | None:
        """The segment to measure next and whether that is urgent; None while there is none, or builds or searches are
        to go first.
        """
        parts = {part.name: part for part in _measurable(self._reading.view())}
        self._forget_all_but(parts.keys() | self._coming)
        for name, part in parts.items():
            self._recall_what_was_learnt(name, part)
        self._begin_kind_if_doubted(parts)
        now = boot_s()
        wanted = self._due(parts, now)
        ready = [each for each in wanted if self._resting.get(each.name, 0.0) <= now and each.name not in self._asked]
        if not ready:
            self._due_s = math.inf
            return None
        chosen, part = ready[0], parts[ready[0].name]
        if chosen.urgent:
            return part, True
        self._due_s = min(self._due_s, now)
        if self._pools.builds_running and self._gave_way < PATIENCE:
            return None
        return (part, False) if may_begin(now_s=now, searched_s=self._searched_s, due_s=self._due_s) else None

    def _due(self, parts: Mapping[str, SegmentView], now_s: float) -> tuple[Due, ...]:
        segments = [
            Measurable(name=name, rows=len(part), standing=self._standings.get(name), doubted=part.tuning.now.likeness.doubted)
            for name, part in parts.items()
        ]
        return due(segments, self._queries.asked, now_s=now_s)

    def _urgent_waits(self) -> bool:
        """Whether something urgent is due, which is not to wait for the end of something else. In any thread."""
        parts = {part.name: part for part in _measurable(self._reading.view())}
        return any(each.urgent and each.name not in self._resting for each in self._due(parts, boot_s()))

    def _begin_kind_if_doubted(self, parts: Mapping[str, SegmentView], *, with_latest: bool = False) -> None:
        """Gather queries by themselves from when a segment was found to be measured on others."""
        doubting = any(part.tuning.now.likeness.doubted for part in parts.values())
        if doubting and not self._doubting:
            log.info(event("queries_changed", shard=self._shard))
            self._queries.begin_kind(with_latest=with_latest)
        self._doubting = doubting

    def _recall_what_was_learnt(self, name: str, part: SegmentView) -> None:
        """Use what a file says of a segment that was not measured by this process."""
        learnt = self._learnt.get(name)
        if learnt is None or name in self._standings or part.native is None:
            return
        if _fits(learnt.tuning, part):
            part.tuning.now = learnt.tuning
            self._standings[name] = learnt.standing(at_s=boot_s())

    def _forget_all_but(self, names: Set[str]) -> None:
        for known in (self._learnt, self._standings, self._resting):
            for name in [name for name in known if name not in names]:
                del known[name]

    async def _measure_in_background(self, part: SegmentView, urgent: bool) -> bool:
        """Returns whether it is worth looking for another at once."""
        insists, standing = urgent or self._gave_way >= PATIENCE, self._standings.get(part.name)

        def withdrawn() -> bool:
            if not insists and self._pools.builds_running:
                return True
            return self._is_settled(part, standing) or (not urgent and self._urgent_waits())

        try:
            tuning = await self._measure(part, part.name, withdrawn, aside=True, urgent=urgent)
        except ShoalError as error:
            self._rest(part.name, error.message)
            return True
        except Exception as error:
            log.exception(event("measuring_failed", shard=self._shard, segment=part.name))
            self._rest(part.name, f"{type(error).__name__}: {error}")
            return True
        if tuning is None:
            settled = self._is_settled(part, standing)
            self._gave_way += not settled
            return settled
        self._gave_way, self._due_s = 0, math.inf
        await self._save()
        return True

    def _is_settled(self, part: SegmentView, standing: Standing | None) -> bool:
        """Whether a segment of which this was known need not be measured any more: `tune` does it or has done it, or it
        is gone.
        """
        if part.name in self._asked or self._standings.get(part.name) is not standing:
            return True
        return all(each.name != part.name for each in _measurable(self._reading.view()))

    def _rest(self, name: str, reason: str) -> None:
        log.warning(event("measuring_failed", shard=self._shard, segment=name, reason=reason, retry_s=RETRY_S))
        self._resting[name] = boot_s() + RETRY_S

    async def _measure(
        self,
        part: SegmentView,
        name: str,
        withdrawn: Callable[[], bool],
        *,
        aside: bool = False,
        urgent: bool = False,
        brief_s: float | None = None,
    ) -> Tuning | None:
        """Measure a segment and let searches use it; None when it was stopped. aside: on one core; and, unless it is
        urgent, resting while there are searches. urgent, brief_s: on few queries; and for about brief_s at most."""
        asked, seq = self._queries.asked, self._reading.view().seq
        seed = int(self._random.integers(2**32))
        brief = urgent or brief_s is not None
        size = BRIEF_SAMPLE if brief else SAMPLE
        real = self._queries.sample(size, self._random) if asked.enough else []
        took_s, rests = 0.0, _Rests(self._pools.stopping)

        def stopped() -> bool:
            if aside and not urgent:
                rests.take(self._searched_s)
            return self._stop.is_set() or self._pools.stopping.is_set() or withdrawn()

        def work() -> Tuning | None:
            nonlocal took_s
            if stopped():
                return None
            began = boot_s()
            sample = _sample(part, real, size, np.random.default_rng(seed), seq=seq, metric=self._metric)
            if not len(sample):
                return part.tuning.now
            most_s = math.inf if brief_s is None else brief_s
            with alone() if aside else nullcontext():
                tuning = calibrate(part, sample, metric=self._metric, should_stop=stopped, clock=boot_s, most_s=most_s)
            took_s = boot_s() - began - rests.rested_s
            return tuning

        tuning = await (self._pools.measure if urgent else self._pools.build)(work, self._stop)
        if tuning is None:
            return None
        part.tuning.now = tuning
        learnt = Learnt(tuning=tuning, held=asked.held, taken=asked.taken, took_s=took_s, kinds=asked.kinds, brief=brief and tuning.real)
        self._standings[name] = learnt.standing(at_s=boot_s())
        if tuning.measured:
            self._learnt[name] = learnt
        fields = {"queries": tuning.queries, "real": tuning.real, "seconds": f"{took_s:.2f}"}
        log.info(event("recall_measured", shard=self._shard, segment=name, **fields))
        return tuning

    async def _check_latest(self) -> None:
        """Answer the latest queries exactly, too, now and then: what looks like the sample may still be answered
        worse.
        """
        parts = {part.name: part for part in _measurable(self._reading.view()) if part.tuning.now.trusted}
        began = boot_s()
        if not parts or self._queries.heard - self._checked < LATEST or began < self._check_from_s or self._stop.is_set():
            return
        self._checked = self._queries.heard
        queries = ProbeQueries(queries=self._queries.latest(), own=None)
        call = ShardMeasureRecall(shard=self._shard, k=CHECK_K, sample=len(queries), recall=self._recall)
        probed: list[Probed] = []
        for start in range(0, len(queries), _PROBED_AT_ONCE):
            work = partial(probe, self._reading, self._shard, queries.slice(start, start + _PROBED_AT_ONCE), call, self._metric, boot_s)
            probed += await self._pools.measure(work, self._stop) or []
        self._check_from_s = boot_s() + CHECK_REST_RATIO * (boot_s() - began)
        if misses([each.recall for each in probed], self._recall):
            for part in parts.values():
                part.tuning.now.likeness.doubt()
            self._begin_kind_if_doubted(parts, with_latest=True)

    async def _probe_queries(self, most: int, withdrawn: threading.Event) -> ProbeQueries | None:
        if self._queries.asked_enough:
            return ProbeQueries(queries=self._queries.sample(most, self._random)[0], own=None)
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
        for part in _measurable(self._reading.view()):
            self._recall_what_was_learnt(part.name, part)
        restored = QueryKinds(dim=self._dim, seed=self._seed)
        await asyncio.to_thread(self._files.load_queries, restored)
        restored.join(self._queries)
        self._queries = restored

    async def _save(self) -> None:
        self._unsaved = False
        queries, tables, heard = self._queries.to_bytes(), dict(self._learnt), self._queries.heard
        await asyncio.to_thread(self._files.save, queries, tables)
        self._saved = heard

    def _curve(self, part: SegmentView, tuning: Tuning, k: int) -> SegmentCurve:
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


def _sample(part: SegmentView, real: Sequence[Matrix], size: int, random: np.random.Generator, *, seq: int, metric: Metric) -> QuerySample:
    """What to measure a segment with: real queries, of each kind some, or what stands in for them."""
    if real:
        return QuerySample.asked(real[0], metric, *real[1:])
    if part.tuning.now.exact_us(len(part)) > DEAR_US:
        return QuerySample.stand_ins(part, STAND_INS, random, seq=seq, metric=metric)
    return QuerySample.own_rows(part, size, random, seq=seq)


def _measurable(view: IndexView) -> list[SegmentView]:
    return [part for part in view.parts if part.state is SegmentState.SEALED and part.native is not None and part.name]


def _fits(tuning: Tuning, part: SegmentView) -> bool:
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
