"""Cuts texts of ASCII characters at spaces and signs that part words in any text: in a tenth of the time of a pattern.

A piece holds all of a written word, and perhaps several. What words a piece has is then remembered by piece.
"""

from __future__ import annotations

SIGNS = ".,"
"""Signs within a number. At an end of a piece they belong to no word."""

_DECIMAL = b"0.0"


def pieces_of(text: str) -> list[str]:
    """Return the pieces of a text of ASCII characters: letters, digits, underscores and apostrophes; dots and commas as
    well, if the text has one between two digits.
    """
    return piece_bytes(text.encode()).decode("ascii").split()


def piece_bytes(text: bytes) -> bytes:
    """Return the text, of ASCII characters, with spaces for all that is in no piece."""
    has_sign = b"." in text or b"," in text
    return text.translate(_DECIMALS if has_sign and _DECIMAL in text.translate(_SHAPES) else _WORDS)


def do_not_rest() -> None:
    """Go on with the work."""


def _kept(signs: bytes) -> bytes:
    """Return the table that replaces all but letters, digits and these signs by spaces."""
    return bytes(code if (chr(code).isascii() and chr(code).isalnum()) or code in signs else 0x20 for code in range(256))


_WORDS = _kept(b"_'")
_DECIMALS = _kept(b"_'.,")
_SHAPES = bytes(ord("0") if chr(code) in "0123456789" else ord(".") if chr(code) in ".," else 0x20 for code in range(256))
