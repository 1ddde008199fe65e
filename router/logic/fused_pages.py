"""Chooses the hits of a page among the candidates of a query: by score, by diversity, in groups. Pure.

A page is a slice of one order that depends neither on k nor on the offset: the picks of maximal marginal relevance are
the same whatever their number, and groups that only a later round has found stand behind those of earlier rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from shoal.core.diversity import cosines_to, diverse_picks, scaled
from shoal.core.fusion import Candidates
from shoal.core.hit_groups import HitGroup, groups_of
from shoal.core.points import Matrix, PointId

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class PageRules:
    """How hits are chosen.

    offset: entries left out; an entry is a hit, or a group; diversity: 0 for none; group_size: None without groups;
    threshold: worst score of a hit; ascending: whether a smaller score is better.
    """

    offset: int = 0
    diversity: float = 0.0
    group_size: int | None = None
    threshold: float | None = None
    ascending: bool = False


@dataclass(frozen=True, slots=True)
class Pick:
    """A hit of a page. round, place: of its candidate; penalty: what diversity took from it; value: of its group."""

    round: int
    place: int
    penalty: float = 0.0
    value: str | None = None


@dataclass(kw_only=True, slots=True)
class QueryCandidates:
    """What is known of one query so far.

    position: of the query; k: entries asked for; query: its vector, if cosines to it are the relevance; rounds: the
    candidates of each round, those below the threshold left out; ended: no further candidates can be hits; stale:
    points that were written anew meanwhile and do not match the filter any more.
    """

    position: int
    k: int
    query: Vector | None = None
    rounds: list[Candidates] = field(default_factory=list)
    ended: bool = False
    stale: set[PointId] = field(default_factory=set)

    def id_of(self, pick: Pick) -> PointId:
        """Return the id of a hit."""
        point_id: PointId = self.rounds[pick.round].ids[pick.place : pick.place + 1].tolist()[0]
        return point_id

    def add(self, candidates: Candidates, rules: PageRules, *, exhausted: bool) -> None:
        """Add the candidates of a round. exhausted: no leg has more.

        Where some are below the threshold, those of a deeper round would be, too.
        """
        kept = within(candidates, rules)
        self.rounds.append(kept)
        self.ended = exhausted or len(kept) < len(candidates)


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """What is known of candidates by their ids. gone: deleted meanwhile; values: of the group, None: in no group;
    vectors: as given, as far as they are needed.
    """

    gone: Collection[PointId] = frozenset()
    values: Mapping[PointId, str | None] = field(default_factory=dict)
    vectors: Mapping[PointId, Vector] = field(default_factory=dict)


def within(candidates: Candidates, rules: PageRules) -> Candidates:
    """Return the candidates that are not below the threshold. Scores count as they are shown, in float32."""
    if rules.threshold is None:
        return candidates
    with np.errstate(over="ignore"):
        scores, threshold = candidates.scores.astype(np.float32), np.float64(rules.threshold).astype(np.float32)
    good = scores <= threshold if rules.ascending else scores >= threshold
    return candidates if good.all() else candidates.take(np.flatnonzero(good))


def entries_of(query: QueryCandidates, rules: PageRules, known: Known) -> list[list[HitGroup]]:
    """Return the entries of each round, in the order of their best hits. Without groups each hit is one by itself."""
    found: list[list[HitGroup]] = []
    seen: set[str] = set()
    for number, candidates in enumerate(query.rounds):
        if rules.group_size is None:
            found.append([HitGroup("", [place]) for place in _living(query, number, known)])
            continue
        ids = candidates.ids.tolist()
        values = [None if each in known.gone or each in query.stale else known.values.get(each) for each in ids]
        groups = [group for group in groups_of(values, rules.group_size) if group.value not in seen]
        seen.update(group.value for group in groups)
        found.append(groups)
    return found


def heads_of(query: QueryCandidates, rules: PageRules, known: Known) -> list[PointId]:
    """Return the ids of the best hits of all entries: diversity compares their vectors."""
    entries = entries_of(query, rules, known)
    return [
        each
        for candidates, groups in zip(query.rounds, entries, strict=True)
        for each in candidates.ids[[entry.places[0] for entry in groups]].tolist()
    ]


def page_of(query: QueryCandidates, rules: PageRules, known: Known, between: Callable[[], None] = lambda: None) -> tuple[list[Pick], bool]:
    """Return the hits of the page, and whether it is complete: k entries were found, or there are no more.

    With diversity, the vectors of all heads must be known. between: called between two picks.
    """
    wanted = rules.offset + query.k
    if rules.group_size is None and not rules.diversity:
        places = _living(query, 0, known)[rules.offset : wanted]
        return [Pick(0, place) for place in places], len(places) == query.k or query.ended
    ordered: list[list[Pick]] = []
    picked: list[Vector] = []
    for number, entries in enumerate(entries_of(query, rules, known)):
        left = wanted - len(ordered)
        if left <= 0:
            break
        ordered += _ordered(query, number, entries, left, rules, known, picked, between)
    page = ordered[rules.offset : wanted]
    return [pick for entry in page for pick in entry], len(page) == query.k or query.ended


def _living(query: QueryCandidates, number: int, known: Known) -> Sequence[int]:
    """Return the places of the candidates of a round that may still be hits."""
    candidates, gone, stale = query.rounds[number], known.gone, query.stale
    if not gone and not stale:
        return range(len(candidates))
    return [place for place, each in enumerate(candidates.ids.tolist()) if each not in gone and each not in stale]


def _ordered(
    query: QueryCandidates,
    number: int,
    entries: Sequence[HitGroup],
    count: int,
    rules: PageRules,
    known: Known,
    picked: list[Vector],
    between: Callable[[], None],
) -> list[list[Pick]]:
    """Return at most `count` entries of a round in their order. picked: vectors of the picks so far, added to."""
    grouped = rules.group_size is not None
    if not rules.diversity or not entries:
        return [[Pick(number, place, value=entry.value if grouped else None) for place in entry.places] for entry in entries[:count]]
    candidates = query.rounds[number]
    heads = np.array([entry.places[0] for entry in entries], dtype=np.intp)
    vectors: Matrix = np.stack([known.vectors[each] for each in candidates.ids[heads].tolist()])
    if query.query is not None:
        relevance = cosines_to(query.query, vectors)
    else:
        relevance = scaled(candidates.scores, smaller_is_better=rules.ascending)[heads]
    picks = diverse_picks(relevance, vectors, rules.diversity, count, between, np.stack(picked) if picked else None)
    found = []
    for at, penalty in zip(picks.places.tolist(), picks.penalties.tolist(), strict=True):
        picked.append(vectors[at])
        first, *others = entries[at].places
        value = entries[at].value if grouped else None
        found.append([Pick(number, first, penalty, value), *(Pick(number, place, value=value) for place in others)])
    return found
