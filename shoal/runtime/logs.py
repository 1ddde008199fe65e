"""Structured logs: one line per event that matters, `time level logger event key=value ...`, on stderr."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any


def configure_logs(level: str, role: str) -> None:
    """Send this process's logs to stderr. level: DEBUG, INFO, WARNING or ERROR. role: printed in every line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(f"%(asctime)s %(levelname)s {role} %(name)s %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)


class LogEvent:
    """Text of a log line. The text is built only when the line is written."""

    __slots__ = ("_fields", "_name")

    def __init__(self, name: str, fields: dict[str, Any]) -> None:
        self._name, self._fields = name, fields

    def __str__(self) -> str:
        return " ".join([self._name, *(f"{key}={_shown(value)}" for key, value in self._fields.items())])


def event(name: str, /, **fields: Any) -> LogEvent:
    """Return the text of a log line: the event's name and its fields."""
    return LogEvent(name, fields)


def _shown(value: Any) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if not text or any(sign in text for sign in ' "=\n') else text
