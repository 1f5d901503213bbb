"""DBOS (dbos-transact-py #805): pending between two finished steps, with nothing to move it, it blocked a queue."""

from runtime import doctor, hinting
from runtime.graph import Graph
from runtime.models import Step
from runtime.ports import CrashPoint
from tests.engine.driving import crash_at, run_once, submit


def two_steps():
    graph = Graph()
    graph.function("a", "say", value=1) >> graph.function("b", "say", value=2)
    return graph


def test_between_two_steps_a_job_is_found_though_its_message_was_never_sent(worker, drive, clock, settings):
    settings.AETHERIS = {**settings.AETHERIS, "KEEP_JOB_SECONDS": 0}  # the worker does not go on with it
    job = submit(two_steps())
    with crash_at(CrashPoint.BEFORE_HINT):
        run_once(job, worker, "a")
    following = Step.objects.get(job=job, key="b")
    assert (following.status, doctor.examine([job.pk])) == ("ready", [])
    clock.forward(seconds=10)
    assert following.pk in hinting.unclaimed(hinting.groups()).wanted_ids
    worker.beat()
    assert drive(job).status == "completed"
