"""manage.py schedules: jobs that begin at given times."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from rich.console import RenderableType

from runtime import clock, schedules
from runtime.management.base import JSON_HELP, AetherisCommand, operator, value_of
from runtime.management.shapes import short_time, table
from runtime.models import Schedule
from runtime.timetables import Scheduled

VERBS = ("list", "add", "pause", "resume", "run-now", "remove", "sync")


class Command(AetherisCommand):
    help = "Lists schedules, makes one for an agent, or lets one rest, go on, run now, or go."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "verb", nargs="?", choices=VERBS, default="list", help="what to do (default: list)"
        )
        parser.add_argument("name", metavar="NAME", nargs="?", help="which schedule")
        parser.add_argument("--agent", help="of add: whose jobs begin (default: the one of this name)")
        parser.add_argument("--cron", default="", help="minute, hour, day of month, month, day of week")
        parser.add_argument("--every", metavar="DURATION", help="instead of --cron: 15m, 1h30m, 2d")
        parser.add_argument("--timezone", default="UTC", help="of --cron (default: %(default)s)")
        parser.add_argument("--input", default="null", help=f"the jobs' input, {JSON_HELP}")
        parser.add_argument("--queue", help="where its jobs run")
        parser.add_argument("--priority", type=int, help="of its jobs")
        parser.add_argument("--tenant", default="default", help="of its jobs (default: %(default)s)")
        parser.add_argument(
            "--overlap", choices=["skip", "allow"], default="skip", help="while the job before goes on"
        )
        parser.add_argument(
            "--catch-up", choices=["last", "none"], default="last", help="of ticks that nobody saw"
        )

    def answer(self, *, verb: str, name: str | None, **options: Any) -> dict[str, Any]:
        if verb == "sync":
            schedules.sync()
        elif verb != "list":
            if name is None:
                raise CommandError(f"Name the schedule to {verb}.")
            job = _do(verb, name, options)
            if job is not None:
                return {"job": str(job)}
        return {"schedules": [_as_json(row) for row in Schedule.objects.with_timing()]}

    def text(self, answer: dict[str, Any]) -> RenderableType:
        if "job" in answer:
            return f"Job {answer['job']} begins. Follow it: manage.py trace {answer['job']}"
        if not answer["schedules"]:
            return "There is no schedule. `manage.py schedules add NAME --agent AGENT --every 1h` makes one."
        columns = ("name", "agent", "timing", "next (UTC)", "last_tick (UTC)", "last_job", "last_error")
        return table(
            columns,
            [
                (row["name"], row["agent"], row["timing"],
                 short_time(row["next_at"]) if row["enabled"] else "rests",
                 short_time(row["last_tick_at"]), row["last_job"] or "", row["last_error"])
                for row in answer["schedules"]
            ],
        )  # fmt: skip


def _do(verb: str, name: str, options: dict[str, Any]) -> Any:
    match verb:
        case "add":
            schedules.add(options["agent"] or name, _scheduled(name, options), by=operator())
        case "pause":
            schedules.pause(schedules.named(name))
        case "resume":
            schedules.resume(schedules.named(name))
        case "remove":
            schedules.remove(schedules.named(name))
        case "run-now":
            return schedules.run_now(schedules.named(name), by=operator()).pk
    return None


def _scheduled(name: str, options: dict[str, Any]) -> Scheduled:
    same = ("cron", "every", "timezone", "queue", "priority", "tenant", "overlap", "catch_up")
    return Scheduled(
        name=name, input=value_of(options["input"], "input"), **{key: options[key] for key in same}
    )


def _as_json(row: Schedule) -> dict[str, Any]:
    following = row.tick_after(clock.now()) if row.is_enabled else None
    return {
        "name": row.name, "agent": row.agent, "timing": row.timing, "enabled": row.is_enabled,
        "next_at": following.isoformat() if following else None, "last_tick_at": row.last_tick_at.isoformat(),
        "last_job": str(row.last_job_id) if row.last_job_id else None, "last_error": row.last_error,
        "overlap": row.overlap, "catch_up": row.catch_up, "tenant": row.tenant, "is_declared": row.is_declared,
    }  # fmt: skip
