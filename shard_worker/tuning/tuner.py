"""Keep the recall tables of one replica's segments up to date: sample real queries, measure in the background, store
the results on disk.

Segments that are about to be swapped in, and segments that `tune` requests, are measured in the worker's build thread.
Measurements in the background give way to builds, searches and `tune`. Urgent measurements do not: until they are done
searches cost more than necessary, so they run beside builds. From time to time the latest queries are checked against
the exact answer. Other files decide when a measurement is due (logic/tuning/plan), what it promises
(logic/tuning/recall_bounds) and when queries are unlike those measured (logic/tuning/query_drift).
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from shoal.core.collection import CollectionSpec
from shoal.core.errors import DeadlineExceeded, ErrorDetails, InvalidArgument, ShoalError, Unavailable
from shoal.core.ids import ShardId
from shoal.core.points import Matrix
from shoal.core.shard_calls import SegmentCurve, ShardMeasureRecall, ShardRecall, ShardTune
from shoal.runtime.clock import boot_s
from shoal.runtime.logs import event
from shoal.shard_worker.index.tuning import DEAR_US, Tuning
from shoal.shard_worker.index.view import IndexView, SegmentView
from shoal.shard_worker.logic.segments.segment_plan import SegmentState
from shoal.shard_worker.logic.tuning.plan import Due, Measurable, Standing, due, may_begin
from shoal.shard_worker.logic.tuning.query_drift import misses
from shoal.shard_worker.resources.pools import Pools
from shoal.shard_worker.tuning.files import Learnt, MeasuredSegments, TuningFiles
from shoal.shard_worker.tuning.measuring import BRIEF_SAMPLE, SAMPLE, Measurement, Rests
from shoal.shard_worker.tuning.query_kinds import LATEST, QueryKinds
from shoal.shard_worker.tuning.recall_probe import Probed, ProbedReads, ProbeQueries, check_call, probe, stand_ins, summary

log = logging.getLogger("shoal.worker.tuning")

BRIEF_S, BRIEF_SHARE = 1.0, 0.4
"""A measurement before a swap begins no further breadth after BRIEF_S seconds, or after BRIEF_SHARE of the build's
time, whichever is longer.
"""

CHECK_REST_RATIO = 50.0
"""After a check of the latest queries, the next check waits this many times as long as the check took."""

CHECK_K = 10

LOOK_S = 1.0
"""Longest pause between two looks for due measurements, if there is a segment to measure; a kick ends it."""

PAUSE_S = 0.2
"""Shortest pause between two looks."""

RETRY_S = 60.0
"""Time for which a segment rests after its measurement failed."""

PATIENCE = 3
"""A measurement gives way to a build this many times; then it insists."""


class Tuner:
    """Background tuning of one replica.

    Make it on the replica's event loop. Call `kick` when there may be new segments, `offer` with every search, and
    `close` before the engine closes.
    """

    def __init__(self, *, shard: ShardId, reading: ProbedReads, pools: Pools, spec: CollectionSpec, folder: Path, seed: int = 0) -> None:
        """Start tuning. folder: for the results, created when there are any."""
        self._shard, self._reading, self._pools = shard, reading, pools
        self._metric, self._dim, self._recall = spec.metric, spec.dim, spec.recall
        self._files = TuningFiles(folder)
        self._seed = seed
        self._queries = QueryKinds(dim=spec.dim, seed=seed)
        self._random = np.random.default_rng(seed)
        self._known = MeasuredSegments()
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
        """Look for something to measure."""
        self._wake.set()

    def offer(self, queries: Matrix) -> None:
        """Sample queries (n, dim) float32 that users asked, as given."""
        self._searched_s = boot_s()
        before = self._queries.asked_enough
        self._queries.offer(queries)
        if self._queries.asked_enough != before:
            self.kick()

    def aim(self, recall: float) -> None:
        """Set another recall target for searches that name none."""
        self._recall = recall

    async def close(self) -> None:
        """Stop running work, save what was learnt, and end."""
        self._stop.set()
        self._wake.set()
        await self._running
        if self._queries.heard != self._saved:
            await self._save()

    async def measure_new(self, part: SegmentView, name: str, build_s: float) -> None:
        """Measure a segment that is about to be swapped in as `name`, so that its first search can use the index.

        Its build took build_s. Without enough real queries it is measured later, and searched exactly until then,
        unless exact searches are expensive.
        """
        if part.native is None or not (self._queries.asked.enough or part.tuning.now.exact_us(len(part)) > DEAR_US):
            return
        self._coming.add(name)
        try:
            await self._measure(part, name, bool, brief_s=max(BRIEF_S, BRIEF_SHARE * build_s))
        except Exception as error:
            self._rest(name, f"{type(error).__name__}: {error}")

    def swapped(self, name: str) -> None:
        """Note that the segment `name` is in the view now, or never will be."""
        self._coming.discard(name)
        self._unsaved |= name in self._known.tables
        self.kick()

    async def tune(self, call: ShardTune, timeout_s: float) -> tuple[SegmentCurve, ...]:
        """Measure every sealed segment that has an index, now.

        Raises InvalidArgument, DeadlineExceeded, Unavailable when the replica closes.
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
        """Answer a sample of real queries, or of points that stand in for them, as usual and exactly.

        Raises as tune.
        """
        check_call(call)
        withdrawn = threading.Event()
        probed: list[Probed] = []
        try:
            async with asyncio.timeout(timeout_s):
                queries = await self._probe_queries(call.sample, withdrawn)
                for few in () if queries is None else queries.slices():
                    probed += await self._probe(few, call, withdrawn)
        except TimeoutError:
            raise self._late(f"answered {len(probed)} of {call.sample} queries within {timeout_s:.0f} s") from None
        finally:
            withdrawn.set()
        if queries is None and self._stop.is_set():
            raise self._closing()
        return summary(self._shard.number, probed, real=queries is not None and queries.own is None)

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
        """Wait for a kick or the next look, but at least PAUSE_S: kicks come with every write.

        Without a segment to measure there is nothing to look for before the next kick.
        """
        try:
            async with asyncio.timeout(PAUSE_S):
                await self._stop.wait()
        except TimeoutError:
            pass
        try:
            async with asyncio.timeout(LOOK_S if _measurable(self._reading.view()) else None):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    def _next(self) -> tuple[SegmentView, bool] | None:
        """Return the segment to measure next and whether it is urgent.

        Return None when there is none, or when builds or searches go first.
        """
        parts = {part.name: part for part in _measurable(self._reading.view())}
        self._known.forget_all_but(parts.keys() | self._coming)
        for part in parts.values():
            self._known.restore(part, now_s=boot_s())
        self._begin_kind_if_doubted(parts)
        now = boot_s()
        wanted = self._due(parts, now)
        ready = [each for each in wanted if not self._known.rests(each.name, now_s=now) and each.name not in self._asked]
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
            Measurable(name=name, rows=len(part), standing=self._known.standing(name), doubted=part.tuning.now.likeness.doubted)
            for name, part in parts.items()
        ]
        return due(segments, self._queries.asked, now_s=now_s)

    def _urgent_waits(self) -> bool:
        """Return whether something urgent is due, to which another measurement gives way. In any thread."""
        parts = {part.name: part for part in _measurable(self._reading.view())}
        return any(each.urgent and not self._known.has_failed(each.name) for each in self._due(parts, boot_s()))

    def _begin_kind_if_doubted(self, parts: Mapping[str, SegmentView], *, with_latest: bool = False) -> None:
        """Begin to sample a new kind of queries when the measurement of a segment begins to be doubted."""
        doubting = any(part.tuning.now.likeness.doubted for part in parts.values())
        if doubting and not self._doubting:
            log.info(event("queries_changed", shard=self._shard))
            self._queries.begin_kind(with_latest=with_latest)
        self._doubting = doubting

    async def _measure_in_background(self, part: SegmentView, urgent: bool) -> bool:
        """Measure the segment. Return whether to look for another one at once."""
        insists, standing = urgent or self._gave_way >= PATIENCE, self._known.standing(part.name)

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
        """Return whether a segment need not be measured any more.

        This is so when `tune` measures it, when it was measured since `standing` was read, or when it is gone.
        """
        if part.name in self._asked or self._known.standing(part.name) is not standing:
            return True
        return all(each.name != part.name for each in _measurable(self._reading.view()))

    def _rest(self, name: str, reason: str) -> None:
        log.warning(event("measuring_failed", shard=self._shard, segment=name, reason=reason, retry_s=RETRY_S))
        self._known.rest(name, until_s=boot_s() + RETRY_S)

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
        """Measure a segment and let searches use the result; None when it was stopped.

        aside: on one core and, unless urgent, resting while there are searches. urgent: on few queries. brief_s: on few
        queries, for about brief_s at most.
        """
        asked, brief = self._queries.asked, urgent or brief_s is not None
        size = BRIEF_SAMPLE if brief else SAMPLE
        measurement = Measurement(
            part=part,
            seq=self._reading.view().seq,
            seed=int(self._random.integers(2**32)),
            real=self._queries.sample(size, self._random) if asked.enough else (),
            size=size,
            metric=self._metric,
            aside=aside,
            most_s=math.inf if brief_s is None else brief_s,
        )
        rests = Rests(self._pools.stopping)

        def stopped() -> bool:
            if aside and not urgent:
                rests.take(self._searched_s)
            return self._stop.is_set() or self._pools.stopping.is_set() or withdrawn()

        found = await (self._pools.measure if urgent else self._pools.build)(partial(measurement.carry_out, stopped, rests), self._stop)
        if found is None:
            return None
        tuning, took_s = found.tuning, found.took_s
        part.tuning.now = tuning
        learnt = Learnt(tuning=tuning, held=asked.held, taken=asked.taken, took_s=took_s, kinds=asked.kinds, brief=brief and tuning.real)
        self._known.take(name, learnt, now_s=boot_s())
        fields = {"queries": tuning.queries, "real": tuning.real, "seconds": f"{took_s:.2f}"}
        log.info(event("recall_measured", shard=self._shard, segment=name, **fields))
        return tuning

    async def _check_latest(self) -> None:
        """From time to time, answer the latest queries exactly, too.

        They may look like the sample and still be answered worse.
        """
        parts = {part.name: part for part in _measurable(self._reading.view()) if part.tuning.now.trusted}
        began = boot_s()
        if not parts or self._queries.heard - self._checked < LATEST or began < self._check_from_s or self._stop.is_set():
            return
        self._checked = self._queries.heard
        queries = ProbeQueries(queries=self._queries.latest(), own=None)
        call = ShardMeasureRecall(shard=self._shard, k=CHECK_K, sample=len(queries), recall=self._recall)
        probed: list[Probed] = []
        for few in queries.slices():
            work = partial(probe, self._reading, self._shard, few, call, self._metric, boot_s)
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
        """Answer a slice of the queries. Between two slices, builds and slices of other calls can run."""
        found = await self._pools.build(
            lambda: [] if withdrawn.is_set() else probe(self._reading, self._shard, queries, call, self._metric, boot_s), self._stop
        )
        if found is None or self._stop.is_set():
            raise self._closing()
        return found

    async def _load(self) -> None:
        self._known.tables = await asyncio.to_thread(self._files.load_tables)
        restored = QueryKinds(dim=self._dim, seed=self._seed)
        await asyncio.to_thread(self._files.load_queries, restored)
        restored.join(self._queries)
        self._queries = restored
        for part in _measurable(self._reading.view()):
            self._known.restore(part, now_s=boot_s())

    async def _save(self) -> None:
        self._unsaved = False
        queries, tables, heard = self._queries.to_bytes(), dict(self._known.tables), self._queries.heard
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


def _measurable(view: IndexView) -> list[SegmentView]:
    return [part for part in view.parts if part.state is SegmentState.SEALED and part.native is not None and part.name]
