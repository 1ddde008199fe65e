"""What holds for every test: examples of properties have no deadline, because the machine may be busy; and SIGINT can end the
processes that tests start, also when the tests themselves were started in the background of a shell, which ignores it."""

import signal

from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

signal.signal(signal.SIGINT, signal.default_int_handler)
