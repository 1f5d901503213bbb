"""manage.py submit: start a job."""

from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError

from runtime import planning
from runtime.exceptions import NotFinished
from runtime.management.base import JSON_HELP, AetherisCommand, operator, value_of
from runtime.management.shapes import job_in_full, payload
from runtime.models import Job


class Command(AetherisCommand):
    help = "Starts a job of an agent, or of a graph that comes with it, and says its id."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "agent", metavar="AGENT", nargs="?", help="its name; `manage.py agents` lists them"
        )
        parser.add_argument("--input", default="null", help=f"the job's input, {JSON_HELP}")
        parser.add_argument("--graph", metavar="FILE", help="a TaskGraph in JSON instead of an agent")
        parser.add_argument("--key", help="idempotency key: the same one again answers with the first job")
        parser.add_argument("--queue", help="where its steps run that say nothing else")
        parser.add_argument("--priority", type=int, help="of its steps that say nothing else, -1000 to 1000")
        parser.add_argument("--timeout", help="how long it may work: seconds, or 2h")
        parser.add_argument(
            "--deadline",
            metavar="MOMENT",
            type=datetime.fromisoformat,
            help="when it ends at the latest, in UTC",
        )
        parser.add_argument("--wait", type=float, metavar="SECONDS", help="come back when the job has ended")

    def answer(
        self,
        *,
        agent: str | None,
        input: str,
        graph: str | None,
        key: str | None,
        queue: str | None,
        priority: int | None,
        timeout: str | None,
        deadline: datetime | None,
        wait: float | None,
        **options: Any,
    ) -> dict[str, Any]:
        if (agent is None) == (graph is None):
            raise CommandError("Name an agent, or give a --graph, and not both.")
        job = planning.submit(
            agent,
            value_of(input, "input"),
            graph=value_of(f"@{graph}", "graph") if graph else None,
            idempotency_key=key,
            by=operator(),
            queue=queue,
            priority=priority,
            timeout=float(timeout) if timeout and timeout.replace(".", "", 1).isdecimal() else timeout,
            deadline=deadline,
        )
        if wait is not None:
            _await(job, wait)
        return job_in_full(Job.objects.get(pk=job.pk)) | {"waited": wait}

    def text(self, answer: dict[str, Any]) -> str:
        lines = [f"Job {answer['id']} of {answer['agent']} is {answer['status']}."]
        if answer["status"] == "completed":
            lines.append(f"Result: {payload(answer['result'])}")
        if answer["status"] == "waiting":
            waiting = [
                f"{step['key']} for {step['waiting_for']}" for step in answer["steps"] if step["waiting_for"]
            ]
            lines.append(f"It waits: {', '.join(waiting)}")
        lines.append(f"Follow it: manage.py trace {answer['id']}")
        return "\n".join(lines)

    def complaint(self, answer: dict[str, Any]) -> str:
        if answer["waited"] is None or answer["status"] == "completed":
            return ""
        if answer["finished_at"]:
            return f"Job {answer['id']} is {answer['status']}: {payload(answer['error'])}"
        return (
            f"Job {answer['id']} is {answer['status']} after {answer['waited']:g} s. It goes on without us."
        )


def _await(job: Job, seconds: float) -> None:
    try:
        job.wait(seconds)
    except NotFinished:
        job.refresh_from_db()
