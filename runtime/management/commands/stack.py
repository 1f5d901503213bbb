"""manage.py stack: everything Aetheris needs on this machine, in one terminal."""

import json
import signal
import threading
from argparse import ArgumentParser
from types import FrameType
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from runtime.stack.errors import StackError
from runtime.stack.programs import Shape
from runtime.stack.supervisor import Supervisor


class Command(BaseCommand):
    help = (
        "Runs PostgreSQL and Valkey (unless DATABASE_URL and REDIS_URL name servers), migrates, and runs web, workers, "
        "sweeper and beat. Starts again what dies. Ctrl-C ends everything in order; a second Ctrl-C does not wait."
    )
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default=Shape.host, help="address to serve on (default: %(default)s)")
        parser.add_argument(
            "--port", type=int, default=Shape.port, help="or the next free one (default: %(default)s)"
        )
        parser.add_argument(
            "--workers", type=int, default=Shape.workers, help="workers with threads (default: %(default)s)"
        )
        parser.add_argument(
            "--concurrency", type=int, default=Shape.concurrency, help="threads each (default: %(default)s)"
        )
        parser.add_argument(
            "--heavy",
            type=int,
            default=Shape.heavy,
            help="processes for the queue `heavy` (default: %(default)s)",
        )
        parser.add_argument(
            "--capabilities",
            default=Shape.capabilities,
            metavar="NAMES",
            help="what steps may require of these workers, separated by commas, such as gpu",
        )
        parser.add_argument("--sweepers", type=int, default=Shape.sweepers, help="(default: %(default)s)")
        parser.add_argument("--no-beat", action="store_true", help="run no schedules")
        parser.add_argument(
            "--services-only",
            action="store_true",
            help="PostgreSQL and Valkey alone, without our own processes",
        )
        parser.add_argument(
            "--json", action="store_true", help="one line of JSON when everything answers, and nothing else"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        ending = threading.Event()
        try:
            say = self._keep_quiet if options["json"] else self._say
            stack = Supervisor(shape=_shape(options), say=say, echo=not options["json"], migrate=_migrate)
            _on_signals(stack, ending)
            with stack:
                stack.wait_ready()
                if options["json"]:
                    self._say(json.dumps(_addresses(stack)))
                else:
                    self._introduce(stack)
                ending.wait()
                say("Ending: the steps that run may finish. Ctrl-C again does not wait for them.")
        except StackError as error:
            raise CommandError(str(error)) from error

    def _introduce(self, stack: Supervisor) -> None:
        addresses = _addresses(stack)
        self._say(f"PostgreSQL: {addresses['database_url']}")
        self._say(f"Valkey:     {addresses['redis_url']}")
        self._say(f"Logs:       {addresses['logs']}")
        if addresses["url"]:
            self._say(f"Serving on {addresses['url']}")

    def _keep_quiet(self, line: str) -> None:
        """What the stack would tell a person; the logs have it."""

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


def _addresses(stack: Supervisor) -> dict[str, str | None]:
    return {
        "url": stack.url if stack.shape.web else None,
        "database_url": stack.environment["DATABASE_URL"],
        "redis_url": stack.environment["REDIS_URL"],
        "logs": str(stack.places.logs),
    }


def _shape(options: dict[str, Any]) -> Shape:
    if options["services_only"]:
        return Shape.servers_only()
    return Shape(
        host=options["host"],
        port=options["port"],
        workers=options["workers"],
        concurrency=options["concurrency"],
        heavy=options["heavy"],
        capabilities=options["capabilities"],
        sweepers=options["sweepers"],
        beat=not options["no_beat"],
    )


def _migrate() -> None:
    call_command("migrate", interactive=False, verbosity=0)


def _on_signals(stack: Supervisor, ending: threading.Event) -> None:
    def end(number: int, frame: FrameType | None) -> None:
        if ending.is_set():
            stack.hurry()
        ending.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
