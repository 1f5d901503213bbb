"""The checker reports every violation that is planted into a good history, and nothing of the good one."""

import pytest

from tests.history import checker
from tests.history.planted import PLANTED, Planted
from tests.history.tampering import Tampered

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name)
def test_a_planted_violation_is_reported(real_history, planted: Planted):
    history = Tampered(real_history)
    planted.tamper(history)
    found = checker.judge(history.lines(sealed=planted.sealed))
    assert planted.rule in {violation.rule for violation in found}, found


def test_sealing_a_good_history_anew_breaks_nothing(real_history):
    assert checker.judge(Tampered(real_history).lines(sealed=True)) == []


def test_every_rule_was_broken_once():
    assert {planted.rule for planted in PLANTED} | {"format"} == checker.RULES.keys()
    assert len(PLANTED) >= 30


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"record": "step"}', '{"record": "nothing"}', '{"record": "run"}']
)
def test_a_line_that_cannot_be_read_is_a_violation(line):
    [found] = checker.judge([line])
    assert (found.rule, "line 1" in found.sentence) == ("format", True)
