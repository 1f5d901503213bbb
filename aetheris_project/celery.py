"""The Celery application: it carries hints to workers and decides nothing."""

import os
from pathlib import Path
from typing import Any

from celery import Celery
from celery.signals import setup_logging, task_prerun, worker_ready

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aetheris_project.settings")

app = Celery("aetheris")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@task_prerun.connect
def drop_broken_connections(**signal: Any) -> None:
    """Celery keeps connections open from task to task; one that broke meanwhile is replaced here."""
    from django.db import close_old_connections  # Django is set up by the time a task runs, not earlier

    close_old_connections()


@setup_logging.connect
def leave_logging_to_django(**signal: Any) -> None:
    """A receiver is all it takes: Celery then configures no logging of its own."""


@worker_ready.connect
def say_ready(**signal: Any) -> None:
    """Tells the stack, which waits for this file, that the worker takes hints."""
    if "AETHERIS_READY_FILE" in os.environ:
        Path(os.environ["AETHERIS_READY_FILE"]).touch()
