"""What the commands share: `--json`, one way to name a job or a user, and errors that end in one sentence."""

from __future__ import annotations

import getpass
import json
import re
import shutil
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, OperationalError
from rich.console import Console, RenderableType

from runtime import strict_json
from runtime.conf import settings
from runtime.exceptions import AetherisError, InputInvalid, JobNotFound
from runtime.graph import GraphInvalid
from runtime.models import Job

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

JOB_HELP = "its id, the beginning of one, or `last`"
JSON_HELP = "as JSON, as @FILE, or as - for standard input"
NO_TERMINAL_WIDTH = 200
NO_SUCH_TABLE, NO_SUCH_FUNCTION = "42P01", "42883"


class AetherisCommand(BaseCommand):
    """Fetch, call one verb, answer: as text, or as JSON for a program to read."""

    requires_system_checks = []

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parser.add_argument("--json", action="store_true", help="answer as JSON")
        return parser

    def handle(self, *args: Any, **options: Any) -> None:
        with errors_told():
            answer = self.answer(**options)
        if options["json"]:
            self.stdout.write(json.dumps(answer, indent=2, ensure_ascii=not _speaks_utf8(self.stdout)))
        else:
            self.stdout.write(self.rendered(self.text(answer)))
        if complaint := self.complaint(answer):
            raise CommandError(complaint)

    def answer(self, *args: Any, **options: Any) -> Any:
        """What the command does and has to say, as JSON."""
        raise NotImplementedError

    def text(self, answer: Any) -> RenderableType:
        """The same for people."""
        raise NotImplementedError

    def complaint(self, answer: Any) -> str:
        """Why the command ends with exit code 1 although it did what it was asked; empty if it does not."""
        return ""

    def rendered(self, content: RenderableType) -> str:
        is_terminal = self.stdout.isatty()
        width = shutil.get_terminal_size().columns if is_terminal else NO_TERMINAL_WIDTH
        console = Console(
            file=StringIO(),
            width=width,
            force_terminal=is_terminal,
            markup=False,
            highlight=False,
            emoji=False,
        )
        # A path or an id that is cut in two by a line break cannot be copied.
        console.print(content, soft_wrap=isinstance(content, str))
        return "\n".join(line.rstrip() for line in console.file.getvalue().rstrip("\n").split("\n"))  # type: ignore[attr-defined]


@contextmanager
def errors_told() -> Iterator[None]:
    """Errors that name what happened and the way out end the command with their message, others with a traceback."""
    try:
        yield
    except (AetherisError, GraphInvalid) as error:
        raise CommandError(str(error)) from error
    except OperationalError as error:
        raise CommandError(
            f"PostgreSQL cannot be asked: {str(error).strip()}. `make stack` starts one; DATABASE_URL names another."
        ) from error
    except DatabaseError as error:
        if getattr(error.__cause__, "sqlstate", None) in (NO_SUCH_TABLE, NO_SUCH_FUNCTION):
            raise CommandError(
                "The database has no tables of this version yet: run `manage.py migrate`."
            ) from error
        raise


def add_job(parser: ArgumentParser) -> None:
    parser.add_argument("job", metavar="JOB", help=JOB_HELP)


def named_job(text: str) -> Job:
    """The job with this id, with an id that begins so, or the last one. Raises `JobNotFound`."""
    if text == "last":
        found = list(Job.objects.order_by("-id")[:1])
    else:
        digits = text.replace("-", "").lower()
        if not re.fullmatch("[0-9a-f]{1,32}", digits):
            raise JobNotFound(text)
        bounds = (UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f")))
        found = list(Job.objects.filter(pk__range=bounds)[:2])
    if len(found) > 1:
        raise CommandError(f"The ids of several jobs begin with {text}: give more of it.")
    if not found:
        raise JobNotFound(text)
    return found[0]


def named_user(name: str) -> AbstractBaseUser:
    users = get_user_model()
    try:
        return users.objects.get_by_natural_key(name)
    except users.DoesNotExist as error:
        raise CommandError(
            f"There is no user {name!r}. `manage.py createsuperuser` makes one; the admin pages, too."
        ) from error


def value_of(text: str, place: str) -> Any:
    """A JSON value from the command line, from `@file`, or from standard input (`-`). Raises `InputInvalid`."""
    try:
        if text == "-":
            source: bytes | str = sys.stdin.read()
        elif text.startswith("@"):
            source = Path(text[1:]).read_bytes()
        else:
            source = text
        return strict_json.loads(source, settings().max_value_bytes, settings().max_depth)
    except OSError as error:
        raise CommandError(f"{place}: {error.filename} cannot be read: {error.strerror}.") from error
    except strict_json.InvalidValue as error:
        where = f"{place}.{error.path}" if error.path and error.path[0] != "[" else place + error.path
        raise InputInvalid(where, error.reason) from error


def operator() -> str:
    """Who acts from a shell: the user of the machine."""
    try:
        return f"shell:{getpass.getuser()}"
    except (KeyError, OSError):  # an account without a name, as in some containers
        return "shell"


def _speaks_utf8(stream: Any) -> bool:
    return (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "") == "utf8"
