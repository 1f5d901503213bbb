"""PostgreSQL stops as in a crash and starts again in the middle of fifty jobs. What it acknowledged holds."""

import signal
import time
from datetime import UTC, datetime

from django.db import connection

from runtime.models import Event
from tests.processes import load
from tests.processes.client import Client


def test_restarted_in_the_middle(client: Client) -> None:
    jobs = load.begin(client)
    client.child("postgres").restart(signal.SIGQUIT)
    back_at = time.time()
    client.until_finished(*jobs)
    moved_at = (
        Event.objects.filter(job__in=[job.pk for job in jobs], at__gt=_moment(back_at)).earliest("at").at
    )
    client.took("workers after a restart of PostgreSQL", moved_at.timestamp() - back_at)
    load.assert_done_once(client, jobs)
    assert client.events(jobs, *load.INTERVENTIONS) == []


def test_sessions_terminated_in_the_middle(client: Client) -> None:
    """That of a heartbeat is its worker's lifeline: it is taken again before anybody takes it for a sign of death."""
    jobs = load.begin(client)
    for share in (0.3, 0.5, 0.7):
        load.until_done(client, jobs, share)
        terminated = _terminate("worker-%", "sweeper-%")
        assert terminated >= 3
    client.until_finished(*jobs)
    load.assert_done_once(client, jobs)
    assert client.events(jobs, *load.INTERVENTIONS) == []


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _terminate(*processes: str) -> int:
    """End every session of these processes; how many there were."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE ANY (%s)",
            [list(processes)],
        )
        count: int = cursor.fetchone()[0]
        return count
