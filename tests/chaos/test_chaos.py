"""A slice of what `make chaos` does: more than a hundred faults of every kind, and Redis in every kind of trouble."""

from pathlib import Path

import pytest

from tests.chaos.conftest import verdicts
from tests.chaos.faults import DECK
from tests.chaos.ground import Ground
from tests.chaos.judge import Verdict
from tests.chaos.run import Chaos
from tests.chaos.storms import STORMS, Storm

SEED = 1
JOBS, FAULTS = 240, 104
IN_A_STORM = 24


def passed(verdict: Verdict, again: str) -> None:
    verdicts.append(verdict)
    told = "\n".join(verdict.violations)
    assert not verdict.violations, (
        f"{told}\n{verdict}\nAgain: make chaos ARGS='{again} --seed {verdict.seed}'"
    )


@pytest.mark.parametrize("storm", STORMS)
def test_redis_is_nothing(ground: Ground, tmp_path: Path, storm: str) -> None:
    """Whatever becomes of Redis: every job ends as it should, each call was made once, nothing is in doubt."""
    verdict = Storm(ground, tmp_path / "history.jsonl", storm, seed=SEED, jobs=IN_A_STORM).run()
    passed(verdict, f"--redis --jobs {IN_A_STORM}")
    assert not verdict.doubts


def test_a_hundred_faults_of_every_kind(ground: Ground, tmp_path: Path) -> None:
    """What is promised holds, and every doubt has its fault: none more of them than could meet calls in flight."""
    verdict = Chaos(ground, tmp_path / "history.jsonl", seed=SEED, jobs=JOBS, faults=FAULTS).run()
    passed(verdict, f"--jobs {JOBS} --faults {FAULTS}")
    assert verdict.faults.total() >= 100
    assert verdict.faults.keys() == DECK.keys()
