"""manage.py sweeper: the supervised process that restores every lost reason to move."""

import json
import os
import signal
import threading
from argparse import ArgumentParser
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

import structlog
from django.core.management.base import BaseCommand
from django.db import DatabaseError, connection

from runtime import ports
from runtime.conf import settings
from runtime.incarnation import Incarnation
from runtime.recovery import Sweeper

logger = structlog.get_logger(__name__)


class Command(BaseCommand):
    help = (
        "Rescues steps of lost workers, ends overdue ones, wakes due waits, sends lost hints again, and runs ready "
        "steps itself while no hint can be sent. Any number may run at once."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="sweep once and say what was done")
        parser.add_argument("--json", action="store_true", help="with --once: say it as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["once"]:
            sweeper = _begin()
            swept = asdict(sweeper.sweep())
            told = ", ".join(f"{count} {what.replace('_', ' ')}" for what, count in swept.items())
            self.stdout.write(json.dumps(swept) if options["json"] else told)
            sweeper.end()
            return
        self._run()

    def _run(self) -> None:
        ending = threading.Event()
        sweeper: Sweeper | None = None

        def end(number: int, frame: FrameType | None) -> None:
            ending.set()
            if sweeper:
                sweeper.worker.drain()  # from here on its time is limited, whatever the sweep is waiting for

        signal.signal(signal.SIGTERM, end)
        signal.signal(signal.SIGINT, end)
        pause = 0.0
        while not ending.wait(pause):
            try:
                sweeper = sweeper or _begin()
                pause = sweeper.pause_after(sweeper.sweep())
            except DatabaseError as error:
                # PostgreSQL is away: whatever this round would have done, a later one will find again.
                logger.warning("sweep_failed", error=str(error).strip())
                connection.close()
                ending.wait(settings().sweep_seconds)
        if sweeper:
            sweeper.end()


def _begin() -> Sweeper:
    if settings().crash_at:
        ports.crash_hook = ports.kill_at(settings().crash_at)
    worker = Incarnation(role="sweeper", threads=settings().sweeper_threads)
    worker.start()
    if "AETHERIS_READY_FILE" in os.environ:
        Path(os.environ["AETHERIS_READY_FILE"]).touch()
    return Sweeper(worker)
