"""Machines: Hypothesis draws what happens next, a plain model says what follows, `doctor` looks after each action.

`pytest tests/machines` runs the same slice each time; `--hypothesis-profile=long` draws anew, and much more.
"""

import os

from hypothesis import settings

from tests.engine.conftest import (  # noqa: F401 - the machines' own fixtures
    moving_clock,
    outside,
    transactional_db,
    worker,
)

PUSH = settings(settings.get_profile("push"), max_examples=20, stateful_step_count=12)
LONG = settings(settings.get_profile("long"), max_examples=int(os.environ.get("AETHERIS_HISTORIES", "10000")))
