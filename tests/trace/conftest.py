"""Hypothesis judges what is drawn, not how fast this machine draws it."""

from hypothesis import settings

settings.register_profile("labserver", deadline=None)
settings.load_profile("labserver")
