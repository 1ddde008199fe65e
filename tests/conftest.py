"""What holds for every test: examples of properties have no deadline, because the machine may be busy."""

from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
