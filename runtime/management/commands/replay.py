"""manage.py replay: a job's past, from its record: its state, what changed, whether its steps do the same again."""

import math
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from rich.console import RenderableType

from runtime import diffs, replays, snapshots
from runtime.management import forking, replaying
from runtime.management.base import JSON_HELP, AetherisCommand, add_job, named_job, value_of
from runtime.models import Job


class Command(AetherisCommand):
    help = (
        "Shows the state of a job after event N, what differs between two of its states, or whether its steps do the "
        "same again on what was recorded. Runs no tool and no model."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_job(parser)
        what = parser.add_mutually_exclusive_group()
        what.add_argument(
            "--to", type=int, metavar="N", help="the last event to replay (default: the last one)"
        )
        what.add_argument("--diff", metavar="A..B", help="two event numbers of the job, or another job")
        what.add_argument(
            "--verify",
            action="store_true",
            help="check the chain, run the steps again on the record, and name the first divergence",
        )
        what.add_argument("--fork-from", metavar="STEP", help="say what a fork from this step would do")
        parser.add_argument(
            "--seconds", type=float, metavar="S", help="with --verify: what one attempt may take"
        )
        parser.add_argument(
            "--within", type=float, metavar="S", help="with --verify: what all attempts may take together"
        )
        parser.add_argument("--input", metavar="JSON", help=f"with --fork-from: another input, {JSON_HELP}")
        parser.add_argument("--yes", action="store_true", help="with --fork-from: fork")

    def answer(self, *, job: str, **options: Any) -> dict[str, Any]:
        found = named_job(job)
        if options["verify"]:
            within = math.inf if options["within"] is None else options["within"]
            return {
                "verification": replays.verify(found, seconds=options["seconds"], within=within).as_json()
            }
        if options["diff"] is not None:
            return _diff(found, options["diff"])
        if options["fork_from"] is not None:
            return _fork(found, options["fork_from"], options["input"], yes=options["yes"])
        return _state(found, options["to"])

    def text(self, answer: dict[str, Any]) -> RenderableType:
        if "verification" in answer:
            return replaying.verification(answer["verification"])
        if "diff" in answer:
            return replaying.diff(answer)
        return forking.text(answer) if "fork" in answer else replaying.state(answer)

    def complaint(self, answer: dict[str, Any]) -> str:
        if "verification" not in answer or answer["verification"]["good"]:
            return ""
        return "The job is not what its record says, or its steps are not repeatable: docs/replay.md says how to go on."


def _state(job: Job, to: int | None) -> dict[str, Any]:
    if to is not None and not 1 <= to <= job.seq:
        raise CommandError(f"Job {job.pk} has the events 1 to {job.seq}; there is no event {to}.")
    return {"job": str(job.pk), "events": job.seq} | snapshots.state_at(job, to).as_json()


def _diff(job: Job, sides: str) -> dict[str, Any]:
    before, dots, after = sides.partition("..")
    if not dots:
        other = named_job(sides)
        told = {"job": str(job.pk), "from": str(job.pk), "to": str(other.pk)}
        return told | {"diff": diffs.of_jobs(job, other).as_json()}
    if not (before.isdecimal() and after.isdecimal()):
        raise CommandError(f"--diff {sides}: give two event numbers, as in 3..9, or another job.")
    found = diffs.between(job, int(before), int(after))
    return {"job": str(job.pk), "from": before, "to": after, "diff": found.as_json()}


def _fork(job: Job, step: str, given: str | None, *, yes: bool) -> dict[str, Any]:
    changes = {} if given is None else {"input": value_of(given, "--input")}
    return forking.answer(job, step, yes=yes, **changes)
