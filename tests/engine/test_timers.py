"""Timers and deadlines: rows with a moment, which survive everything and fire once."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runtime import clock as the_clock
from runtime import recovery
from runtime.exceptions import StaleAttempt
from runtime.execution import run_step
from runtime.graph import Graph, GraphInvalid
from runtime.incarnation import Incarnation
from runtime.models import Job, Wait
from runtime.outcomes import Waiting
from runtime.ports import CrashPoint
from tests.engine.driving import (
    calling,
    claim,
    crash_at,
    doing,
    run_once,
    statuses,
    step_of,
    submit,
    told,
    why,
)
from tests.engine.driving import drive as drive_with
from tests.engine.scoped import during, mapping, run_alone


def timer(duration: Any = None, /, **keys: Any) -> Graph:
    graph = Graph()
    graph.timer("t", duration, **keys) >> graph.function("after", "say", value="rang")
    return graph


def deadline(job: Job) -> datetime:
    found = job.waits.get(closed_at__isnull=True).deadline_at
    assert found is not None
    return found


@pytest.mark.pg_slice
def test_a_timer_holds_the_job_for_its_time_and_not_longer(drive, clock):
    job = drive(submit(timer("1h")))
    assert (job.status, step_of(job, "t").waiting_for) == ("waiting", "timer:t")
    clock.forward(minutes=59)
    assert recovery.wake_due() == 0
    clock.forward(minutes=1, seconds=1)
    assert recovery.wake_due() == 1
    assert (drive(job).status, job.result) == ("completed", "rang")
    assert told(job, step="t") == [
        "step_claimed", "step_parked", "timer_fired", "step_resumed", "step_claimed", "step_completed",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "duration, seconds",
    [(90, 90), (0.5, 0.5), ("90s", 90), ("2d", 172_800), ("1h30m", 5400), ("365d", 31_536_000)],
)
def test_a_duration_may_be_written_in_many_ways(duration, seconds, drive):
    job = drive(submit(timer(duration)))
    parked = job.events.get(type="step_parked")
    assert parked.data["timeout_ms"] == seconds * 1000
    assert abs((deadline(job) - parked.at).total_seconds() - seconds) < 0.001


def test_a_timer_of_a_year_fires_after_a_year(drive, clock):
    job = drive(submit(timer("365d")))
    clock.forward(days=364, hours=23)
    assert recovery.wake_due() == 0
    clock.forward(hours=2)
    assert recovery.wake_due() == 1
    assert drive(job).status == "completed"


def test_a_timer_may_wait_until_a_moment_that_the_input_names(drive, clock):
    moment = the_clock.now() + timedelta(hours=3)
    job = drive(submit(timer(until="${input.at}"), {"at": moment.isoformat()}))
    assert deadline(job) == moment
    clock.forward(hours=2)
    assert recovery.wake_due() == 0
    clock.forward(hours=1, seconds=1)
    assert recovery.wake_due() == 1
    assert drive(job).result == "rang"


@pytest.mark.parametrize(
    "text, moment",
    [
        ("2030-01-31T09:00:00Z", datetime(2030, 1, 31, 9, tzinfo=UTC)),
        ("2030-01-31T09:00:00+02:00", datetime(2030, 1, 31, 7, tzinfo=UTC)),
        ("2030-01-31T09:00:00", datetime(2030, 1, 31, 9, tzinfo=UTC)),
        ("2030-01-31", datetime(2030, 1, 31, tzinfo=UTC)),
        ("8999-12-31T23:59:59.999999Z", datetime(8999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
    ],
)
def test_a_moment_without_a_zone_is_in_utc(text, moment, drive):
    assert deadline(drive(submit(timer(until=text)))) == moment


def test_a_moment_in_the_past_fires_with_the_next_sweep(drive):
    job = drive(submit(timer(until="2001-01-01")))
    assert job.status == "waiting"
    assert recovery.wake_due() == 1
    assert drive(job).status == "completed"


@pytest.mark.parametrize("moment", ["tomorrow", " ", "${input}", "2030-13-01", "99999-01-01"])
def test_what_is_no_moment_fails_the_step_at_once_and_says_how_to_write_one(moment, drive):
    job = drive(submit(timer(until=moment), 7))
    assert (job.status, step_of(job, "t").attempt) == ("failed", 1)
    assert "2027-01-31T09:00:00Z" in why(job)["message"]


@pytest.mark.parametrize("moment", ["9999-12-31T23:00:00-14:00", "0001-01-01T00:00:00+14:00"])
def test_a_moment_that_no_row_can_hold_fails_the_step_at_once(moment, drive):
    job = drive(submit(timer(until=moment)))
    assert (job.status, step_of(job, "t").attempt) == ("failed", 1)
    assert "wait.until" in why(job)["message"]


@pytest.mark.parametrize(
    "keys",
    [{}, {"for": "1h", "until": "2030-01-01"}, {"for": "soon"}, {"for": -1}, {"for": "11y"}, {"until": ""}],
)
def test_a_timer_needs_one_time(keys):
    graph = Graph()
    graph.node("t", "timer", **keys)
    with pytest.raises(GraphInvalid):
        submit(graph)


def test_a_timer_knows_nothing_of_the_process_that_set_it(worker, other, clock):
    job = submit(timer("1h"))
    run_once(job, worker, "t")
    worker.stop()
    clock.forward(hours=2)
    assert recovery.wake_due() == 1
    assert drive_with(job, other).status == "completed"


@pytest.mark.parametrize("point", [CrashPoint.BEFORE_RECORD, CrashPoint.AFTER_RECORD])
def test_a_crash_while_a_timer_is_set_sets_it_once(point, worker, other, clock):
    job = submit(timer("1h"))
    with crash_at(point):
        run_once(job, worker, "t")
    for step in job.steps.filter(status="running"):
        step.rescue()
    drive_with(job, other)
    assert job.waits.count() == 1
    clock.forward(hours=2)
    assert recovery.wake_due() == 1
    assert drive_with(job, other).status == "completed"


def test_a_crash_after_a_timer_has_fired_does_not_wait_again(worker, other, clock):
    job = drive_with(submit(timer("1h")), worker)
    clock.forward(hours=2)
    recovery.wake_due()
    with crash_at(CrashPoint.BEFORE_RECORD):
        run_once(job, worker, "t")
    step_of(job, "t").rescue()
    assert drive_with(job, other).status == "completed"
    assert told(job).count("timer_fired") == 1


def test_a_sweep_that_found_one_wait_due_does_not_end_the_next_one_of_its_step(worker, clock):
    job = submit(doing(lambda context: 1))
    claim(job, worker).park(Waiting("signal", "first", timeout=timedelta(hours=1)))
    clock.forward(hours=2)
    late = Wait.objects.due().get().timing_out()
    assert recovery.wake_due() == 1
    worker.beat()
    claim(job, worker).park(Waiting("signal", "second"))
    with pytest.raises(StaleAttempt):
        late.commit()
    assert step_of(job).waiting_for == "signal:second"


def test_two_sweepers_fire_a_timer_once(drive, clock, pair):
    job = drive(submit(timer("1h")))
    clock.forward(hours=2)
    waits = [Wait.objects.select_related("step").get(job=job) for _ in range(2)]
    errors = [error for error in pair.at_once(*[wait.time_out for wait in waits]) if error]
    assert len(errors) == 1
    assert told(job).count("timer_fired") == 1
    assert drive(job).status == "completed"


def test_more_timers_than_one_sweep_takes_are_due_at_once_and_all_fire(drive, worker, clock):
    inner = Graph()
    inner.timer("t", "1h")
    job = submit(mapping(inner), list(range(600)))
    drive_with(job, worker, rounds=5)
    assert Wait.objects.open().filter(kind="timer").count() == 600
    assert recovery.wake_due() == 0
    clock.forward(hours=2)
    woken = 0
    while count := recovery.wake_due():
        woken += count
    assert woken == 600
    assert drive_with(job, worker, rounds=5).status == "completed"
    assert told(job).count("timer_fired") == 600


def test_a_cancelled_timer_never_fires(drive, clock):
    job = drive(submit(timer("1h")))
    job.cancel()
    clock.forward(hours=2)
    assert recovery.wake_due() == 0
    assert statuses(job) == {"t": "cancelled", "after": "cancelled"}


def test_a_timer_that_is_cancelled_while_it_is_set_never_fires(worker, clock):
    job = submit(timer("1h"))
    during(CrashPoint.BEFORE_RECORD, lambda: job.cancel())
    run_alone(job, worker, "t")
    assert (job.status, statuses(job)["t"]) == ("cancelled", "cancelled")
    clock.forward(hours=2)
    assert recovery.wake_due() == 0


def test_timers_of_a_paused_job_fire_and_act_on_resume(drive, clock):
    job = drive(submit(timer("1h")))
    job.pause()
    clock.forward(hours=2)
    assert recovery.wake_due() == 1
    assert statuses(drive(job)) == {"t": "ready", "after": "blocked"}
    job.resume()
    assert drive(job).status == "completed"


def test_a_signal_and_a_timer_of_a_paused_job_both_act_on_resume(drive, clock):
    graph = Graph()
    one, two = graph.wait("go", signal="go"), graph.timer("t", "1h")
    [one, two] >> graph.function("both", "say", value="${go}")
    job = drive(submit(graph))
    job.pause()
    job.signal("go", "came")
    clock.forward(hours=2)
    recovery.wake_due()
    assert statuses(drive(job)) == {"go": "ready", "t": "ready", "both": "blocked"}
    job.resume()
    assert drive(job).result == "came"


def test_a_timer_that_has_fired_is_ready_for_any_worker(drive, clock):
    """Nobody is told by message: the sweep sees a ready step without a hint."""
    job = drive(submit(timer("1h")))
    clock.forward(hours=2)
    recovery.wake_due()
    worker = Incarnation(name="yet another")
    worker._beat()
    assert run_step(step_of(job, "t").pk, worker) == 2
    job.refresh_from_db()
    assert job.status == "completed"


def test_a_sweep_that_comes_late_does_not_end_the_next_wait_of_the_same_name(drive, clock, outside):
    """It found the wait due before another sweep woke the step, which asked and waits for the same once more."""
    job = drive(submit(calling("payout")))
    clock.forward(minutes=11)
    [late] = Wait.objects.due()
    recovery.wake_due()
    drive(job)
    with pytest.raises(StaleAttempt):
        late.time_out()
    assert (statuses(job)["it"], len(outside.polled)) == ("waiting", 1)
