"""A job that is paused: in the middle of a step, with signals and timers due, and together with a cancel."""

import pytest

from runtime import recovery
from runtime.exceptions import JobFinished
from runtime.graph import Graph
from runtime.models import Job
from tests.engine.driving import claim, doing, drive, run_once, statuses, step_of, submit, told


def line():
    graph = Graph()
    graph.tool("pay", "charge", amount=1) >> graph.function("after", "say", value="end")
    return graph


def test_a_job_that_is_paused_in_the_middle_of_a_step_records_it_and_starts_nothing_more(worker, outside):
    graph = doing(lambda context: Job.objects.get(pk=context.step.job_id).pause(why="in the middle"))
    graph.handle("it") >> graph.tool("pay", "charge", amount=1)
    job = submit(graph)
    run_once(job, worker)
    assert statuses(job) == {"it": "completed", "pay": "ready"}
    assert drive(job, worker).status == "running"
    assert outside.effects("charge") == []
    job.resume()
    assert (drive(job, worker).status, len(outside.effects("charge"))) == ("completed", 1)


def test_a_step_that_fails_while_its_job_is_paused_waits_for_its_retry(worker, clock):
    calls = []

    def fail_once(context):
        calls.append(1)
        if len(calls) == 1:
            Job.objects.get(pk=context.step.job_id).pause()
            raise ValueError("not yet")
        return "done"

    job = submit(doing(fail_once))
    drive(job, worker)
    clock.forward(minutes=10)
    assert (drive(job, worker).status, len(calls), step_of(job).failures) == ("running", 1, 1)
    job.resume()
    assert (drive(job, worker).status, job.result, len(calls)) == ("completed", "done", 2)


def test_a_lost_step_of_a_paused_job_is_rescued_and_rests(worker, other):
    job = submit(line())
    lost = claim(job, worker, "pay")
    job.pause()
    lost.rescue()
    assert statuses(drive(job, other)) == {"pay": "ready", "after": "blocked"}
    job.resume()
    assert drive(job, other).status == "completed"


def test_an_overdue_step_of_a_paused_job_is_ended_and_rests(worker, clock):
    job = submit(line())
    claim(job, worker, "pay")
    job.pause()
    clock.forward(hours=1)
    assert recovery.end_overdue() == 1
    assert statuses(drive(job, worker))["pay"] == "ready"
    job.cancel()


def test_signals_timers_and_the_deadline_of_a_wait_come_while_a_job_is_paused(worker, clock):
    graph = Graph()
    go, timer = graph.wait("go", signal="go"), graph.timer("t", "1h")
    late = graph.wait("late", signal="late", timeout="30m", on_timeout="continue")
    [go, timer, late] >> graph.function("end", "say", value="${go}")
    job = drive(submit(graph), worker)
    job.pause()
    job.signal("go", 1)
    job.signal("late", 2)
    clock.forward(hours=2)
    recovery.wake_due()
    assert statuses(drive(job, worker)) == {"go": "ready", "t": "ready", "late": "ready", "end": "blocked"}
    job.signal("go", 3)
    job.resume()
    assert (drive(job, worker).status, job.result) == ("completed", 1)


def test_a_paused_job_can_be_cancelled_and_its_running_step_ends_with_it(worker, outside):
    job = submit(line())
    running = claim(job, worker, "pay")
    job.pause()
    job.cancel(why="after all")
    assert statuses(job) == {"pay": "running", "after": "cancelled"}
    running.complete("done")
    job.refresh_from_db()
    assert (job.status, job.paused_at, outside.calls) == ("cancelled", None, [])


def test_a_job_that_is_being_cancelled_may_be_paused_and_ends_all_the_same(worker):
    job = submit(line())
    running = claim(job, worker, "pay")
    job.cancel()
    job.pause()
    running.complete("done")
    job.refresh_from_db()
    assert job.status == "cancelled"
    for verb in (job.pause, job.resume):
        with pytest.raises(JobFinished):
            verb()


@pytest.mark.parametrize("first", ["pause", "cancel"])
def test_pause_and_cancel_at_once_end_the_job(first, worker, pair):
    job = submit(line())
    jobs = [Job.objects.get(pk=job.pk) for _ in range(2)]
    verbs = ["pause", "cancel"] if first == "pause" else ["cancel", "pause"]
    outcomes = pair.at_once(*[getattr(one, verb) for one, verb in zip(jobs, verbs, strict=True)])
    assert all(outcome is None or isinstance(outcome, JobFinished) for outcome in outcomes)
    job.refresh_from_db()
    assert job.status == "cancelled"


def test_pausing_twice_and_resuming_twice_is_told_once(worker):
    job = submit(line())
    for verb in (job.pause, job.pause, job.resume, job.resume):
        verb()
    assert [type for type in told(job) if type in ("job_paused", "job_resumed")] == [
        "job_paused",
        "job_resumed",
    ]


def test_a_subjob_goes_on_while_its_parent_is_paused_and_tells_its_end_on_resume(worker):
    graph = Graph()
    graph.subjob("child", "echo", input=7) >> graph.function("after", "say", value="${child}")
    job = drive(submit(graph), worker)
    job.pause()
    child = Job.objects.get(parent_step__job=job)
    assert drive(child, worker).status == "completed"
    assert statuses(drive(job, worker))["after"] == "blocked"
    job.resume()
    assert drive(job, worker).status == "completed"
