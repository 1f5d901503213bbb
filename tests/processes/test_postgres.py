"""PostgreSQL crashes, falls silent, loses connections and rolls back amid fifty jobs. What it acknowledged holds."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from django.db import connection

from runtime.models import Event
from tests.faults.proxy import Moment, Proxy
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
        assert terminated
    client.until_finished(*jobs)
    load.assert_done_once(client, jobs)
    assert client.events(jobs, *load.INTERVENTIONS) == []


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def test_connections_reset_in_the_middle(client: Client, before_postgres: Proxy) -> None:
    jobs = load.begin(client)
    for share in (0.3, 0.5, 0.7):
        load.until_done(client, jobs, share)
        assert before_postgres.reset_all()
    client.until_finished(*jobs)
    load.assert_done_once(client, jobs)


def test_silent_in_the_middle(client: Client, before_postgres: Proxy) -> None:
    """Connections are open and nothing comes: as when a machine stands still. Nobody takes that for a death."""
    jobs = load.begin(client)
    before_postgres.freeze()
    time.sleep(3)  # that nothing happens for a while is the test
    before_postgres.mend()
    client.until_finished(*jobs)
    load.assert_done_once(client, jobs)
    assert client.events(jobs, *load.INTERVENTIONS) == []


@pytest.mark.parametrize("moment", Moment)
def test_whether_a_commit_happened_is_found_out(
    client: Client, before_postgres: Proxy, moment: Moment
) -> None:
    """Twenty connections break around a commit. What was committed is not done again, what was not is."""
    jobs = [client.submit("errand", seconds=0.1) for _ in range(30)]
    for _ in range(20):
        assert before_postgres.cut(moment).done.wait(60), "there is always somebody who commits"
    client.until_finished(*jobs)
    load.assert_done_once(client, jobs)
    assert client.events(jobs, *load.INTERVENTIONS) == []


@pytest.mark.parametrize("code", ["40P01", "40001"], ids=["deadlock", "serialization"])
def test_turns_that_postgresql_rolls_back_are_sent_again(client: Client, code: str) -> None:
    with _failing_turns(code):
        jobs = load.begin(client, jobs=20)
        client.until_finished(*jobs)
    load.assert_untouched(client, jobs)


@contextmanager
def _failing_turns(code: str) -> Iterator[None]:
    """Each seventh statement that writes events fails as the loser of a deadlock does."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE SEQUENCE writes; CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "IF nextval('writes') % 7 = 0 THEN RAISE EXCEPTION 'as if' USING ERRCODE = TG_ARGV[0]; END IF; "
            "RETURN NULL; END $$; CREATE TRIGGER fail BEFORE INSERT ON aetheris_event "
            f"FOR EACH STATEMENT EXECUTE FUNCTION fail('{code}')"
        )
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TRIGGER fail ON aetheris_event; DROP FUNCTION fail; DROP SEQUENCE writes")


def _terminate(*processes: str) -> int:
    """End every session of these processes; how many there were."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE ANY (%s)",
            [list(processes)],
        )
        count: int = cursor.fetchone()[0]
        return count
