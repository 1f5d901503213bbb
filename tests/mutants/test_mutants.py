"""The protocol, broken on purpose in one place at a time: the tests of the engine must see each."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from tests.engine.conftest import empty_tables
from tests.mutants import children
from tests.mutants.applying import RUNTIME, Mutant, in_database, in_this_process, mutated
from tests.mutants.mutants import MUTANTS

FAILED = 1
"""What pytest answers where a test failed; other codes mean that it could not run them."""


@pytest.fixture(autouse=True)
def transactional_db(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Named as pytest-django's, which makes the database only for those who ask for one of that name."""
    with django_db_blocker.unblock():
        yield
        empty_tables()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "_"))
def test_a_broken_protocol_is_noticed(mutant: Mutant, tmp_path: Path):
    output = tmp_path / "output"
    with in_database(mutant) if mutant.is_sql else nullcontext():
        before = (lambda: None) if mutant.is_sql else (lambda: in_this_process(mutant))
        answer = children.run(mutant.nodes, output, before=before)
    assert answer == FAILED, f"{mutant.name}: pytest answered {answer}\n{output.read_text()[-3000:]}"


def test_every_mutant_fits_the_code_and_has_a_name_of_its_own():
    for mutant in MUTANTS:
        mutated(mutant, (RUNTIME / mutant.file).read_text())
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 40


def test_the_tests_that_catch_mutants_pass_without_one(tmp_path: Path):
    nodes = sorted({node for mutant in MUTANTS for node in mutant.nodes})
    answer = children.run(nodes, tmp_path / "output", before=lambda: None)
    assert answer == 0, (tmp_path / "output").read_text()[-3000:]
