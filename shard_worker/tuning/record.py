"""A Tuning as JSON values and back, so that a restart does not measure again. Impossible records are refused.

Records of earlier versions lack `remote`. Without it nobody can tell whether later queries are like those measured. So
these records count as measured on stand-ins, and real queries are measured anew.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from shoal.core.errors import DataLoss
from shoal.shard_worker.index.tuning import IndexShape, Measures, Tuning


def tuning_to_json(tuning: Tuning) -> dict[str, Any]:
    """Return the tuning as JSON values."""
    shape, measures = tuning.shape, tuning.measures
    return {
        "breadth_name": shape.breadth_name,
        "max_breadth": shape.max_breadth,
        "quantised": shape.quantised,
        "rows": shape.rows,
        "dim": shape.dim,
        "breadths": list(measures.breadths),
        "fetches": list(measures.fetches),
        "ranks": list(measures.ranks),
        "expected": measures.expected.tolist(),
        "surely": measures.surely.tolist(),
        "us": list(measures.us),
        "score_us": measures.score_us,
        "exact_call_us": measures.exact_call_us,
        "exact_row_us": measures.exact_row_us,
        "queries": measures.queries,
        "real": measures.real,
        "remote": list(measures.remote),
    }


def tuning_from_json(record: Any) -> Tuning:
    """Return the Tuning of a record. Raises DataLoss when the record is not valid."""
    try:
        shape = IndexShape(
            breadth_name=str(record["breadth_name"]),
            max_breadth=int(record["max_breadth"]),
            quantised=bool(record["quantised"]),
            rows=int(record["rows"]),
            dim=int(record["dim"]),
        )
        measures = Measures(
            breadths=tuple(int(value) for value in record["breadths"]),
            fetches=tuple(int(value) for value in record["fetches"]),
            ranks=tuple(int(value) for value in record["ranks"]),
            expected=np.array(record["expected"], dtype=np.float64),
            surely=np.array(record["surely"], dtype=np.float64),
            us=tuple(float(value) for value in record["us"]),
            score_us=float(record["score_us"]),
            exact_call_us=float(record["exact_call_us"]),
            exact_row_us=float(record["exact_row_us"]),
            queries=int(record["queries"]),
            real=bool(record["real"]) and "remote" in record,
            remote=tuple(float(value) for value in record.get("remote", ())),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataLoss(f"a record of measured recall cannot be read: {type(error).__name__}: {error}") from None
    if not _consistent(measures):
        raise DataLoss(f"a record of measured recall contradicts itself: {measures.expected.shape} values for {measures.breadths}")
    return Tuning(shape, measures)


def _consistent(measures: Measures) -> bool:
    axes = (measures.breadths, measures.fetches, measures.ranks)
    size = tuple(len(axis) for axis in axes)
    ascending = all(len(axis) > 0 and axis[0] >= 1 and all(a < b for a, b in pairwise(axis)) for axis in axes)
    shares = all(table.shape == size and bool(((table >= 0) & (table <= 1)).all()) for table in (measures.expected, measures.surely))
    costs = (*measures.us, measures.score_us, measures.exact_call_us, measures.exact_row_us)
    near = all(np.isfinite(value) for value in measures.remote) and list(measures.remote) == sorted(measures.remote)
    return ascending and shares and near and len(measures.us) == size[0] and all(np.isfinite(cost) and cost >= 0 for cost in costs)
