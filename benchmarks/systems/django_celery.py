"""The apps of a new Django project and Celery with threads: what a worker weighs that has neither Aetheris nor REST
framework in it. Each task has asked the database something."""

from typing import Any

import django
from celery.signals import task_prerun

django.setup()

from django.db import connection  # noqa: E402 - needs the settings

from benchmarks.systems.celery import serve, setup, submit, wait  # noqa: E402, F401 - the same tasks


@task_prerun.connect
def ask(**signal: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
