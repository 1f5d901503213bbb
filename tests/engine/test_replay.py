"""Verify runs what was recorded again: the same effects in, the same ending out, and nothing leaves."""

import faulthandler

from runtime import replays
from runtime.models import Job


def test_a_step_that_repeats_itself_is_good(drive):
    job = drive(Job.objects.submit("echo", {"a": 1}))
    faulthandler.dump_traceback_later(3, exit=False)
    found = replays.verify(job, seconds=10)
    faulthandler.cancel_dump_traceback_later()
    assert found.is_good, found
    faulthandler.dump_traceback_later(3, exit=False)
    found = replays.verify(job, seconds=5)
    faulthandler.cancel_dump_traceback_later()
    assert found.is_good, found
