"""How long to wait before trying again. Pure: the randomness comes in."""

from __future__ import annotations

FIRST_S = 0.1
LONGEST_S = 2.0


def backoff_s(failures: int, jitter: float) -> float:
    """Seconds to wait after so many failures in a row (>= 1). jitter: in [0, 1), spreads those who failed together.

    Doubles from FIRST_S up to LONGEST_S, of which between half and all is waited.
    """
    ceiling = min(LONGEST_S, FIRST_S * 2.0 ** min(failures - 1, 16))
    return ceiling * (0.5 + 0.5 * jitter)
