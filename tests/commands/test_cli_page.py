"""`docs/cli.md` tells of every command and every option, and of none that does not exist."""

import re
from argparse import Action
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand, DjangoHelpFormatter

from runtime.management.base import AetherisCommand
from tests.docs.pages import Page, codes

ROOT = Path(__file__).parents[2]
PAGE = Page(ROOT / "docs" / "cli.md")
OURS = sorted(name for name, app in get_commands().items() if app in ("runtime", "examples.refund"))


def command(name: str) -> BaseCommand:
    return load_command_class(str(get_commands()[name]), name)


def actions(name: str) -> list[Action]:
    """Its arguments, without those that every command has."""
    common = {*DjangoHelpFormatter.show_last, "--help", "--json"}
    found = command(name).create_parser("manage.py", name)._actions
    return [action for action in found if not common & set(action.option_strings)]


def documented() -> list[str]:
    return re.findall(r"^### (\w+)$", PAGE.text, re.MULTILINE)


def test_every_command_has_its_section():
    assert sorted(documented()) == OURS


@pytest.mark.parametrize("name", OURS)
def test_every_option_is_told_and_none_that_does_not_exist(name: str):
    told = [word.split()[0] for row in PAGE.rows(under=name) for word in codes(row[0])]
    real = [option for action in actions(name) for option in action.option_strings if option.startswith("--")]

    assert sorted(word for word in told if word.startswith("--")) == sorted(real)


@pytest.mark.parametrize("name", [name for name in OURS if isinstance(command(name), AetherisCommand)])
def test_a_command_answers_json_and_says_what_it_is_for(name: str):
    parser = command(name).create_parser("manage.py", name)

    assert "--json" in parser._option_string_actions
    assert parser.description
    assert all(action.help for action in actions(name))
