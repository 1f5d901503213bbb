"""Machines: Hypothesis draws what happens next, a plain model says what follows, `doctor` looks after each action.

`pytest tests/machines` runs the same slice each time; `--hypothesis-profile=long` draws anew, and much more.
"""

from hypothesis import HealthCheck, settings

from tests.engine.conftest import (  # noqa: F401 - the machines' own fixtures
    moving_clock,
    outside,
    transactional_db,
    worker,
)

PUSH = settings(
    max_examples=20,
    stateful_step_count=12,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
LONG = settings(PUSH, max_examples=10_000, stateful_step_count=40, derandomize=False)
settings.register_profile("long", LONG)
