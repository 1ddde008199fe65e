"""Names of segments and of their files.

name of a segment = its seq, "-", 8 random hexadecimal digits, and for a named vector "@" and the vector's name
name of a file    = name of its segment, ".", further parts
"""

from __future__ import annotations

import uuid


def segment_name(seq: int, vector: str) -> str:
    """Return a new name for a segment. seq: of the state that it holds; vector: "" for the index of the points."""
    name = f"{seq:016d}-{uuid.uuid4().hex[:8]}"
    return f"{name}@{vector}" if vector else name


def segment_of(name: str) -> str:
    """Return the name of the segment that a file with this name belongs to."""
    return name.partition(".")[0]


def vector_of(segment: str) -> str:
    """Return the name of the vector that a segment, or a file with this name, belongs to; "" for the points."""
    return segment_of(segment).partition("@")[2]
