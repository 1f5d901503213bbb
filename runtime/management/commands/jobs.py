"""manage.py jobs: the jobs, the last one first."""

from argparse import ArgumentParser
from typing import Any

from rich.console import RenderableType

from runtime.management.base import AetherisCommand
from runtime.management.shapes import job_as_json, short_time, table
from runtime.models import Job
from runtime.states import JobStatus


class Command(AetherisCommand):
    help = "Lists jobs, the last one first."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--status", choices=JobStatus.values, help="only these")
        parser.add_argument("--agent", help="only this agent's")
        parser.add_argument("--limit", type=int, default=20, help="how many at most (default: %(default)s)")

    def answer(self, *, status: str | None, agent: str | None, limit: int, **options: Any) -> dict[str, Any]:
        jobs = Job.objects.for_list().order_by("-id")
        if status:
            jobs = jobs.filter(status=status)
        if agent:
            jobs = jobs.filter(agent=agent)
        return {"jobs": [job_as_json(job) for job in jobs[: max(limit, 0)]]}

    def text(self, answer: dict[str, Any]) -> RenderableType:
        if not answer["jobs"]:
            return "There is no such job."
        return table(
            ("job", "agent", "status", "submitted (UTC)", "ended (UTC)", "events"),
            [
                (job["id"], job["agent"], job["status"], short_time(job["created_at"]), short_time(job["finished_at"]),
                 job["seq"])
                for job in answer["jobs"]
            ],
        )  # fmt: skip
