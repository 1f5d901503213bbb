"""Azure Durable (#892, #2211): for years there was no purge, and then a purge that starved live work.

Nothing is purged here: what has ended stays, whole and readable, and what is under way does not pay for it.
"""

from django.db import connection
from django.test.utils import CaptureQueriesContext

from runtime import doctor, replays
from runtime.models import Job, Step
from tests.engine.driving import step_of


def test_ended_jobs_stay_whole_and_can_be_verified(drive):
    jobs = [drive(Job.objects.submit("echo", number)) for number in range(5)]
    assert doctor.examine() == []
    assert all(replays.verify(job).is_good for job in jobs)


def test_a_live_job_costs_the_same_however_many_have_ended(drive):
    def cost():
        with CaptureQueriesContext(connection) as asked:
            job = drive(Job.objects.submit("echo", 1))
        return job.status, len(asked)

    first = cost()
    for number in range(20):
        drive(Job.objects.submit("echo", number))
    assert cost() == first


def test_what_looks_for_work_does_not_look_at_what_has_ended(drive):
    for number in range(10):
        drive(Job.objects.submit("echo", number))
    job = Job.objects.submit("echo", 1)
    assert list(Step.objects.ready()) == [step_of(job, "echo")]
