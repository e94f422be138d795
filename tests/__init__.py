"""Tests: `unit` needs nothing, `integration` the embedded engines, `e2e` whole processes."""

from hypothesis import settings

# A busy machine is no failure.
settings.register_profile("groupsms", deadline=None)
settings.load_profile("groupsms")
