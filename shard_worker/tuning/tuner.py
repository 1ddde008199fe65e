"""Keep the recall tables of a replica's segments of one vector up to date: sample real queries, measure in the
background, store the results on disk.

Segments that are about to be swapped in, and segments that `tune` requests, are measured in the worker's build thread.
Measurements in the background give way to builds, searches and `tune`. Urgent measurements do not: until they are done
searches cost more than necessary, so they run beside builds. From time to time the latest queries are checked against
the exact answer. The tuners of a worker's replicas take turns (resources.rounds), and one that has nothing to do has no
task and no timer. Other files decide when a measurement is due (logic/tuning/plan), what it promises
(logic/tuning/recall_bounds) and when queries are unlike those measured (logic/tuning/query_drift).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from shoal.core.collection import CollectionSpec
from shoal.core.errors import DeadlineExceeded, ErrorDetails, InvalidArgument, ShoalError, Unavailable
from shoal.core.ids import ShardId
from shoal.core.points import Matrix
from shoal.core.tuning_calls import SegmentCurve, ShardMeasureRecall, ShardRecall, ShardTune
from shoal.runtime.clock import boot_s
from shoal.runtime.logs import event
from shoal.shard_worker.index.tuning import DEAR_US, Tuning
from shoal.shard_worker.index.view import SegmentView
from shoal.shard_worker.logic.tuning.plan import ENOUGH_QUERIES, MEASURED_QUERIES, Due, Measurable, Standing, due, due_later_s, may_begin
from shoal.shard_worker.logic.tuning.query_drift import misses
from shoal.shard_worker.logic.tuning.readiness import uncertain
from shoal.shard_worker.logic.tuning.recall_bounds import reaches
from shoal.shard_worker.resources.allocator import give_back_free_memory
from shoal.shard_worker.resources.pools import Pools
from shoal.shard_worker.resources.rounds import Rest, RoundLane, Work
from shoal.shard_worker.tuning.files import Learnt, MeasuredSegments, TuningFiles
from shoal.shard_worker.tuning.measuring import BRIEF_SAMPLE, Measurement, Rests, measurable_parts
from shoal.shard_worker.tuning.query_kinds import LATEST, QueryKinds
from shoal.shard_worker.tuning.recall_probe import ProbedReads, Prober, check_call

log = logging.getLogger("shoal.worker.tuning")

BRIEF_S, BRIEF_SHARE = 1.0, 0.4
"""A measurement before a swap begins no further breadth after BRIEF_S seconds, or after BRIEF_SHARE of the build's
time, whichever is longer.
"""

PENDING_S = 5.0
"""The same for a measurement after `optimize`, whose caller waits for fast searches."""

CHECK_REST_RATIO = 50.0
"""After a check of the latest queries, the next check waits this many times as long as the check took."""

CHECK_K = 10

CONFIRMING = 24
"""Number of queries after which a measurement with rows of the segment is confirmed, or doubted, by a check."""

HEARD_TOGETHER = 32
"""So many single queries are sampled together, if no look comes before."""

LOOK_S = 1.0
"""Pause between two looks while searches go on or something is due; a kick ends it."""

PAUSE_S = 0.2
"""Pause after a measurement that gave way."""

RETRY_S = 60.0
"""Time for which a segment rests after its measurement failed."""

PATIENCE = 3
"""A measurement gives way to a build this many times; then it insists."""


class Tuner:
    """Background tuning of one replica, of one of its vectors.

    Make it on the replica's event loop. Call `kick` when there may be new segments, `offer` with every search, and
    `close` before the engine closes.
    """

    def __init__(
        self,
        *,
        shard: ShardId,
        reading: ProbedReads,
        pools: Pools,
        spec: CollectionSpec,
        folder: Path,
        vector: str = "",
        seed: int = 0,
    ) -> None:
        """Start tuning. folder: for the results, created when there are any; vector: its name, "" if it has none."""
        self._shard, self._reading, self._pools = shard, reading, pools
        tuned = spec.vector_of(vector)
        self._vector, self._metric, self._dim, self._recall = vector, tuned.metric, tuned.dim, spec.recall
        self._files = TuningFiles(folder)
        self._seed = seed
        self._heard = QueryKinds(dim=self._dim, seed=seed)
        self._unheard: list[Matrix] = []
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
        self._stop = asyncio.Event()
        self._loading = asyncio.Lock()
        self._loaded = False
        self._woken = False
        self._unconfirmed = False
        self._then: Callable[[], object] = bool
        self._prober = Prober(shard=shard, reading=reading, pools=pools, metric=self._metric, stop=self._stop)
        self.kick()

    def kick(self) -> None:
        """Look soon for something to measure."""
        self._wake(0.0)

    def after_measuring(self, then: Callable[[], object]) -> None:
        """Call `then` on the event loop after each measurement: it may show that a segment is to be built anew."""
        self._then = then

    def offer(self, queries: Matrix) -> None:
        """Sample queries (n, dim) float32 that users asked, as given.

        While a look is due anyway and nothing waits for them, single queries are kept for it, several together: each
        would otherwise cost a search more than what it measures.
        """
        self._searched_s = boot_s()
        self._unheard.append(queries)
        if len(queries) > 1 or not self._woken or self._unconfirmed or len(self._unheard) >= HEARD_TOGETHER:
            heard = self._queries.heard
            if self._unconfirmed and heard - self._checked >= CONFIRMING:
                self._wake(0.0)
            elif not self._woken:
                self._wake(LOOK_S)

    @property
    def _queries(self) -> QueryKinds:
        """Return the samples, with every query offered so far. Look soon if there are enough now."""
        if self._unheard:
            unheard, self._unheard = self._unheard, []
            before = self._heard.asked_enough
            for queries in unheard:
                self._heard.offer(queries)
            if self._heard.asked_enough != before:
                self._wake(0.0)
        return self._heard

    @property
    def measurements_due(self) -> int:
        """Return how many segments have yet to be measured for fast searches, without those for which this failed."""
        segments = self._segments({part.name: part for part in measurable_parts(self._reading.view())})
        names = uncertain(segments, self._heard.asked, now_s=boot_s()) if segments else ()
        return sum(not self._known.has_failed(name) for name in names)

    def aim(self, recall: float) -> None:
        """Set another recall target for searches that name none."""
        self._recall = recall

    async def close(self) -> None:
        """Stop running work, save what was learnt, and end."""
        self._stop.set()
        self._then = bool  # Otherwise this object and the one that is told keep each other.
        await self._pools.rounds.leave(self)
        await self.save()
        # Free them now: the engine, which closes later, gives back what is free then.
        self._queries.clear()

    async def save(self) -> None:
        """Write to the disk what was learnt since it was last written."""
        if self._unsaved or self._queries.heard != self._saved:
            await self._load()
            await self._save()

    async def measure_new(self, part: SegmentView, name: str, build_s: float) -> None:
        """Measure a segment that is about to be swapped in as `name`, so that its first search can use the index.

        Its build took build_s. Without enough real queries it is measured later, and searched exactly until then,
        unless exact searches are expensive.
        """
        await self._load()
        if part.native is None or not (self._queries.asked.enough or part.tuning.now.exact_us(len(part)) > DEAR_US):
            return
        self._coming.add(name)
        await self._measure_gently(part, name, bool, max(BRIEF_S, BRIEF_SHARE * build_s))

    async def _measure_gently(
        self, part: SegmentView, name: str, withdrawn: Callable[[], bool], brief_s: float, *, beside_builds: bool = False
    ) -> None:
        """Measure briefly. A failure is logged, and the segment rests."""
        try:
            self._unsaved |= await self._measure(part, name, withdrawn, brief_s=brief_s, beside_builds=beside_builds) is not None
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
        await self._load()
        if call.queries is not None:
            self._queries.give(call.queries)
        curves = []
        parts = measurable_parts(self._reading.view())
        try:
            async with self._claimed(parts, timeout_s) as withdrawn:
                for part in parts:
                    tuning = await self._measure(part, part.name, withdrawn)
                    if tuning is None:
                        raise self._closing()
                    curves.append(self._curve(part, tuning, call.k))
                await self._save()
        except TimeoutError:
            raise self._late(f"was not measured within {timeout_s:.0f} s") from None
        return tuple(curves)

    async def measure_pending(self, timeout_s: float) -> None:
        """Measure now, with what queries there are, each segment that is searched with more effort than necessary.

        It runs on one core beside the builds of other replicas, on all cores if nothing is built. What is not measured
        in time, or fails, is measured in the background.
        """
        await self._load()
        parts = {part.name: part for part in measurable_parts(self._reading.view())}
        names = uncertain(self._segments(parts), self._queries.asked, now_s=boot_s())
        pending = [part for name, part in parts.items() if name in names]
        with contextlib.suppress(TimeoutError):
            async with self._claimed(pending, timeout_s) as withdrawn:
                for part in pending:
                    beside_builds = self._pools.builds_running > 0
                    await self._measure_gently(part, part.name, withdrawn, PENDING_S, beside_builds=beside_builds)
        if pending:
            # `optimize` ends here: what it worked in is free now.
            await asyncio.to_thread(give_back_free_memory)

    @contextlib.asynccontextmanager
    async def _claimed(self, parts: Sequence[SegmentView], timeout_s: float) -> AsyncIterator[Callable[[], bool]]:
        """Keep the background from measuring these segments. Yields what tells measurements to stop.

        Raises TimeoutError in the context after timeout_s.
        """
        withdrawn = threading.Event()
        names = Counter(part.name for part in parts)
        self._asked = self._asked + names
        try:
            async with asyncio.timeout(timeout_s):
                yield withdrawn.is_set
        finally:
            withdrawn.set()
            self._asked = self._asked - names
            self.kick()

    async def measure_recall(self, call: ShardMeasureRecall, timeout_s: float) -> ShardRecall:
        """Answer a sample of real queries, or of points that stand in for them, as usual and exactly.

        Raises as tune.
        """
        check_call(call)
        await self._load()
        real = self._queries.sample(call.sample, self._random)[0] if self._queries.asked_enough else None
        return await self._prober.measure(call, real, int(self._random.integers(2**32)), timeout_s)

    def look(self) -> Work | Rest:
        """Return what to do now: see RoundsMember."""
        self._woken = False
        parts = {part.name: part for part in measurable_parts(self._reading.view())}
        if not self._loaded:
            return Work(lane=RoundLane.FILES, run=self._load) if parts or self._queries.heard else Rest()
        for part in parts.values():
            self._known.restore(part, now_s=boot_s())
        self._known.forget_all_but(parts.keys() | self._coming)
        if self._unsaved:
            return Work(lane=RoundLane.FILES, run=self._save)
        self._begin_kind_if_doubted(parts)
        return self._next(parts, boot_s())

    def _wake(self, within_s: float) -> None:
        if not self._stop.is_set():
            self._woken = True
            self._pools.rounds.wake(self, within_s=within_s)

    def _next(self, parts: Mapping[str, SegmentView], now_s: float) -> Work | Rest:
        """Return the segment to measure next, or the check of the latest queries, or how long to wait for either."""
        wanted = self._due(parts, now_s)
        ready = [each for each in wanted if not self._known.rests(each.name, now_s=now_s) and each.name not in self._asked]
        if not ready:
            self._due_s = math.inf
        elif self._may_begin(ready[0], now_s):
            chosen = ready[0]
            return Work(
                lane=RoundLane.URGENT if chosen.urgent else RoundLane.USUAL,
                run=partial(self._measure_in_background, parts[chosen.name], chosen.urgent),
            )
        trusted = [part.tuning.now for part in parts.values() if part.tuning.now.trusted]
        self._unconfirmed = any(tuning.provisional and not tuning.confirmed(self._recall) for tuning in trusted)
        if trusted and self._queries.heard - self._checked >= (CONFIRMING if self._unconfirmed else LATEST):
            if self._unconfirmed or now_s >= self._check_from_s:
                return Work(lane=RoundLane.URGENT, run=self._check_latest)
            return Rest(seconds=min(LOOK_S, self._check_from_s - now_s) if wanted else self._check_from_s - now_s)
        return Rest(seconds=LOOK_S if wanted else due_later_s(self._segments(parts), self._queries.asked, now_s=now_s))

    def _may_begin(self, chosen: Due, now_s: float) -> bool:
        """Return whether a measurement that is due may begin, or builds and searches go first."""
        if chosen.urgent:
            return True
        self._due_s = min(self._due_s, now_s)
        if self._pools.builds_running and self._gave_way < PATIENCE:
            return False
        return may_begin(now_s=now_s, searched_s=self._searched_s, due_s=self._due_s)

    def _due(self, parts: Mapping[str, SegmentView], now_s: float) -> tuple[Due, ...]:
        return due(self._segments(parts), self._queries.asked, now_s=now_s)

    def _segments(self, parts: Mapping[str, SegmentView]) -> list[Measurable]:
        return [
            Measurable(name=name, rows=len(part), standing=self._known.standing(name), doubted=part.tuning.now.likeness.doubted)
            for name, part in parts.items()
        ]

    def _urgent_waits(self) -> bool:
        """Return whether something urgent is due, to which another measurement gives way. In any thread."""
        parts = {part.name: part for part in measurable_parts(self._reading.view())}
        return any(each.urgent and not self._known.has_failed(each.name) for each in self._due(parts, boot_s()))

    def _begin_kind_if_doubted(self, parts: Mapping[str, SegmentView], *, with_latest: bool = False) -> None:
        """Begin to sample a new kind of queries when the measurement of a segment begins to be doubted."""
        doubting = any(part.tuning.now.real and part.tuning.now.likeness.doubted for part in parts.values())
        if doubting and not self._doubting:
            log.info(event("queries_changed", shard=self._shard))
            self._queries.begin_kind(with_latest=with_latest)
        self._doubting = doubting

    async def _measure_in_background(self, part: SegmentView, urgent: bool) -> float:
        """Measure the segment. Return the seconds until the next look."""
        insists, standing = urgent or self._gave_way >= PATIENCE, self._known.standing(part.name)

        def withdrawn() -> bool:
            if not insists and self._pools.builds_running:
                return True
            return self._is_settled(part, standing) or (not urgent and self._urgent_waits())

        try:
            tuning = await self._measure(part, part.name, withdrawn, aside=True, urgent=urgent)
        except ShoalError as error:
            self._rest(part.name, error.message)
            return 0.0
        except Exception as error:
            log.exception(event("measuring_failed", shard=self._shard, segment=part.name))
            self._rest(part.name, f"{type(error).__name__}: {error}")
            return 0.0
        if tuning is None:
            settled = self._is_settled(part, standing)
            self._gave_way += not settled
            return 0.0 if settled else PAUSE_S
        self._gave_way, self._due_s, self._unsaved = 0, math.inf, True
        return 0.0

    def _is_settled(self, part: SegmentView, standing: Standing | None) -> bool:
        """Return whether a segment need not be measured any more.

        This is so when `tune` measures it, when it was measured since `standing` was read, or when it is gone.
        """
        if part.name in self._asked or self._known.standing(part.name) is not standing:
            return True
        return all(each.name != part.name for each in measurable_parts(self._reading.view()))

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
        beside_builds: bool = False,
    ) -> Tuning | None:
        """Measure a segment and let searches use the result; None when it was stopped.

        aside: on one core and, unless urgent, resting while there are searches. urgent: on few queries. brief_s: on few
        queries, for about brief_s at most. beside_builds: in the thread that does not wait for builds, on one core.
        """
        asked, brief = self._queries.asked, urgent or brief_s is not None
        size = BRIEF_SAMPLE if brief else MEASURED_QUERIES
        measurement = Measurement(
            part=part,
            seq=self._reading.view().seq,
            seed=int(self._random.integers(2**32)),
            real=self._queries.sample(size, self._random) if asked.enough else (),
            guarded=self._queries.calls < ENOUGH_QUERIES,
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

        run = self._pools.measure if urgent or beside_builds else self._pools.build
        found = await run(partial(measurement.carry_out, stopped, rests), self._stop)
        if found is None:
            return None
        tuning, took_s = found.tuning, found.took_s
        part.tuning.now = tuning
        learnt = Learnt(tuning=tuning, held=asked.held, taken=asked.taken, took_s=took_s, kinds=asked.kinds, brief=brief and tuning.real)
        self._known.take(name, learnt, now_s=boot_s())
        fields = {"queries": tuning.queries, "real": tuning.real, "seconds": f"{took_s:.2f}"}
        log.info(event("recall_measured", shard=self._shard, segment=name, **fields))
        self._then()
        return tuning

    async def _check_latest(self) -> float:
        """Answer the latest queries exactly, too: they may look like the sample and still be answered worse."""
        parts = {part.name: part for part in measurable_parts(self._reading.view()) if part.tuning.now.trusted}
        began = boot_s()
        self._checked = self._queries.heard
        probed = await self._prober.check(self._queries.latest(), CHECK_K, self._recall)
        self._check_from_s = boot_s() + CHECK_REST_RATIO * (boot_s() - began)
        recalls = [each.recall for each in probed]
        if misses(recalls, self._recall):
            for part in parts.values():
                part.tuning.now.likeness.doubt()
            self._begin_kind_if_doubted(parts, with_latest=True)
        elif reaches(recalls, CHECK_K, self._recall):
            for part in parts.values():
                part.tuning.now.likeness.confirm(self._recall)
        return 0.0

    async def _load(self) -> float:
        """Read the files, once, and take what they say of the segments. Return 0.0: look again now."""
        async with self._loading:
            if not self._loaded:
                self._known.tables |= await asyncio.to_thread(self._files.load_tables)
                restored = QueryKinds(dim=self._dim, seed=self._seed)
                await asyncio.to_thread(self._files.load_queries, restored)
                restored.join(self._queries)
                self._heard = restored
                self._loaded = True
                for part in measurable_parts(self._reading.view()):
                    self._known.restore(part, now_s=boot_s())
        return 0.0

    async def _save(self) -> float:
        """Write the files. Return 0.0: look again now."""
        async with self._loading:
            self._unsaved = False
            self._known.forget_all_but({part.name for part in measurable_parts(self._reading.view())} | self._coming)
            queries, tables, heard = self._queries.to_bytes(), dict(self._known.tables), self._queries.heard
            await asyncio.to_thread(self._files.save, queries, tables)
            self._saved = heard
        return 0.0

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
            vector=self._vector,
        )

    def _closing(self) -> Unavailable:
        return Unavailable(f"shard {self._shard} is closing", ErrorDetails(shard=str(self._shard)))

    def _late(self, what: str) -> DeadlineExceeded:
        return DeadlineExceeded(f"shard {self._shard} {what}; give it longer", ErrorDetails(shard=str(self._shard)))
