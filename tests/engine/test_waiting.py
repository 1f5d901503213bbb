"""Waiting for the end of jobs: news wakes, rows decide."""

import time

import pytest

from runtime import news, waiting
from runtime.exceptions import NotFinished
from runtime.models import Job
from tests.engine.driving import drive


def test_who_waits_is_woken_by_the_end_of_the_last_job(pair, worker, monkeypatch):
    monkeypatch.setattr(waiting, "FIRST_LOOK", 30.0)  # so that only news can wake
    jobs = [Job.objects.submit("echo", n) for n in range(3)]
    begun = time.monotonic()
    waited, _ = pair.at_once(
        lambda: Job.objects.filter(agent="echo").wait(60), lambda: [drive(job, worker) for job in jobs]
    )
    assert waited is None and time.monotonic() - begun < 25
    assert not Job.objects.unfinished().exists()


def test_a_job_that_has_ended_before_is_not_waited_for_and_its_result_is_read(drive):
    job = Job.objects.submit("echo", 7)
    drive(Job.objects.get(pk=job.pk))
    job.wait(0)
    assert (job.status, job.result) == ("completed", 7)


def test_without_redis_the_end_is_seen_in_the_rows(redis_away, pair, worker):
    job = Job.objects.submit("echo", 1)
    waited, _ = pair.at_once(lambda: job.wait(30), lambda: drive(Job.objects.get(pk=job.pk), worker))
    assert waited is None and job.status == "completed"


def test_who_waited_long_enough_is_told_which_jobs_go_on():
    job = Job.objects.submit("echo", 1)
    with pytest.raises(NotFinished, match=str(job.pk)) as refused:
        job.wait(0.01)
    assert refused.value.job_ids == {job.pk}
    assert isinstance(refused.value, TimeoutError)


def test_news_that_is_not_true_ends_no_waiting(pair):
    job = Job.objects.submit("echo", 1)
    waited, _ = pair.at_once(lambda: job.wait(0.5), lambda: news.tell(str(job.pk)))
    assert isinstance(waited, NotFinished)
