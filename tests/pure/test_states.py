"""One table decides the lifecycle of a step."""

import pytest

from runtime.states import STEP_ALLOWED_FROM, STEP_ARROWS


@pytest.mark.parametrize("verb", STEP_ARROWS)
def test_a_verb_moves_along_an_arrow_of_the_table(verb: str) -> None:
    arrow = STEP_ARROWS[verb]

    assert set(arrow.allowed_from) <= set(STEP_ALLOWED_FROM[arrow.to])
