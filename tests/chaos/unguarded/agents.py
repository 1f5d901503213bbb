"""Loaded with the agents, which are what an app brings. No deployment has tests among its apps."""

import os

import pytest
from django.conf import settings

from runtime.conf import settings as runtime_settings
from tests.chaos.trials import DRAIN_SECONDS, GUARD_OFF
from tests.guards import BY_NAME

settings.AETHERIS["DRAIN_SECONDS"] = DRAIN_SECONDS
runtime_settings.cache_clear()
if name := os.environ.get(GUARD_OFF):
    BY_NAME[name].patch(pytest.MonkeyPatch())
