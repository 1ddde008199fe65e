"""Asks where the words of text legs are in the texts of hits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

from shoal.core.collection import Collection
from shoal.core.fused_search import FieldSpans
from shoal.core.points import PointId, id_array
from shoal.core.requests import ReadAs
from shoal.core.shard_calls import ShardService
from shoal.core.text_calls import TextMarksCall
from shoal.core.text_query import TextAsk
from shoal.router.cluster.view import ClusterView
from shoal.router.logic.fused_answer import merged_marks
from shoal.router.logic.outcomes import Answered, Missed, may_be_left_out
from shoal.router.logic.read_plan import marks_calls
from shoal.router.logic.retry import RetryPatience
from shoal.router.logic.write_plan import parts_of
from shoal.router.shards.replica_reads import ReadKind
from shoal.router.shards.scatter import Scatter, ShardTask

MOST_AT_ONCE = 64
"""Calls under way for one search."""

Marks = tuple[FieldSpans, ...]


@dataclass(frozen=True, slots=True)
class MarksWanted:
    """The hits of one query whose texts are looked at, each once, and what each text leg asked for."""

    ids: Sequence[PointId]
    asks: Sequence[TextAsk]


class TextMarks:
    """Reads highlights. Used from one event loop."""

    def __init__(self, *, view: ClusterView, scatter: Scatter) -> None:
        self._view, self._scatter = view, scatter

    async def read(
        self, wanted: Sequence[MarksWanted], collection: Collection, patience: RetryPatience, read: ReadAs, *, allow_partial: bool
    ) -> list[dict[PointId, Marks]]:
        """Return the highlights of the hits of each query, by id. A hit that was deleted meanwhile has none.

        With allow_partial, hits of a shard that cannot answer have none; else its error is raised.
        """
        found: list[dict[PointId, list[Marks]]] = [{} for _ in wanted]
        calls = iter([(at, call) for at, each in enumerate(wanted) for call in self._calls(each, collection, read)])
        while some := list(islice(calls, MOST_AT_ONCE)):
            tasks = [ShardTask(call.shard.number, partial(_marks, call), ReadKind("text_marks", read.consistency)) for _, call in some]
            outcomes = await self._scatter.each(collection, tasks, patience)
            for (at, call), outcome in zip(some, outcomes, strict=True):
                match outcome:
                    case Answered(value=marks):
                        for each, spans in zip(call.ids.tolist(), marks, strict=True):
                            found[at].setdefault(each, []).append(spans)
                    case Missed(error=error) if not (allow_partial and may_be_left_out(error)):
                        raise error
        return [{each: merged_marks(marks) for each, marks in of_query.items()} for of_query in found]

    def _calls(self, wanted: MarksWanted, collection: Collection, read: ReadAs) -> list[TextMarksCall]:
        if not wanted.ids:
            return []
        ids = id_array(wanted.ids)
        parts = parts_of(ids, self._view.current.shards_of(collection.id), collection.spec.name)
        return [call for ask in wanted.asks for call in marks_calls(ids, ask, read, collection, parts)]


async def _marks(call: TextMarksCall, service: ShardService, left_s: float) -> tuple[Marks, ...]:
    return await service.text_marks(call, left_s)
