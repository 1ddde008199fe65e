"""Shows values in errors: whatever a caller gave, in few characters. Pure."""

from __future__ import annotations

SHOWN_CHARS = 80


def shown(value: object, most: int = SHOWN_CHARS) -> str:
    """Return the beginning of what Python shows of a value, of at most `most` characters and an ellipsis.

    Python refuses to show integers of thousands of digits.
    """
    try:
        text = repr(value)
    except ValueError:
        return f"an integer of {value.bit_length():,} bits" if isinstance(value, int) else f"a {type(value).__name__} with a huge integer"
    return text if len(text) <= most else f"{text[:most]}..."
