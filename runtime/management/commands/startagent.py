"""manage.py startagent: a package with an agent that runs, to make one's own from."""

import keyword
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError

from runtime.management.base import AetherisCommand

TEMPLATE = Path(__file__).parent.parent / "agent_template"
NEXT = """\
{name}/ holds an agent with one tool, and a test.

  tools.py    what it may do outside
  agents.py   its graph of steps

Run it:

  export AETHERIS_APPS={apps}
  ./dev stack                     # in a terminal of its own; one that runs already must be started again
  ./dev manage submit {name} --input '{{"city": "Athens"}}' --wait 30
  ./dev manage trace last
  ./dev manage test {name}        # while the stack runs: the test database is made beside the other one"""


class Command(AetherisCommand):
    help = "Makes a package with an agent that runs, and says what to do next."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", metavar="NAME", help="of the package and the agent, such as my_agent")
        parser.add_argument("--directory", help="where to put it (default: ./NAME)")

    def answer(self, *, name: str, directory: str | None, **options: Any) -> dict[str, Any]:
        if keyword.iskeyword(name):
            raise CommandError(f"{name!r} is a word of Python's own and cannot name a package.")
        target = Path(directory or name)
        if directory:
            target.mkdir(parents=True, exist_ok=True)
        call_command(
            "startapp", name, *([str(target)] if directory else []), template=str(TEMPLATE), verbosity=0
        )
        return {"name": name, "directory": str(target), "apps": ",".join([*settings.AETHERIS_APPS, name])}

    def text(self, answer: dict[str, Any]) -> str:
        return NEXT.format(**answer)
