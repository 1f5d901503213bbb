"""Celery workers with threads, a sweeper, the public verbs `Job.objects.submit` and `Job.signal`; all settings are
the defaults. The client polls the jobs' rows every 5 ms."""

import time
from collections.abc import Callable
from uuid import UUID

import django
from django.core.management import call_command

from aetheris_project import run
from benchmarks.orders import CONCURRENCY, Order

django.setup()

from runtime.models import Job  # noqa: E402 - models want Django set up

POLL_SECONDS = 0.005
CHUNK = 100


def setup() -> None:
    call_command("migrate", interactive=False, verbosity=0)


def serve(number: int, ready: Callable[[], None]) -> None:
    """AETHERIS_READY_FILE is what says that it is ready."""
    run.worker(f"worker-{number}", "threads", CONCURRENCY, ("realtime", "default", "background"))


def submit(orders: list[Order]) -> list[UUID]:
    return [Job.objects.submit(f"{order.shape}_{order.size}", {"name": order.name}).pk for order in orders]


def wait(handles: list[UUID]) -> list[int]:
    results: dict[UUID, int] = {}
    open_ = list(handles)
    while open_:
        found = dict(Job.objects.filter(pk__in=open_[:CHUNK]).finished().values_list("pk", "result"))
        results |= found
        open_ = [pk for pk in open_ if pk not in found]
        if open_ and not found:
            time.sleep(POLL_SECONDS)
    return [results[pk] for pk in handles]


def signal(handle: UUID) -> None:
    Job.objects.get(pk=handle).signal("go")
