"""Random payloads and filters over few keys and values, so that filters often match."""

from __future__ import annotations

from hypothesis import strategies as st

from shoal.core.filter import And, Contains, Exists, Filter, HasId, In, Not, Or, Prefix, Range

BIG = 2**53

scalars = st.sampled_from(
    [None, True, False, 0, 1, 3, 3.0, -0.0, 0.5, BIG, BIG + 1, float(BIG), 10**30, -(2**63) - 1, "", "1", "a", "ab", "é"]
)
keys = st.sampled_from(["a", "b", "a.b", "$x", "\\"])
paths = st.lists(keys, min_size=1, max_size=3).map(tuple)
point_ids = st.sampled_from([-1, 1, 2, "1", "x"])
numbers = st.sampled_from([0, 1, 3.0, 0.5, BIG, BIG + 1, float(BIG), 10**30])
texts = st.sampled_from(["", "1", "a", "ab", "é"])

values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=8)
payloads = st.none() | st.dictionaries(keys, values, max_size=3)

SIDES = ("gt", "gte", "lt", "lte")


def ranges(most: int = 4) -> st.SearchStrategy[Range]:
    """Return ranges of one to `most` bounds."""
    kinds: tuple[st.SearchStrategy[float | str], ...] = (numbers, texts)
    bounds = st.one_of([st.dictionaries(st.sampled_from(SIDES), kind, min_size=1, max_size=most) for kind in kinds])
    return st.builds(lambda path, given: Range(path, **given), paths, bounds)


def filters(most_bounds: int = 4, least_or: int = 0) -> st.SearchStrategy[Filter]:
    """Return trees of filters, a few levels deep."""
    tests = st.one_of(
        st.builds(In, paths, st.lists(scalars, max_size=3).map(tuple)),
        ranges(most_bounds),
        st.builds(Exists, paths),
        st.builds(Contains, paths, scalars),
        st.builds(Prefix, paths, texts),
        st.builds(HasId, st.lists(point_ids, max_size=3).map(tuple)),
    )
    return st.recursive(
        tests,
        lambda inner: st.one_of(
            st.builds(And, st.lists(inner, max_size=3).map(tuple)),
            st.builds(Or, st.lists(inner, min_size=least_or, max_size=3).map(tuple)),
            st.builds(Not, inner),
        ),
        max_leaves=6,
    )
