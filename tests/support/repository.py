"""The root folder of the repository: the working folder of child processes, and the base of every path in it."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
