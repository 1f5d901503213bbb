"""PageSpace, Containarium, breeze (#1002): one chain of hashes for all was slow, and writers at once forked it."""

from functools import partial

from runtime.models import Event, Job
from tests.engine.driving import drive
from tests.healthy import faults_in_history


def test_jobs_that_are_written_at_once_have_a_chain_each_and_every_one_is_whole(pair, worker):
    jobs = [Job.objects.submit("counting") for _ in range(6)]
    halves = [partial(_drive_all, half, worker) for half in (jobs[:3], jobs[3:])]
    assert not [answer for answer in pair.at_once(*halves) if isinstance(answer, Exception)]
    for job in jobs:
        assert faults_in_history(job.pk) == []
        assert bytes(Event.objects.get(job=job, seq=1).prev) == bytes(32)


def test_writers_of_one_job_at_once_do_not_fork_its_chain(pair, worker, other):
    for _ in range(10):
        job = Job.objects.submit("fan")
        drive(job, worker, rounds=1)
        pair.at_once(partial(_drive_again, job, worker), partial(_drive_again, job, other))
        drive(job, worker)
        assert (job.status, faults_in_history(job.pk)) == ("completed", [])


def _drive_all(jobs, worker):
    for job in jobs:
        drive(job, worker)


def _drive_again(job, worker):
    drive(Job.objects.get(pk=job.pk), worker)
