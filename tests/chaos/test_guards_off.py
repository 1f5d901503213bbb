"""With any one guard switched off process chaos reports it, and with all of them the same jobs and faults are borne."""

from pathlib import Path

import pytest
from pytest_django.plugin import DjangoDbBlocker

from runtime.stack.places import Places
from tests import services
from tests.chaos import trials
from tests.chaos.conftest import verdicts
from tests.chaos.ground import ground

pytestmark = pytest.mark.slow
SEED = 1


def places() -> Places:
    return Places(instance=f"{services.slot().instance}/trials")


@pytest.mark.parametrize("guard", trials.TRIALS)
def test_without_a_guard_chaos_reports_violations(
    guard: str, tmp_path: Path, django_db_blocker: DjangoDbBlocker
) -> None:
    off = {trials.GUARD_OFF: guard}
    with django_db_blocker.unblock(), ground(places(), trials.APP, **off) as found:
        verdict = trials.run(found, tmp_path / "history.jsonl", guard, seed=SEED, is_off=True)
    verdicts.append(verdict)
    assert verdict.violations


def test_with_all_of_them_the_same_is_borne(tmp_path: Path, django_db_blocker: DjangoDbBlocker) -> None:
    with django_db_blocker.unblock(), ground(places(), trials.APP) as found:
        for guard in trials.TRIALS:
            verdict = trials.run(found, tmp_path / "history.jsonl", guard, seed=SEED, is_off=False)
            verdicts.append(verdict)
            assert verdict.violations == []
