"""`manage.py demo`: the whole stack, the refund agent, and a witness that was not asked to be kind."""

import logging
import os
import secrets
import signal
from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from examples.refund.demo import scenes
from examples.refund.demo.judged import Judged
from examples.refund.demo.summary import Summary
from examples.refund.demo.world import World
from runtime import doctor
from runtime.stack.errors import StackError
from runtime.stack.places import Places
from runtime.stack.programs import Shape
from runtime.stack.supervisor import Supervisor

USER = "demo"
COLUMNS = (
    SpinnerColumn(),
    TextColumn("{task.description}"),
    BarColumn(),
    MofNCompleteColumn(),
    TimeElapsedColumn(),
)

Scene = Callable[[scenes.Stage, scenes.Progress], list[Judged]]


class Command(BaseCommand):
    help = (
        "Start everything on this machine and show the refund agent: small, approved, killed, many at once."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="approve by command, stop after the summary")
        parser.add_argument("--jobs", type=int, default=50, help="how many refunds at once (default 50)")
        parser.add_argument(
            "--port", type=int, default=8000, help="of the web pages; the next free one if taken"
        )

    def handle(self, *args: Any, once: bool, jobs: int, port: int, **options: Any) -> None:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        logging.getLogger("httpx").setLevel(logging.WARNING)  # the witness is asked many times a second
        demo = Demo(jobs, port)
        try:
            demo.run(serve=not once)
        except StackError as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            demo.console.print("Stopped.")
        if not demo.summary.held:
            raise CommandError(f"Not everything held: see the table above and {demo.report}.")


class Demo:
    """One run: start, play the scenes, tell, perhaps go on serving."""

    def __init__(self, jobs: int, port: int) -> None:
        self.console = Console(highlight=False)
        self.places = Places()
        self.world = World(self.places)
        self.summary = Summary()
        self.report = self.places.local / "demo.json"
        self._jobs = jobs
        self._stack = Supervisor(
            self.places,
            Shape(port=port),
            migrate=_migrate,
            extra_environment=self.world.environment,
            say=lambda text: self.console.print(text, markup=False, style="dim"),
        )

    def run(self, serve: bool) -> None:
        """All of it; everything is stopped again when this returns."""
        started = monotonic()
        self._introduce()
        self.places.prepare()
        with self.world, self._stack:
            self.world.wait_ready()
            self._stack.wait_ready()
            self.summary.started_seconds = monotonic() - started
            password = _demo_user(self.places.local / "demo_password")
            login = f"[bold]{self._stack.url}[/] (user {USER}, password {password})"
            self.console.print(
                f"Everything runs after {self.summary.started_seconds:.1f} s: {login}", soft_wrap=True
            )
            self._play(by_hand=serve)
            self.summary.seconds = monotonic() - started
            self._tell(login)
            if serve:
                self.console.print("Serving until Ctrl-C.")
                Event().wait()

    def _introduce(self) -> None:
        model = "a scripted one on this machine, because OPENAI_API_KEY is not set"
        if not self.world.model:
            model = os.environ.get("OPENAI_MODEL", "the default one") + ", because OPENAI_API_KEY is set"
        self.console.print(
            "[bold]Aetheris demo.[/] The payment service is a program apart, with its own record."
        )
        self.console.print(f"The model is {model}.")

    def _play(self, by_hand: bool) -> None:
        programme: list[tuple[str, Scene]] = [
            ("A small refund", scenes.small),
            (f"{self._jobs} refunds at once", partial(scenes.many, count=self._jobs)),
            ("A worker killed after the payment", scenes.killed),
            ("A large refund that a person approves", scenes.large),
        ]
        run = secrets.token_hex(3)
        stage = scenes.Stage(self.world.witness, run, USER, self._stack.url, self._stack.manage, by_hand)
        try:
            with Progress(*COLUMNS, console=self.console) as progress:
                for title, scene in programme:
                    self.summary.jobs += scene(stage, Bar(progress, title))
            self.summary.problems = self._doctor()
        except scenes.SceneFailed as failed:
            self.summary.failure = str(failed)

    def _doctor(self) -> list[dict[str, Any]]:
        """What `manage.py doctor` asks: every invariant of all jobs, and the events of these."""
        ours = [UUID(job.job) for job in self.summary.jobs]
        return [asdict(found) for found in [*doctor.examine(), *doctor.examine(ours, deep=True)]]

    def _tell(self, login: str) -> None:
        self.summary.write(self.report, url=self._stack.url, scripted_model=self.world.model is not None)
        self.console.print(self.summary.table())
        self.console.print(f"doctor: {self.summary.problems or 'found nothing'}", markup=False)
        if self.summary.failure:
            self.console.print(self.summary.failure, style="red", markup=False)
        self.console.print(f"Pages: {login}", soft_wrap=True)


class Bar:
    """A scene's line in the progress display."""

    def __init__(self, progress: Progress, title: str) -> None:
        self._progress = progress
        self._task = progress.add_task(title, total=1)

    def say(self, text: str) -> None:
        self._progress.console.print(f"  {text}", markup=False, soft_wrap=True)

    def advance(self, done: int, total: int) -> None:
        self._progress.update(self._task, completed=done, total=total)


def _migrate() -> None:
    call_command("migrate", interactive=False, verbosity=0)


def _demo_user(file: Path) -> str:
    """A superuser with a password of this checkout's own; the password."""
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(9))
    password = file.read_text()
    defaults = {"is_staff": True, "is_superuser": True}
    user, _ = get_user_model().objects.get_or_create(username=USER, defaults=defaults)
    user.set_password(password)
    user.save(update_fields=["password"])
    return password
