"""With any one guard switched off the simulation reports it: a test with no teeth shows nothing."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from tests.guards import GUARDS, Guard
from tests.simulation.guards import WEATHER
from tests.simulation.running import Run

MOST = 60
"""Seeds within which it is noticed."""


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_without_a_guard_the_simulation_reports_violations(
    guard: Guard, transactional_db: None, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    guard.patch(monkeypatch)
    logging.disable(logging.CRITICAL)
    with Run(*guard.edits, weather=WEATHER[guard.name]) as run:
        found = next((found for seed in range(1, MOST + 1) if (found := run.seed(seed)).violations), None)
    assert found is not None, f"{MOST} seeds without the {guard.name}, and nothing was noticed"
    with capsys.disabled():
        print(f"\nwithout the {guard.name}: noticed by seed {found.seed}: {found.violations[0][:150]}")
