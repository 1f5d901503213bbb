"""River (#1324) and Absurd (#132): one job that could not be read, or whose backoff overflowed, stopped all."""

from datetime import timedelta

from runtime import policies
from runtime.models import Job, Step
from tests.engine.driving import last_error


def test_a_step_that_nobody_can_read_fails_its_own_job(drive):
    bad, good = Job.objects.submit("echo", 1), Job.objects.submit("echo", 2)
    Step.objects.filter(job=bad).update(config={"what": "is this"}, max_attempts=1)
    assert (drive(bad).status, last_error(bad, "echo")["message"] != "") == ("failed", True)
    assert drive(good).result == 2


def test_no_number_of_failures_makes_a_backoff_that_no_row_can_hold():
    for failures in (1, 50, 1024, 2**31 - 1):
        for retry in ({}, {"factor": 1e6, "backoff": 1e6}):
            assert timedelta(0) <= policies.backoff(failures, retry, 0.5) <= timedelta(hours=1)
