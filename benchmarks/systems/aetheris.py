"""Celery workers with threads, a sweeper, the public verbs `Job.objects.submit_many` and `Job.signal`; all settings are
the defaults. The client waits with `Job.objects.filter(…).wait()`."""

from collections.abc import Callable
from uuid import UUID

import django
from django.core.management import call_command

from aetheris_project import run
from benchmarks.orders import CONCURRENCY, Order

django.setup()

from runtime.models import Job  # noqa: E402 - models want Django set up


def setup() -> None:
    call_command("migrate", interactive=False, verbosity=0)


def serve(number: int, ready: Callable[[], None]) -> None:
    """AETHERIS_READY_FILE is what says that it is ready."""
    run.worker(f"worker-{number}", "threads", CONCURRENCY, ("realtime", "default", "background"))


def submit(orders: list[Order]) -> list[UUID]:
    wanted = [{"agent": f"{order.shape}_{order.size}", "input": {"name": order.name}} for order in orders]
    return [job.pk for job in Job.objects.submit_many(wanted) if isinstance(job, Job)]


def wait(handles: list[UUID]) -> list[int]:
    jobs = Job.objects.filter(pk__in=handles)
    jobs.wait(timeout=600)
    results = dict(jobs.values_list("pk", "result"))
    return [results[pk] for pk in handles]


def signal(handle: UUID) -> None:
    Job.objects.get(pk=handle).signal("go")
