"""What a payload is after a change, in the plainest form: on lists of (key, value), encoded with `json` alone."""

from __future__ import annotations

import json
from typing import Any

from shoal.core.filter import Path
from shoal.core.point_change import DeletePayload, PayloadChange, ReplacePayload, SetPayload

Members = list[tuple[str, Any]]


def text(value: Any) -> bytes:
    """Return the text of a payload as it is written after a change."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def payload_after(payload: bytes | None, change: PayloadChange) -> bytes:
    """Return a payload after a change; None counts as {}."""
    before = [] if payload is None else list(json.loads(payload).items())
    match change:
        case ReplacePayload(given):
            return given
        case SetPayload(given):
            members = json.loads(given)
            stay = [(key, members.get(key, value)) for key, value in before]
            known = [key for key, _ in before]
            return text(dict([*stay, *((key, value) for key, value in members.items() if key not in known)]))
        case DeletePayload(paths):
            for path in paths:
                before = _without(before, path)
            return text(dict(before))


def _without(members: Members, path: Path) -> Members:
    key, rest = path[0], path[1:]
    if not rest:
        return [member for member in members if member[0] != key]
    return [
        (each, dict(_without(list(value.items()), rest)) if each == key and isinstance(value, dict) else value) for each, value in members
    ]
