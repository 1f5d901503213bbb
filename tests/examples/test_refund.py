"""The refund agent, run in this process against the real payment service and the scripted model."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import User

from adapters.openai_chat import client as model_client
from runtime import clock, doctor
from runtime.conf import settings
from runtime.models import Job
from runtime.testing import run
from tests.engine.driving import statuses


@pytest.fixture(autouse=True)
def told_where_everything_is(
    db: None, payments: httpx.Client, model: httpx.Client, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    monkeypatch.setenv("AETHERIS_DEMO_PAYMENTS_URL", str(payments.base_url))
    settings.AETHERIS = settings.AETHERIS | {
        "MODEL_BASE_URL": f"{model.base_url}/v1",
        "MODEL_NAME": "scripted-1",
    }
    monkeypatch.setattr(
        model_client._local, "pid", None, raising=False
    )  # the client knows an earlier test's address
    yield
    assert doctor.examine(deep=True) == []


@pytest.fixture
def ahead() -> Iterator[Any]:
    """Moves the clock to where retries are due."""

    def move(**units: float) -> None:
        clock.shift(clock.offset() + timedelta(**units))

    yield move
    clock.shift(timedelta(0))


@pytest.fixture
def boss() -> User:
    return User.objects.create_superuser("boss")


def submitted(order: str, reason: str = "It came broken.") -> Job:
    return Job.objects.submit("refund", {"order_id": order, "reason": reason})


def message_of(job: Job, step: str) -> str:
    """Why a step has failed."""
    error = job.steps.get(key=step).error
    assert error is not None
    return str(error["message"])


def effects(payments: httpx.Client, order: str) -> dict[str, int]:
    counts: dict[str, int] = payments.get("/effects").json()["by_order"].get(order, {})
    return counts


def test_a_small_refund_is_paid_once_and_the_customer_is_told(payments: httpx.Client):
    job = run(submitted("1001"))

    assert job.status == "completed"
    assert job.result is not None and job.result["order"] == "1001"
    assert effects(payments, "1001") == {"refund": 1, "message": 1}
    assert statuses(job)["approval"] == "skipped"


def test_a_large_refund_waits_for_a_person_who_approves(payments: httpx.Client, boss: User):
    job = run(submitted("large-1"))

    assert (job.status, effects(payments, "large-1")) == ("waiting", {})
    assert job.waits.get().prompt.startswith("Refund ")
    job.decide("approval", approve=True, user=boss)
    assert run(job).status == "completed"
    assert effects(payments, "large-1") == {"refund": 1, "message": 1}


def test_a_large_refund_that_is_rejected_pays_nothing(payments: httpx.Client, boss: User):
    job = run(submitted("large-1"))
    job.decide("approval", approve=False, user=boss)

    assert run(job).status == "completed"
    assert effects(payments, "large-1") == {"message": 1}
    assert statuses(job)["refund"] == "skipped"


def test_nobody_decides_in_two_days_so_it_is_declined(payments: httpx.Client, ahead: Any):
    job = run(submitted("large-1"))
    ahead(days=2, minutes=1)
    job.waits.get().time_out()

    assert run(job).status == "completed"
    assert effects(payments, "large-1") == {"message": 1}


def test_the_policy_decides_whatever_the_model_says(payments: httpx.Client, model: httpx.Client):
    generous = '{"decision": "refund", "amount": 99999, "reason": "why not"}'
    model.post("/replies", json={"match": "1001", "content": generous})

    assert run(submitted("1001")).status == "completed"
    assert effects(payments, "1001") == {"message": 1}


def test_what_is_not_refundable_is_declined(payments: httpx.Client):
    job = run(submitted("final-1"))

    assert (job.status, effects(payments, "final-1")) == ("completed", {"message": 1})


def test_an_answer_of_the_model_that_does_not_fit_is_asked_for_again(
    payments: httpx.Client, model: httpx.Client, ahead: Any
):
    model.post("/replies", json={"match": "1001", "content": "Certainly!"})
    job = run(submitted("1001"))
    assert job.steps.get(key="advice").failures == 1

    model.delete("/replies")
    ahead(minutes=1)
    assert run(job).status == "completed", job.error
    assert effects(payments, "1001") == {"refund": 1, "message": 1}


def test_an_order_that_does_not_exist_fails_the_job_at_once(payments: httpx.Client):
    job = run(submitted("missing-1"))

    assert job.status == "failed"
    assert message_of(job, "order").startswith("There is no order missing-1.")
    assert job.steps.get(key="order").attempt == 1


@pytest.mark.parametrize("fault", ["fail", "fail-after", "reset", "reset-before", "truncate"])
def test_a_refund_whose_answer_is_lost_is_sent_again_with_its_key_and_paid_once(
    fault: str, payments: httpx.Client, ahead: Any
):
    order = f"1001.{fault}"
    job = run(submitted(order))
    assert statuses(job)["refund"] == "ready"

    ahead(minutes=1)
    assert run(job).status == "completed"
    assert effects(payments, order) == {"refund": 1, "message": 1}
    assert set(payments.get("/requests").json()["by_key"].values()) == {1, 2}


def test_a_busy_service_is_left_alone_for_as_long_as_it_asks(payments: httpx.Client, ahead: Any):
    job = run(submitted("1001.busy-30"))
    ahead(seconds=20)
    assert statuses(run(job))["refund"] == "ready"

    ahead(seconds=11)
    assert run(job).status == "completed"
    assert effects(payments, "1001.busy-30") == {"refund": 1, "message": 1}


def test_a_refusal_is_final(payments: httpx.Client):
    job = run(submitted("1001.refuse"))

    assert job.status == "failed"
    assert job.steps.get(key="refund").attempt == 1
    assert effects(payments, "1001.refuse") == {}


def test_a_message_whose_answer_is_lost_is_looked_up_and_not_sent_again(payments: httpx.Client, ahead: Any):
    payments.post("/faults", json={"kind": "reset", "path": "/messages"})
    job = run(submitted("1001"))
    ahead(minutes=1)

    assert run(job).status == "completed"
    assert effects(payments, "1001") == {"refund": 1, "message": 1}
    assert job.ledger.get(step__key="told").source == "verify"


def test_a_message_that_never_left_is_sent_when_it_cannot_arrive_any_more(payments: httpx.Client, ahead: Any):
    payments.post("/faults", json={"kind": "reset", "at": "before", "path": "/messages"})
    job = run(submitted("1001"))
    for _ in range(5):
        ahead(minutes=1)
        job = run(job)

    assert job.status == "completed"
    assert effects(payments, "1001") == {"refund": 1, "message": 1}


def test_a_service_that_is_away_is_tried_again(
    payments: httpx.Client, monkeypatch: pytest.MonkeyPatch, ahead: Any
):
    monkeypatch.setenv("AETHERIS_DEMO_PAYMENTS_URL", "http://127.0.0.1:9")
    job = run(submitted("1001"))
    assert "cannot be reached" in message_of(job, "order")

    monkeypatch.setenv("AETHERIS_DEMO_PAYMENTS_URL", str(payments.base_url))
    ahead(minutes=1)
    assert run(job).status == "completed"


def test_the_model_is_asked_once_for_each_job(model: httpx.Client):
    for order in ("1001", "1002"):
        run(submitted(order))

    assert model.get("/calls").json()["total"] == 2
    assert settings().model_name == "scripted-1"
