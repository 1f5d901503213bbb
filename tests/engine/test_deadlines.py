"""How long a job may take: work counts, waiting and rest do not; a deadline comes whatever the job does."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runtime import agents, batches, news, planning, recovery
from runtime import clock as the_clock
from runtime.exceptions import InputInvalid, StaleAttempt
from runtime.graph import Graph
from runtime.models import Job
from tests.engine.driving import claim, doing, run_once, statuses, step_of, submit, told, why
from tests.engine.scoped import run_alone


def asking(**keys: Any) -> Job:
    """A step of work, a question to a person, and another step of work."""
    graph = Graph()
    work = graph.function("work", "say", value=1)
    ok = graph.approval("ok", prompt="Go?")
    work >> ok >> graph.function("after", "say", value="done")
    return submit(graph, **keys)


def swept(job: Job) -> int:
    count = recovery.end_overdue_jobs()
    job.refresh_from_db()
    return count


def test_a_job_that_works_for_longer_than_it_may_fails(clock):
    job = submit(doing(lambda context: 1), timeout="1h")
    clock.forward(minutes=59)
    assert swept(job) == 0
    clock.forward(minutes=2)
    assert swept(job) == 1
    assert (job.status, why(job)["type"]) == ("failed", "JobTimedOut")
    assert "within 3600 s of work" in why(job)["message"]
    assert told(job)[-3:] == ["job_timed_out", "step_cancelled", "job_failed"]
    assert swept(job) == 0


def test_a_job_without_a_timeout_takes_as_long_as_it_takes(clock):
    job = submit(doing(lambda context: 1))
    clock.forward(days=3650)
    assert swept(job) == 0
    job.cancel()


def test_the_time_in_which_a_job_waits_for_a_person_does_not_count(drive, clock, boss):
    job = asking(timeout="1h")
    clock.forward(minutes=40)
    assert drive(job).overdue_at is None
    clock.forward(days=300)
    assert swept(job) == 0
    job.decide("ok", approve=True, user=boss)
    clock.forward(minutes=19)
    assert swept(job) == 0
    clock.forward(minutes=2)
    assert swept(job) == 1
    assert statuses(job) == {"work": "completed", "ok": "cancelled", "after": "cancelled"}


def test_the_time_in_which_a_job_is_paused_does_not_count(drive, clock):
    job = submit(doing(lambda context: 1), timeout="1h")
    clock.forward(minutes=50)
    job.pause()
    clock.forward(days=30)
    assert swept(job) == 0
    job.resume()
    assert job.work_left == pytest.approx(600, abs=5)
    clock.forward(minutes=9)
    assert swept(job) == 0
    assert drive(job).status == "completed"
    assert job.overdue_at is None


def test_a_job_that_works_beside_a_wait_works(drive, worker, clock):
    graph = Graph()
    graph.approval("ok", prompt="Go?")
    graph.function("busy", "say", value=1)
    job = submit(graph, timeout="1h")
    run_alone(job, worker, "ok")
    job.refresh_from_db()
    assert job.overdue_at is not None
    assert drive(job).overdue_at is None
    job.cancel()


def test_a_running_step_of_a_job_that_took_too_long_is_told_and_its_result_is_kept(worker, clock):
    seen = []

    def function(context: Any) -> int:
        clock.forward(hours=2)
        worker.beat()
        assert recovery.end_overdue_jobs() == 1
        worker.beat()
        seen.append(context.cancelled)
        return 7

    job = submit(doing(function, timeout="1d"), timeout="1h")
    step = run_once(job, worker)
    assert (seen, step.status, step.result) == ([True], "completed", 7)
    assert (job.status, why(job)["type"]) == ("failed", "JobTimedOut")


def test_a_deadline_comes_also_for_a_job_that_waits_or_rests(drive, clock):
    deadline = the_clock.now() + timedelta(hours=1)
    waiting, resting = drive(asking(deadline=deadline)), asking(deadline=deadline)
    resting.pause()
    clock.forward(minutes=59)
    assert recovery.end_overdue_jobs() == 0
    clock.forward(minutes=2)
    assert swept(waiting) == 2
    resting.refresh_from_db()
    assert [why(job)["type"] for job in (waiting, resting)] == ["JobTimedOut"] * 2
    assert f"by {deadline:%Y-%m-%d %H:%M:%S} UTC" in why(waiting)["message"]


def test_a_job_that_was_late_and_is_retried_has_its_time_anew(drive, clock):
    job = submit(doing(lambda context: 1), timeout="1h", deadline=the_clock.now() + timedelta(minutes=30))
    clock.forward(hours=2)
    assert swept(job) == 1
    job.retry()
    assert (job.work_left, job.deadline_at) == (3600, None)
    assert swept(job) == 0
    clock.forward(minutes=59)
    assert drive(job).status == "completed"


def test_a_job_that_is_cancelled_already_does_not_time_out(worker, clock):
    job = submit(doing(lambda context: 1), timeout="1h")
    step = claim(job, worker)
    clock.forward(hours=2)
    late = Job.objects.overdue().get().timing_out("in time")
    job.cancel()
    with pytest.raises(StaleAttempt):
        late.commit()
    step.complete(1)
    job.refresh_from_db()
    assert (job.status, job.error, told(job).count("job_timed_out")) == ("cancelled", None, 0)


def test_an_end_and_a_deadline_in_the_same_moment_have_one_winner(worker, clock, pair):
    job = submit(doing(lambda context: 1), timeout="1h")
    step = claim(job, worker)
    clock.forward(hours=2)
    late = Job.objects.overdue().get().timing_out("in time")
    pair.at_once(lambda: step.complete(1), late.commit)
    job.refresh_from_db()
    assert told(job).count("job_completed") + told(job).count("job_failed") == 1


def test_two_sweepers_end_a_job_once(clock):
    job = submit(doing(lambda context: 1), timeout="1h")
    clock.forward(hours=2)
    both = [job.timing_out("in time"), job.timing_out("in time")]
    assert batches.commit(both) == 1
    assert told(job).count("job_timed_out") == 1


def test_a_step_whose_time_is_over_may_end_a_job_with_a_result_to_be_evaluated(worker, clock):
    graph = Graph()
    slow = graph.function("slow", "say", value=1, timeout="30s", retry={"on_timeout": "fail"})
    fast = graph.function("fast", "say", value=2)
    after = graph.function("after", "say", value="done", join="any")
    fast >> after
    slow.failed >> after
    graph.result("${after + '!'}")
    job = submit(graph)
    claim(job, worker, "slow")
    for key in ("fast", "after"):
        run_once(job, worker, key)
    clock.forward(seconds=31)
    assert recovery.end_overdue() == 1
    job.refresh_from_db()
    assert (job.status, job.result) == ("completed", "done!")


def test_who_waits_for_a_job_that_the_sweep_ends_is_told(clock, monkeypatch):
    ended: list[str] = []
    monkeypatch.setattr(news, "tell", ended.append)
    job = submit(doing(lambda context: 1), timeout="1h")
    clock.forward(hours=2)
    assert swept(job) == 1
    assert ended == [str(job.pk)]


def test_an_agent_says_how_long_its_jobs_may_work_and_a_request_may_say_otherwise(drive, monkeypatch):
    monkeypatch.setattr(agents, "_agents", dict(agents._agents))

    @agents.agent("bounded", timeout="2h")
    def bounded() -> Graph:
        graph = Graph()
        graph.function("it", "say", value=1)
        return graph

    assert Job.objects.submit("bounded").timeout == 7200
    assert Job.objects.submit("bounded", timeout=timedelta(minutes=5)).timeout == 300
    job = Job.objects.submit("bounded")
    assert job.events.get(seq=1).data["timeout_ms"] == 7_200_000
    assert drive(job).fork("it").timeout == 7200


@pytest.mark.parametrize("timeout", [0, -1, "soon", "11y", [], float("inf"), True])
def test_what_is_no_duration_is_refused_with_its_place(timeout):
    with pytest.raises(InputInvalid, match="timeout"):
        Job.objects.submit("echo", timeout=timeout)
    assert not Job.objects.exists()


@pytest.mark.parametrize("deadline", [datetime(9999, 12, 31, tzinfo=UTC), datetime(1, 1, 1)])
def test_a_deadline_that_no_row_can_hold_is_refused_with_its_place(deadline):
    with pytest.raises(InputInvalid, match="deadline"):
        planning.submit("echo", None, deadline=deadline)


def test_the_deadline_of_a_wait_passes_also_while_its_job_is_paused_and_acts_on_resume(drive, clock):
    graph = Graph()
    graph.wait("go", signal="go", timeout="1h", on_timeout="continue")
    job = drive(submit(graph))
    job.pause()
    clock.forward(hours=2)
    assert recovery.wake_due() == 1
    assert step_of(drive(job), "go").status == "ready"
    job.signal("go", "too late")
    job.resume()
    assert (drive(job).status, step_of(job, "go").branch) == ("completed", "timed_out")
