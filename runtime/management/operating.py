"""What `cancel`, `pause`, `resume` and `retry` share: one verb, for jobs that are named or that a filter chooses."""

from argparse import ArgumentParser
from typing import Any, ClassVar

from django.core.management.base import CommandError
from rich.console import RenderableType

from runtime.exceptions import AetherisError
from runtime.management import many
from runtime.management.base import JOB_HELP, AetherisCommand, named_job, operator
from runtime.management.shapes import job_as_json, table
from runtime.models import Job


class OperatingCommand(AetherisCommand):
    """A job that cannot take the verb is named and does not keep the others from it."""

    verb: ClassVar[str]

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("jobs", metavar="JOB", nargs="*", help=JOB_HELP)
        parser.add_argument("--why", default="", help="a word for those who read the trace")
        many.add_arguments(parser)

    def answer(self, *, jobs: list[str], why: str, **options: Any) -> dict[str, Any]:
        if many.is_asked(options):
            if jobs:
                raise CommandError("Name jobs or choose them by a filter, not both.")
            return {"bulk": many.answer(self.verb, why, self.progress(), **options)}
        if not jobs:
            raise CommandError(
                "Which jobs? Name some, or choose them by a filter such as --agent or --status."
            )
        found = [named_job(name) for name in jobs]  # one that does not exist is a mistake: nothing is done
        return {"jobs": [self._act(job, why) for job in found]}

    def progress(self) -> bool:
        return bool(self.stderr.isatty())

    def text(self, answer: dict[str, Any]) -> RenderableType:
        if "bulk" in answer:
            return many.text(answer["bulk"])
        return table(
            ("job", "status", "paused", ""),
            [
                (job["id"], job["status"], "paused" if job["paused"] else "", job["error"])
                for job in answer["jobs"]
            ],
        )

    def complaint(self, answer: dict[str, Any]) -> str:
        if "bulk" in answer:
            return many.complaint(answer["bulk"])
        refused = [job["error"] for job in answer.get("jobs", ()) if job["error"]]
        return " ".join(refused)

    def _act(self, job: Job, why: str) -> dict[str, Any]:
        error = ""
        try:
            getattr(job, self.verb)(by=operator(), why=why)
        except AetherisError as refused:
            error = refused.message
            job.refresh_from_db()
        return job_as_json(job) | {"error": error}
