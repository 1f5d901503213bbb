"""`manage.py check` tells what breaks the contract, with the place and the way out."""

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from runtime import agents
from runtime.agents import StepFunction
from runtime.checks import NUMBERS, check_steps
from runtime.contract import ValidatorUnusable, validators
from runtime.contract.default import ContractValidator
from runtime.contract.rules import CODES

BAD_APP = {
    "__init__.py": "",
    "agents.py": """
        import time

        from runtime.agents import step


        @step
        def stamped(context):
            return time.time()
    """,
}


def late(context):
    return time.time()


def test_every_code_has_a_number_of_its_own():
    assert set(NUMBERS) > CODES
    assert len(set(NUMBERS.values())) == len(NUMBERS)


def test_the_steps_of_the_tests_and_of_the_examples_pass():
    assert check_steps() == []


def test_a_violation_is_an_error_with_its_place_and_the_way_out(monkeypatch):
    monkeypatch.setitem(agents._functions, "late", StepFunction("late", late))

    [message] = check_steps()

    assert isinstance(message, checks.Error)
    assert message.id == "aetheris.E001"
    assert message.obj == f"{__file__}:{late.__code__.co_firstlineno + 1}"
    assert message.hint == "Instead: `context.now()`."
    assert message in checks.run_checks()


def test_a_step_without_source_is_a_warning(monkeypatch):
    namespace: dict[str, Any] = {}
    exec("def typed_in(context): pass", namespace)
    monkeypatch.setitem(agents._functions, "typed_in", StepFunction("typed_in", namespace["typed_in"]))

    [message] = check_steps()

    assert (message.id, message.level) == ("aetheris.W011", checks.WARNING)


def test_what_two_steps_share_is_told_once(monkeypatch):
    for name in ("one", "other"):
        monkeypatch.setitem(agents._functions, name, StepFunction(name, late))

    assert len(check_steps()) == 1


@pytest.mark.parametrize(
    ("path", "reason"),
    [("no.such.module.Validator", "No module named"), ("runtime.contract.rules.CLOCK", "cannot be used")],
)
def test_a_path_that_leads_to_no_validator_is_named(path, reason):
    with override_settings(AETHERIS={"STEP_VALIDATORS": (path,)}):
        with pytest.raises(ValidatorUnusable, match=reason):
            validators()
        [message] = check_steps()

    assert message.id == "aetheris.E090"
    assert path in message.msg


def test_the_default_is_the_runtimes_own():
    assert [type(validator) for validator in validators()] == [ContractValidator]


def test_a_misspelled_setting_is_refused():
    with override_settings(AETHERIS={"STEP_VALIDATOR": ()}), pytest.raises(ImproperlyConfigured):
        validators()


def test_manage_check_fails_on_a_violation(tmp_path: Path):
    app = tmp_path / "stamping"
    app.mkdir()
    for name, text in BAD_APP.items():
        (app / name).write_text(textwrap.dedent(text).lstrip())

    ended = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=settings.BASE_DIR,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "aetheris_project.settings",
            "AETHERIS_APPS": "stamping",
            "PYTHONPATH": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 1
    assert f"{app / 'agents.py'}:8: (aetheris.E001) [clock] `time.time` reads the clock" in ended.stderr
    assert "HINT: Instead: `context.now()`." in ended.stderr
