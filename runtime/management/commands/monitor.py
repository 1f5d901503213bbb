"""manage.py monitor: where everything stands, on one screen."""

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.db import connection
from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from runtime import figures
from runtime.management.base import AetherisCommand, errors_told
from runtime.management.screen import screen


class Command(AetherisCommand):
    help = (
        "Shows jobs and steps by status, workers and their heartbeats, queues, leases, waits, and what needs somebody. "
        "Works while Redis is away."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--watch", action="store_true", help="show it again and again until Ctrl-C")
        parser.add_argument(
            "--interval", type=float, default=2.0, metavar="SECONDS", help="how often (default: %(default)s)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["watch"] and options["json"]:
            raise CommandError("--watch is for people; with --json ask as often as you like.")
        if not options["watch"]:
            return super().handle(*args, **options)
        try:
            self._watch(max(options["interval"], 0.2))
        except KeyboardInterrupt:
            return None

    def answer(self, **options: Any) -> dict[str, Any]:
        return figures.collect().as_json()

    def text(self, answer: dict[str, Any]) -> RenderableType:
        return screen(answer)

    def _watch(self, interval: float) -> None:
        with Live(console=Console(markup=False), screen=True, auto_refresh=False) as live:
            while True:
                live.update(self._now(), refresh=True)
                time.sleep(interval)

    def _now(self) -> RenderableType:
        """The screen, or why there is none: an outage is what one watches for."""
        try:
            with errors_told():
                return screen(self.answer())
        except CommandError as error:
            connection.close()
            return Text(str(error), style="red")
