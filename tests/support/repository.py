"""The root folder of the repository: the working folder of child processes, and the start of every path to a file in
it.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
