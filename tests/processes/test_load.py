"""A slice of `make soak`: many jobs and no fault."""

from examples.payments.service import PaymentService
from tests.processes import LONG
from tests.processes.client import Client
from tests.soak.run import run

JOBS = 3000 if LONG else 300


def test_every_job_ends_and_every_call_takes_effect_once(client: Client, payments: PaymentService) -> None:
    verdict = run(client.stack, payments, JOBS)
    print(verdict)
    assert verdict.violations == []
    assert verdict.attempts == 0, "nothing was killed, so nobody was taken a step from"
