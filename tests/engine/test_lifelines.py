"""The early sign of a dead worker: its lifeline is cut and it misses its beats. One of the two alone is no sign."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from runtime import leases, lifelines, recovery
from runtime.clock import database_now
from runtime.incarnation import Incarnation
from runtime.lifelines import Lookout
from runtime.models import Job, Worker
from tests.engine.driving import claim, statuses


class TiedWorker(Incarnation):
    """Beats when the test says so, in a thread of its own, as the heartbeat does."""

    def start(self) -> None:
        self.thread = ThreadPoolExecutor(1)
        self.beat()

    def beat(self) -> None:
        self._in_thread(lambda: self._beat(tied=True))

    def session(self) -> int:
        pid: int = self._in_thread(lambda: lifelines.session())
        return pid

    def cut(self) -> None:
        """Lose the connection, and come back when PostgreSQL has noticed."""
        session = self.session()
        self._in_thread(lambda: connection.close())
        while _is_there(session):
            time.sleep(0.002)

    def end(self) -> None:
        self._in_thread(lambda: connection.close())
        self.thread.shutdown()

    def _in_thread(self, function: Callable[[], Any]) -> Any:
        return self.thread.submit(function).result()


def silent_for(worker: TiedWorker, clock: Any, seconds: float) -> None:
    """Its last beat was so long ago, however long it took to come here."""
    heard_at = Worker.objects.get(pk=worker.id).heartbeat_at
    clock.forward(seconds=seconds - (database_now() - heard_at).total_seconds())


def _is_there(session: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = %s)", [session])
        found: bool = cursor.fetchone()[0]
        return found


@pytest.fixture
def tied(outside) -> Iterator[TiedWorker]:
    worker = TiedWorker(name="tied")
    worker.start()
    yield worker
    worker.end()
    for job in Job.objects.unfinished():
        job.cancel()


@pytest.fixture
def job(tied) -> Job:
    """In the hands of a worker that has said so and has a lease."""
    job = Job.objects.submit("echo")
    step = claim(job, tied, "echo")
    leases.extend(tied.id, [(step.pk, step.attempt)])
    return job


@pytest.fixture
def lookout(outside) -> Lookout:
    """One whose session has lasted."""
    lookout = Lookout()
    lookout.dead()
    lookout._since -= 60
    return lookout


def test_a_step_of_a_dead_worker_is_rescued_though_its_lease_lives(tied, job, lookout, clock):
    tied.cut()
    clock.forward(seconds=2.1)
    assert lookout.dead() == [tied.id]
    assert recovery.rescue_dead(lookout.dead()) == 1
    assert statuses(job) == {"echo": "ready"}
    assert lookout.dead() == []


def test_a_worker_that_is_cut_off_is_given_its_next_beat(tied, job, lookout, clock):
    tied.cut()
    silent_for(tied, clock, 1)
    assert lookout.dead() == []
    assert 0 < lookout.soonest <= 1, "the sweeper comes back when it is over"


@pytest.mark.pg_slice
def test_nobody_is_rescued_because_his_session_was_terminated(tied, job, lookout, clock):
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [tied.session()])
    silent_for(tied, clock, 1)
    assert lookout.dead() == []
    tied._in_thread(lambda: connection.close())
    tied.beat()
    clock.forward(seconds=3)
    assert lookout.dead() == [], "the lifeline was taken again"


def test_a_worker_that_stands_still_has_its_whole_lease(tied, job, lookout, clock):
    clock.forward(seconds=4.9)
    assert lookout.dead() == []
    assert lookout.soonest > 1000
    clock.forward(hours=1)
    assert lookout.dead() == []


def test_a_session_that_has_just_begun_says_nothing(tied, job, lookout, clock):
    """As after a restart of PostgreSQL, which cuts every lifeline."""
    tied.cut()
    connection.close()
    clock.forward(seconds=3)
    assert lookout.dead() == []
    lookout._since -= 2.5
    assert lookout.dead() == []
    lookout._since -= 2.5
    assert lookout.dead() == [tied.id]


def test_behind_a_pooler_there_is_no_lifeline_and_the_lease_tells(tied, job, lookout, clock, monkeypatch):
    """Which names sessions otherwise than PostgreSQL does."""
    monkeypatch.setattr(lifelines, "session", lambda: 4711)
    tied.beat()
    assert Worker.objects.get(pk=tied.id).lifeline is None
    tied.cut()
    silent_for(tied, clock, 3)
    assert lookout.dead() == []
    assert recovery.rescue_lost() == 0
    silent_for(tied, clock, 5.1)
    leases.client().delete(*leases.client().keys("aetheris:lease:*"))
    assert (lookout.dead(), recovery.rescue_lost()) == ([], 1)


def test_a_lifeline_that_somebody_else_holds_is_none(outside):
    """Perhaps our own session of before, of which PostgreSQL has not heard that it is gone."""
    first = TiedWorker(name="first")
    first.start()
    second = TiedWorker(name="second", id=first.id)
    second.start()
    assert Worker.objects.get(pk=first.id).lifeline is None
    first.cut()
    first.end()
    second.beat()
    assert Worker.objects.get(pk=first.id).lifeline == lifelines.number(first.id)
    second.end()


def test_a_worker_that_ends_in_order_is_not_taken_for_dead_while_it_hands_back(
    tied, job, lookout, clock, monkeypatch
):
    seen = []

    def slowly(why: str) -> None:
        clock.forward(seconds=3)
        seen.append(lookout.dead())

    monkeypatch.setattr(tied, "hand_back", slowly)
    tied.cut()
    tied.stop()
    assert seen == [[]]


def test_a_worker_without_running_steps_is_not_looked_at(tied, lookout, clock, job):
    job.steps.get().complete()
    tied.cut()
    clock.forward(minutes=1)
    assert lookout._silences() == {}
