"""manage.py replay: the state of a job after one of its events."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from rich.console import Group, RenderableType

from runtime import fold
from runtime.management.base import AetherisCommand, add_job, named_job
from runtime.management.shapes import printable, table


class Command(AetherisCommand):
    help = (
        "Shows the state of a job after event N, from its events alone. Runs no step, no tool and no model."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_job(parser)
        parser.add_argument(
            "--to", type=int, metavar="N", help="the last event to replay (default: the last one)"
        )

    def answer(self, *, job: str, to: int | None, **options: Any) -> dict[str, Any]:
        found = named_job(job)
        if to is not None and not 1 <= to <= found.seq:
            raise CommandError(f"Job {found.pk} has the events 1 to {found.seq}; there is no event {to}.")
        return {"job": str(found.pk), "events": found.seq} | fold.state_at(found, to).as_json()

    def text(self, answer: dict[str, Any]) -> RenderableType:
        head = f"Job {answer['job']} is {answer['status']} after event {answer['seq']} of {answer['events']}."
        steps = [
            (key, step["status"], step["attempt"], step["failures"], step["branch"], step["waiting_for"])
            for key, step in answer["steps"].items()
        ]
        parts: list[RenderableType] = [head]
        if steps:
            parts.append(table(("step", "status", "attempt", "failures", "branch", "waits for"), steps))
        if answer["ledger"]:
            parts.append("\n".join(f"{printable(call)}: {state}" for call, state in answer["ledger"].items()))
        return Group(*parts)
