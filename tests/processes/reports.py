"""What a failing test shows: what happened to its jobs, and what the processes said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import DatabaseError, InterfaceError, connection

from runtime.models import Job

if TYPE_CHECKING:
    from tests.processes.client import Client

MOST_JOBS = 3
LINES = 30


def report(client: Client) -> list[tuple[str, str]]:
    """Sections for pytest's report."""
    return [("events of jobs", _told(client)), *_logs(client)]


def _told(client: Client) -> str:
    connection.close()  # it may stand in the middle of what went wrong
    try:
        jobs = list(Job.objects.filter(pk__in=[job.pk for job in client.jobs]))
        open_jobs = [job for job in jobs if not job.is_finished]
        listed = "\n\n".join(_history(job) for job in (open_jobs or jobs)[:MOST_JOBS])
    except (DatabaseError, InterfaceError) as error:
        return f"the database cannot be asked: {error}"
    return f"{len(jobs)} jobs, {len(open_jobs)} of them not finished\n\n{listed}"


def _history(job: Job) -> str:
    lines = [f"{job} {job.status} {job.error or ''}"]
    lines += [
        f"  step {step.key}: {step.status} attempt {step.attempt} failures {step.failures} {step.waiting_for} "
        f"hints {step.hints} {step.error or ''}"
        for step in job.steps.all()
    ]
    lines += [f"  call {entry} of attempt {entry.attempt} {entry.error or ''}" for entry in job.ledger.all()]
    lines += [
        f"  {event.at:%H:%M:%S.%f} {event.seq:3} {event.type} {event.step or ''} {event.attempt or ''} {event.data} "
        f"by {str(event.worker)[-6:]}"
        for event in job.events.all()
    ]
    return "\n".join(lines)


def _logs(client: Client) -> list[tuple[str, str]]:
    sections = []
    for child in client.stack.children.values():
        if child.log.exists():
            lines = child.log.read_text(errors="replace").splitlines()[-LINES:]
            sections.append(
                (f"last lines of {child.name} ({'alive' if child.alive else 'ended'})", "\n".join(lines))
            )
    return sections
