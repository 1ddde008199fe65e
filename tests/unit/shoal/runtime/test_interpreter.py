from __future__ import annotations

import subprocess
import sys

from shoal.runtime.interpreter import SWITCH_S

SETTLED = """
import gc, sys
from shoal.runtime.interpreter import settle_interpreter
settle_interpreter()
print(sys.getswitchinterval(), gc.get_freeze_count() > 1_000, gc.isenabled())
"""


def test_threads_change_soon_and_what_was_imported_is_not_looked_at_again() -> None:
    told = subprocess.run([sys.executable, "-c", SETTLED], capture_output=True, text=True, check=True, timeout=60).stdout
    assert told.split() == [str(SWITCH_S), "True", "True"]
