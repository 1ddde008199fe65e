"""What holds for every test: examples of properties have no deadline, because the machine may be busy; a property that
does not say how many it wants has fewer in the short form; and SIGINT can end the processes that tests start, also when
the tests themselves were started in the background of a shell, which ignores it."""

import signal

from hypothesis import settings

from tests.support.scope import LONG

settings.register_profile("short", deadline=None, max_examples=40)
settings.register_profile("long", deadline=None, max_examples=200)
settings.load_profile("long" if LONG else "short")

signal.signal(signal.SIGINT, signal.default_int_handler)
