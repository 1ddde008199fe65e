"""The k best rows of one part, exact, by (score, id).

Two plans. Rows first, when few rows are eligible beside the postings: they are looked up in the list of each word.
Words first, otherwise: the rows of the rarest word get what it adds, then those of the next, until the k-th best row
has more than all other words can add. From then on no further row can come in, and the rows that still can stay in are
looked up in the long lists. Both end with one float64 kernel on the candidates (see scoring.py), which alone decides.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shoal.core.points import IdArray, id_ranks
from shoal.core.turns import FREE, Turn
from shoal.shard_worker.text.bound import BoundedList, Bounds, Shares, kth_best
from shoal.shard_worker.text.conditions import restricted
from shoal.shard_worker.text.eligible import Eligible, Mask, held_at
from shoal.shard_worker.text.part import TextPart
from shoal.shard_worker.text.query import TextQuery
from shoal.shard_worker.text.scoring import Scores, WeightedWord
from shoal.shard_worker.text.table import NO_ROWS, Counts, Rows

_LOOKED_UP = 128
"""To look one row up in the list of a word costs about as much as so many postings, of which most are passed over."""


@dataclass(frozen=True, slots=True, eq=False)
class TextHits:
    """The best rows (m,) of a part and their scores (m,), best first, the smaller id first where scores are equal."""

    rows: Rows
    scores: Scores


@dataclass(slots=True)
class TextTally:
    """How a part was searched.

    postings: of the scored words; plan: "rows first", "words first" or "empty"; scored: rows whose score was computed.
    """

    postings: int = 0
    plan: str = "empty"
    scored: int = 0


NO_TEXT_HITS = TextHits(NO_ROWS, np.empty(0, dtype=np.float64))


class Scratch(threading.local):
    """One array of zeros a thread, which grows to the largest part that was searched."""

    def __init__(self) -> None:
        self._sums: Shares = np.zeros(0, dtype=np.float32)

    def sums(self, rows: int) -> Shares:
        """Return zeros (rows,). The caller sets to 0 again what it has changed."""
        if len(self._sums) < rows:
            self._sums = np.zeros(rows, dtype=np.float32)
        return self._sums[:rows]


_scratch = Scratch()


def search_part(
    part: TextPart,
    query: TextQuery,
    words: Sequence[WeightedWord],
    *,
    k: int,
    ids: IdArray,
    eligible: Eligible,
    turn: Turn = FREE,
    tally: TextTally | None = None,
) -> TextHits:
    """Return the k best eligible rows of a part.

    words: scored words of the query, see scoring.weighted; ids: (n,) of the rows; k: at least 1; tally: is told how the
    part is searched. The turn may pause before each word.

    Raises Internal for a field that the part lacks, and the errors of the turn.
    """
    lists, tally = _lists(part, words), TextTally() if tally is None else tally
    tally.postings = sum(map(len, lists))
    if not lists:
        return NO_TEXT_HITS
    if query.required or query.excluded:
        eligible = restricted(part, query, eligible, turn, {each.word.word: each.rows for each in lists})
    if not eligible.most:
        return NO_TEXT_HITS
    candidates = _candidates(lists, k, eligible, turn, tally)
    tally.scored = len(candidates)
    turn.pause()
    scores = np.zeros(len(candidates), dtype=np.float64)
    for each in lists:
        scores += _exact(each, candidates)
    return _best(candidates, scores, ids, k)


def word_scores(part: TextPart, words: Sequence[WeightedWord], rows: Rows) -> npt.NDArray[np.float64]:
    """Return what each word adds to each of some rows (m,), ascending. (words, m); the sum over the words, in order, is
    the score."""
    scores = np.zeros((len(words), len(rows)), dtype=np.float64)
    for at, word in enumerate(words):
        for each in _lists(part, (word,)):
            scores[at] = _exact(each, rows)
    return scores


def _lists(part: TextPart, words: Sequence[WeightedWord]) -> list[BoundedList]:
    found = ((each, part.postings(each.word.field, each.word.text, each.word.prefix)) for each in words)
    return [BoundedList(each, held, part.field(each.word.field).lengths) for each, held in found if held is not None]


def _candidates(lists: Sequence[BoundedList], k: int, eligible: Eligible, turn: Turn, tally: TextTally) -> Rows:
    """Return rows, ascending, that hold a word and have all of the k best among them."""
    bounds = Bounds(lists)
    rows = eligible.listed()
    if rows is not None and len(rows) * len(lists) * _LOOKED_UP <= tally.postings:
        tally.plan = "rows first"
        rows, shares = _looked_up(bounds, 0, rows, np.zeros(len(rows), dtype=np.float32), k, turn)
    else:
        tally.plan = "words first"
        rows, shares, done = _added(bounds, k, eligible.mask(), eligible.rows, turn)
        # Rows come as a few ascending runs, which this sort merges.
        order = np.argsort(rows, kind="stable")
        rows, shares = _looked_up(bounds, done, rows[order], shares[order], k, turn)
    return rows[shares > 0.0]


def _added(bounds: Bounds, k: int, mask: Mask | None, all_rows: int, turn: Turn) -> tuple[Rows, Shares, int]:
    """Add the words, the rarest first, until no other row can be among the k best.

    Returns the rows that still can, in any order, their sums, and the number of words that were added.
    """
    if len(bounds.lists) == 1:
        return _of_one_word(bounds, k, mask, turn)
    sums = _scratch.sums(all_rows)
    touched: list[npt.NDArray[np.intp]] = []
    found = done = 0
    try:
        for each in bounds.lists:
            turn.pause()
            at, counts = _eligible_postings(each, mask)
            before = sums.take(at)
            new = at[before == 0.0]
            # All that will be changed is noted first, so that it is set to 0 again whatever happens.
            touched.append(new)
            sums[at] = before + each.shares(at, counts)
            found, done = found + len(new), done + 1
            if found >= k and done < len(bounds.lists) and bounds.may_be_unreachable(done):
                threshold = kth_best(sums.take(np.concatenate(touched)), k)
                if bounds.unreachable(threshold, done):
                    break
        rows = np.concatenate(touched)
        shares = sums.take(rows)
    finally:
        for at in touched:
            sums[at] = 0.0
    kept = shares >= bounds.least(kth_best(shares, k), done)
    return rows[kept].astype(np.uint32), shares[kept], done


def _of_one_word(bounds: Bounds, k: int, mask: Mask | None, turn: Turn) -> tuple[Rows, Shares, int]:
    """Return the same as `_added` for a single word: there is nothing to be added to."""
    turn.pause()
    (only,) = bounds.lists
    at, counts = _eligible_postings(only, mask)
    shares = only.shares(at, counts)
    kept = np.flatnonzero(shares >= bounds.least(kth_best(shares, k), 1))
    return at.take(kept).astype(np.uint32), shares.take(kept), 1


def _eligible_postings(each: BoundedList, mask: Mask | None) -> tuple[npt.NDArray[np.intp], Counts]:
    """Return the eligible rows of a word, and how often it occurs there."""
    at = each.rows.astype(np.intp)
    if mask is None:
        return at, each.counts
    kept = np.flatnonzero(mask.take(at))
    return at.take(kept), each.counts.take(kept)


def _looked_up(bounds: Bounds, done: int, rows: Rows, shares: Shares, k: int, turn: Turn) -> tuple[Rows, Shares]:
    """Add the words from number `done` on to the sums (m,) of rows, ascending.

    Returns the rows that can be among the k best of these, ascending, and their sums.
    """
    for each in bounds.lists[done:]:
        if not len(rows):
            break
        turn.pause()
        at, there = _found(each.rows, rows)
        hit = rows[there].astype(np.intp)
        shares[there] += each.shares(hit, each.counts.take(at))
        done += 1
        kept = shares >= bounds.least(kth_best(shares, k), done)
        rows, shares = rows[kept], shares[kept]
    return rows, shares


def _found(held: Rows, rows: Rows) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return the places in `held` of those of `rows` that are there, and the places of these in `rows`."""
    if len(rows) <= len(held):
        at, there = held_at(held, rows)
        hit = np.flatnonzero(there)
        return at[hit], hit
    hit, there = held_at(rows, held)
    at = np.flatnonzero(there)
    return at, hit[at]


def _exact(each: BoundedList, rows: Rows) -> Scores:
    """Return what a word adds to the scores of rows (m,), ascending."""
    scores = np.zeros(len(rows), dtype=np.float64)
    if len(rows):
        at, hit = _found(each.rows, rows)
        scores[hit] = each.word.scores(each.counts.take(at), each.lengths.take(rows[hit]))
    return scores


def _best(rows: Rows, scores: Scores, ids: IdArray, k: int) -> TextHits:
    """Return the k best rows by (score, id)."""
    if len(rows) > k:
        near = np.flatnonzero(scores >= kth_best(scores, k))
        rows, scores = rows[near], scores[near]
    held = ids.take(rows)
    ranks = id_ranks(held) if held.dtype == object else held
    order = np.lexsort((ranks, -scores))[:k]
    return TextHits(rows[order], scores[order])
