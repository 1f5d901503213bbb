"""Restate (#5196): suspended over an open call it was not scheduled again, and held its key for ever."""

from datetime import timedelta

from runtime import recovery
from tests.engine.driving import calling, entry_of, submit
from tools import Happened


def test_a_step_that_waits_for_an_open_call_has_a_time_at_which_it_asks(drive, outside, clock):
    job = drive(submit(calling("payout")))
    [wait] = job.waits.filter(closed_at=None)
    assert (job.status, wait.kind, entry_of(job).state) == ("waiting", "call", "accepted")
    assert wait.deadline_at is not None and wait.deadline_at - wait.opened_at <= timedelta(minutes=11)
    outside.polls.append(Happened({"paid": True}))
    clock.forward(minutes=11)
    assert recovery.wake_due() == 1
    assert (drive(job).result, len(outside.effects("payout"))) == ({"paid": True}, 1)
