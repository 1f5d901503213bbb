"""Subjobs: begun once, their end told once, cancelled with their parent."""

from runtime import recovery, subjobs
from runtime.graph import Graph
from runtime.models import Job
from tests.engine.driving import drive as drive_with
from tests.engine.driving import last_error, statuses, submit, told


def parent_of(*agents: str, **keys: str) -> Job:
    graph = Graph()
    for agent in agents:
        graph.subjob(agent, agent, input="${input}", **keys)
    return submit(graph, 7)


def children(job: Job) -> list[Job]:
    return list(Job.objects.filter(parent_step__job=job).order_by("id"))


def test_the_result_of_a_subjob_is_that_of_its_step(worker):
    job = parent_of("echo")
    drive_with(job, worker)
    assert (job.status, statuses(job)) == ("waiting", {"echo": "waiting"})

    (child,) = children(job)
    drive_with(child, worker)
    assert drive_with(job, worker).result == 7


def test_a_subjob_that_fails_fails_its_step_with_the_cause(worker):
    job = parent_of("failing")
    drive_with(job, worker)
    drive_with(children(job)[0], worker)

    assert drive_with(job, worker).status == "failed"
    assert last_error(job, "failing")["cause"] == children(job)[0].error


def test_an_end_that_a_crash_kept_from_the_parent_is_told_by_the_sweep(worker, monkeypatch):
    job = parent_of("echo")
    drive_with(job, worker)
    with monkeypatch.context() as lost:
        lost.setattr(subjobs, "report", lambda child: None)
        drive_with(children(job)[0], worker)
    assert drive_with(job, worker).status == "waiting"

    assert recovery.settle_subjobs() == 1
    assert recovery.settle_subjobs() == 0
    assert drive_with(job, worker).status == "completed"
    assert told(job).count("signal_received") == 1


def test_subjobs_are_cancelled_with_their_parent(worker):
    job = parent_of("echo")
    drive_with(job, worker)
    job.cancel()
    assert (job.status, children(job)[0].status) == ("cancelled", "cancelled")


def test_an_abandoned_subjob_goes_on_without_its_parent(worker):
    job = parent_of("echo", on_parent_end="abandon")
    drive_with(job, worker)
    job.cancel()
    assert recovery.settle_subjobs() == 0
    assert drive_with(children(job)[0], worker).status == "completed"


def test_a_subjob_that_ends_just_then_does_not_keep_the_others_from_being_cancelled(worker, monkeypatch):
    job = parent_of("echo", "counting")
    drive_with(job, worker)
    first, second = children(job)
    cancel = Job.cancel

    def racing(one: Job, **keys: str) -> None:
        if one.pk == first.pk:
            drive_with(first, worker)
        cancel(one, **keys)

    monkeypatch.setattr(Job, "cancel", racing)
    job.cancel()
    second.refresh_from_db()
    assert (job.status, first.status, second.status) == ("cancelled", "completed", "cancelled")
