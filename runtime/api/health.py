"""Whether this process can serve. `/healthz` answers while it lives, `/readyz` when it can do its work."""

from django.core.management.base import CommandError
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache

from runtime import leases
from runtime.exceptions import LeaseUnavailable

_migrated = False
"""Remembered once it is so: a running process does not lose its migrations."""


@never_cache
def alive(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok\n", content_type="text/plain")


@never_cache
def ready(request: HttpRequest) -> JsonResponse:
    """503 until the database answers and has every migration. Without Redis the system is slower, not stopped."""
    checks = {"database": _database(), "redis": _redis()}
    checks["migrations"] = _migrations() if checks["database"] == "ok" else "not known"
    can_serve = checks["database"] == checks["migrations"] == "ok"
    return JsonResponse({"ready": can_serve, "checks": checks}, status=200 if can_serve else 503)


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        return f"down: {type(error).__name__}"
    return "ok"


def _migrations() -> str:
    global _migrated
    if not _migrated:
        try:
            executor = MigrationExecutor(connection)
            plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
        except (DatabaseError, CommandError) as error:
            return f"not known: {type(error).__name__}"
        if plan:
            return f"{len(plan)} to apply: run `manage.py migrate`"
        _migrated = True
    return "ok"


def _redis() -> str:
    try:
        leases.queue_depths({"default"})
    except LeaseUnavailable:
        return "down: the sweeper runs steps until it is back"
    return "ok"
