"""HTTP answers as the ledger records them: jobs against a payment service that misbehaves."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from examples.local_service.http import Request, Server
from examples.payments.service import PaymentService
from runtime import clock, ports
from runtime.models import Job, Step
from runtime.ports import CrashPoint
from runtime.states import EntryState, JobStatus, StepStatus
from tests.engine.driving import StillWorker, calling, drive, entry_of, last_error, run_once, step_of, submit
from tests.tools.outside import client
from tools import ToolContext, registry, tool

pytestmark = pytest.mark.django_db(transaction=True)


class Shop:
    """The service, and where it can be reached now."""

    service: PaymentService
    url: str

    def refunds(self) -> int:
        return len(self.service.effects.find("refund"))


shop = Shop()


NO_REQUEST = Request("GET", "/requests", {}, {})
NOWHERE = "http://127.0.0.1:1"


def pay_back(context: ToolContext, order: str = "1001") -> Any:
    return client(shop.url, timeout=30).post(context, "/refunds", json={"order": order, "amount": 1})


def pay_back_impatiently(context: ToolContext, order: str = "1001") -> Any:
    return client(shop.url, timeout=1).post(context, "/refunds", json={"order": order, "amount": 1})


@pytest.fixture(autouse=True)
def service(tmp_path: Path) -> Iterator[Server]:
    known = registry.registered()
    tool(name="http_refund", idempotent=True, key_window=timedelta(hours=24))(pay_back)
    tool(name="http_refund_once")(pay_back)
    tool(name="http_refund_impatient", idempotent=True, key_window=timedelta(hours=24))(pay_back_impatiently)
    tool(name="http_refund_in_a_hurry", timeout=1)(pay_back)
    shop.service = PaymentService(tmp_path / "effects.jsonl")
    with Server(shop.service) as server:
        shop.url = server.url
        yield server
    registry._tools.clear()
    registry._tools.update(known)


@pytest.fixture
def worker(transactional_db: None) -> Iterator[StillWorker]:
    worker = StillWorker(name="first")
    worker.start()
    yield worker
    worker.stop()
    clock.shift(timedelta(0))


def attempt(job: Job, worker: StillWorker) -> Step:
    """The next attempt of the only step, at the time that is set for it."""
    if (due := step_of(job).run_after) is not None and due > clock.now():
        clock.shift(clock.offset() + (due - clock.now()) + timedelta(seconds=1))
        worker.beat()
    return run_once(job, worker)


def test_a_lost_answer_is_asked_for_again_with_the_same_key(worker: StillWorker) -> None:
    job = submit(calling("http_refund", order="1001.reset"))

    assert attempt(job, worker).status == StepStatus.READY
    assert entry_of(job).state == EntryState.UNKNOWN

    assert attempt(job, worker).status == StepStatus.COMPLETED
    assert (entry_of(job).state, shop.refunds()) == (EntryState.COMMITTED, 1)


def test_a_lost_answer_of_a_tool_without_declaration_waits_for_a_person(worker: StillWorker) -> None:
    job = submit(calling("http_refund_once", order="1001.reset"))

    drive(job, worker)

    assert (job.status, step_of(job).status) == (JobStatus.WAITING, StepStatus.WAITING)
    assert (entry_of(job).state, shop.refunds()) == (EntryState.UNKNOWN, 1)


def test_a_busy_service_is_asked_again_when_it_said(worker: StillWorker) -> None:
    job = submit(calling("http_refund_once", order="1001.busy-90"))

    step = attempt(job, worker)

    assert (step.status, entry_of(job).state) == (StepStatus.READY, EntryState.REFUSED)
    assert step.run_after is not None
    assert timedelta(seconds=30) < step.run_after - clock.now() <= timedelta(seconds=90)
    assert attempt(job, worker).status == StepStatus.COMPLETED
    assert shop.refunds() == 1


def test_a_documented_refusal_fails_the_step_at_once(worker: StillWorker) -> None:
    job = submit(calling("http_refund_once", order="1001.refuse"))

    step = attempt(job, worker)

    assert (step.status, entry_of(job).state) == (StepStatus.FAILED, EntryState.REFUSED)
    assert shop.refunds() == 0


def test_a_service_that_cannot_be_reached_is_tried_again(worker: StillWorker) -> None:
    reachable, shop.url = shop.url, NOWHERE
    job = submit(calling("http_refund_once"))
    assert attempt(job, worker).status == StepStatus.READY
    assert entry_of(job).state == EntryState.REFUSED

    shop.url = reachable

    assert attempt(job, worker).status == StepStatus.COMPLETED
    assert shop.refunds() == 1


def test_a_request_that_is_still_being_processed_is_not_lost(worker: StillWorker) -> None:
    """Our first request times out while the service works on it; the second is answered 409, the third the refund."""
    job = submit(calling("http_refund_impatient", order="1001.late-before-4"))

    attempt(job, worker)
    step = attempt(job, worker)

    assert "409" in last_error(job)["message"]
    assert (step.status, entry_of(job).state) == (StepStatus.READY, EntryState.UNKNOWN)
    _until(lambda: shop.refunds() == 1)
    assert attempt(job, worker).status == StepStatus.COMPLETED
    assert shop.refunds() == 1


def test_doubt_is_not_ended_by_a_repeat_that_was_not_sent(worker: StillWorker) -> None:
    """That the second request did not leave says nothing of the first."""
    reachable = shop.url
    job = submit(calling("http_refund", order="1001.reset"))
    attempt(job, worker)

    shop.url = NOWHERE
    assert attempt(job, worker).status == StepStatus.READY
    assert entry_of(job).state == EntryState.UNKNOWN

    shop.url = reachable
    clock.shift(timedelta(hours=25))  # the service may have forgotten the key
    assert attempt(job, worker).status == StepStatus.WAITING
    assert (entry_of(job).state, shop.refunds()) == (EntryState.UNKNOWN, 1)


def test_doubt_is_not_ended_by_a_repeat_that_was_refused(worker: StillWorker) -> None:
    job = submit(calling("http_refund", order="1001.reset"))
    attempt(job, worker)

    shop.url = f"{shop.url}/not-the-service-that-took-the-first"
    attempt(job, worker)

    assert entry_of(job).state == EntryState.UNKNOWN


def test_a_call_ends_within_the_time_of_its_tool(worker: StillWorker) -> None:
    """The ledger takes it that nothing is sent later, and the step's own time may be far longer."""
    job = submit(calling("http_refund_in_a_hurry", order="1001.late-before-60"))
    began = time.monotonic()

    attempt(job, worker)

    assert entry_of(job).state == EntryState.UNKNOWN
    assert time.monotonic() - began < 20


def test_a_worker_that_was_frozen_before_it_sent_does_not_send_late(worker: StillWorker) -> None:
    job = submit(calling("http_refund_in_a_hurry"))

    with frozen_at(CrashPoint.AFTER_INTENT, seconds=1.1):
        attempt(job, worker)

    assert entry_of(job).state == EntryState.REFUSED
    assert shop.service.show_requests(NO_REQUEST).body["total"] == 0


@contextmanager
def frozen_at(point: CrashPoint, seconds: float) -> Iterator[None]:
    ports.crash_hook = lambda here: time.sleep(seconds) if here is point else None
    yield
    ports.crash_hook = lambda here: None


def _until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    give_up = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < give_up
        time.sleep(0.02)
