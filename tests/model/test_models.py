"""The protocol as a model, of which every state is visited; and mutants of it, each of which is refuted."""

import pytest

from tests.model.cases import MODELS, MUTANTS, Case
from tests.model.spin import WHY_NOT, check, is_here

pytestmark = pytest.mark.skipif(not is_here, reason=WHY_NOT)


@pytest.mark.parametrize("case", MODELS, ids=str)
def test_no_state_breaks_a_promise(case: Case):
    checked = check(case.model, case.defines)
    assert not checked.error, f"{checked.error}\n{checked.trail}"
    print(f"{case}: {checked.states:,} states in {checked.seconds:.1f} s")


@pytest.mark.parametrize("case", MUTANTS, ids=str)
def test_a_mutant_is_refuted_by_an_example(case: Case):
    checked = check(case.model, case.defines, is_small=True)
    assert checked.error, f"{case} breaks no promise in {checked.states:,} states"
    assert checked.trail or "invalid" in checked.error
