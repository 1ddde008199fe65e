"""Which rows may still be among the k best while only some of the words are scored, in float32.

A row whose words so far add up to a can get at most a + rest, where rest is the sum of what each other word can add at
most: its value at the largest count and the least length of its rows. A row is left out when a + rest is below what k
other rows have already.

Why this is safe in floating point: all scores are divided by the sum of the bounds of all words, so they lie in [0, 1].
Everything that is added is positive. What a word adds is rounded at most 8 times in float32 (its weight, the count, the
length, two constants, two sums, product, quotient: a part of the roundings is in the denominator, which changes the
quotient by as much), a sum of m words m times, rest once more for each word. Each rounding changes a value by a factor
of at most 1 + 2^-24. So a computed sum is within (m + 10) 2^-24 of the true one, and the float64 score that decides in
the end is within 2^-40 of it, too. `slack` is (m + 16) 2^-23, more than twice as much, and is left on both sides:
a row is left out only if a + rest + slack < threshold - slack. What is below the least normal float32 has
absolute errors, far below the slack. Nothing becomes 0, by which rows are told that no word was added to: boosts are
within 10^-6 to 10^6, counts at least 1, lengths below 2^32, words at most 4,096, rows below 2^40; so the smallest share
is above 10^-42, and float32 goes down to 10^-45.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from shoal.shard_worker.text.scoring import WeightedWord
from shoal.shard_worker.text.table import Counts, Lengths, Postings

Shares = npt.NDArray[np.float32]
"""Scores divided by the sum of all bounds."""

Real = TypeVar("Real", np.float32, np.float64)

_BLOCKS, _LEAST_BLOCK = 8, 4
"""Blocks for each of the k largest elements, and the least size of a block for which making them pays."""


class BoundedList:
    """A word with its postings in one part. bound: no row gets more from the word."""

    def __init__(self, word: WeightedWord, postings: Postings, lengths: Lengths) -> None:
        self.word = word
        self.rows = postings.rows
        self.counts = postings.counts
        self.lengths = lengths
        self.bound = word.most(postings.most, postings.shortest)
        self._weight, self._base, self._per_token = np.float32(0.0), np.float32(word.norm.base), np.float32(word.norm.per_token)

    def __len__(self) -> int:
        return len(self.rows)

    def scale(self, total: float) -> None:
        """Set the sum of all bounds, by which `shares` are divided."""
        self._weight = np.float32(self.word.weight / total)

    def shares(self, at: npt.NDArray[np.intp], counts: Counts) -> Shares:
        """Return what the word adds in the rows `at` (m,), where it occurs so often (m,)."""
        shares = counts.astype(np.float32)
        norm = self.lengths.take(at).astype(np.float32)
        norm *= self._per_token
        norm += self._base
        norm += shares
        shares *= self._weight
        shares /= norm
        return shares


class Bounds:
    """The lists of a search, the shortest first, and what lists from each on can add at most. slack: see above."""

    def __init__(self, lists: Sequence[BoundedList]) -> None:
        """Take at least one list."""
        self.lists = sorted(lists, key=len)
        total = sum(each.bound for each in self.lists)
        for each in self.lists:
            each.scale(total)
        self._rests = [0.0]
        for each in reversed(self.lists):
            self._rests.insert(0, self._rests[0] + each.bound / total)
        self.slack = (len(self.lists) + 16) * 2.0**-23

    def rest(self, done: int) -> float:
        """Return what the words after the first `done` can add together at most, but for rounding."""
        return self._rests[done]

    def unreachable(self, threshold: float, done: int) -> bool:
        """Return whether no row without any of the first `done` words is among the k best.

        threshold: the k-th best sum so far.
        """
        return self._rests[done] + self.slack < threshold - self.slack

    def may_be_unreachable(self, done: int) -> bool:
        """Return whether any threshold after `done` words can make `unreachable` true."""
        return 1.0 - self._rests[done] + 2.0 * self.slack > self._rests[done]

    def least(self, threshold: float, done: int) -> np.float32:
        """Return the sum below which a row cannot be among the k best any more, after `done` words."""
        return np.float32(threshold - self._rests[done] - 3.0 * self.slack)


def kth_best(shares: npt.NDArray[Real], k: int) -> float:
    """Return the k-th largest of `shares`, none of which is negative; 0.0 when there are fewer.

    k blocks have a largest element of at least the k-th largest of these, so no more than k - 1 blocks have a larger
    one, and elements above it are few. Numpy's partition takes 80 to 200 ns for each element when most are equal and
    few are larger; this takes less than 2.
    """
    while len(shares) >= _BLOCKS * _LEAST_BLOCK * k:
        blocks = _BLOCKS * k
        whole = len(shares) - len(shares) % blocks
        threshold = np.sort(shares[:whole].reshape(blocks, -1).max(axis=1))[blocks - k]
        larger = shares[shares > threshold]
        if len(larger) < k:
            return float(threshold)
        shares = larger
    return float(np.sort(shares)[len(shares) - k]) if len(shares) >= k else 0.0
