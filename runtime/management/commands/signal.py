"""manage.py signal: tell a job something it waits for, or will."""

from argparse import ArgumentParser
from typing import Any

from runtime.management.base import JSON_HELP, AetherisCommand, add_job, named_job, operator, value_of


class Command(AetherisCommand):
    help = "Delivers a signal to a job. It is kept until a step waits for it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_job(parser)
        parser.add_argument("name", metavar="NAME", help="what the step waits for")
        parser.add_argument("--payload", default="null", help=f"what the step gets, {JSON_HELP}")
        parser.add_argument("--dedup-id", help="the same one again delivers nothing")

    def answer(
        self, *, job: str, name: str, payload: str, dedup_id: str | None, **options: Any
    ) -> dict[str, Any]:
        found = named_job(job)
        is_new = found.signal(name, value_of(payload, "payload"), dedup_id=dedup_id, sender=operator())
        return {"job": str(found.pk), "name": name, "delivered": is_new, "status": str(found.status)}

    def text(self, answer: dict[str, Any]) -> str:
        if not answer["delivered"]:
            return f"Job {answer['job']} had this signal before; nothing was delivered."
        return f"Delivered {answer['name']} to job {answer['job']}, which is {answer['status']}."
