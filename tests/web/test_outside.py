"""The outside tells how calls ended: webhooks and callbacks, over HTTP, and nobody else does."""

import time
from datetime import timedelta
from typing import Any

import pytest

from runtime import clock, recovery
from runtime.models import Job, Webhook
from tests.agents_app.bank import NEXT_SECRET, signed
from tests.engine.driving import calling, entry_of
from tools import registry

PAID = {"paid": 5}


@pytest.fixture
def waiting(job_of) -> Job:
    return job_of(None, graph=calling("payout", amount=5).build())  # type: ignore[no-any-return]


@pytest.fixture
def post(api, django_capture_on_commit_callbacks):
    """As the bank does: without a user."""

    def post(body: Any, *, provider: str = "bank", **how: Any) -> Any:
        text, headers = signed(body, **how)
        with django_capture_on_commit_callbacks(execute=True):
            return api(None).post(f"webhooks/{provider}", text, **headers)

    return post


def paid(job: Job, **named: str) -> dict[str, Any]:
    named = named or {"reference": str(entry_of(job).idempotency_key)}
    return {"type": "paid", "data": {"result": PAID, **named}}


@pytest.mark.parametrize("how", ["reference", "id"])
def test_a_signed_webhook_settles_the_call_and_the_job_goes_on(how, waiting, post, go_on):
    named = {"id": "po-1"} if how == "id" else {}
    assert post(paid(waiting, **named)).status_code == 200
    assert go_on(waiting).result == PAID
    assert (entry_of(waiting).source, Webhook.objects.get().state) == ("webhook", "applied")


def test_the_secret_that_comes_next_is_good_too(waiting, post, go_on):
    assert post(paid(waiting), secret=NEXT_SECRET).status_code == 200
    assert go_on(waiting).status == "completed"


@pytest.mark.parametrize(
    "how", [{"secret": "whsec_AAAA"}, {"at": time.time() - 3600}, {"at": time.time() + 3600}]
)
def test_a_webhook_that_is_not_signed_now_and_by_the_bank_is_refused_and_not_kept(how, waiting, post):
    refused = post(paid(waiting), **how)
    assert (refused.status_code, refused.json()["type"]) == (401, "/api/v1/problems/bad-signature")
    assert (Webhook.objects.count(), entry_of(waiting).state) == (0, "accepted")


def test_the_same_event_twice_is_one_with_one_effect(waiting, post, go_on):
    first, second = post(paid(waiting)), post(paid(waiting))
    assert (first.status_code, first.json()) == (second.status_code, second.json())
    go_on(waiting)
    assert (Webhook.objects.get().deliveries, Webhook.objects.get().state) == (2, "applied")
    assert waiting.events.filter(type="tool_returned").count() == 1


def test_an_event_that_says_otherwise_is_kept_and_told_and_changes_nothing(waiting, post, go_on):
    body = paid(waiting)
    post(body)
    post({**body, "type": "failed", "data": {**body["data"], "reason": "no money"}}, event="evt_2")
    assert go_on(waiting).result == PAID
    assert list(Webhook.objects.values_list("state", flat=True)) == ["applied", "contradicted"]
    assert waiting.events.filter(type="tool_contradicted").count() == 1


def test_another_event_that_says_the_same_changes_nothing(waiting, post, go_on):
    post(paid(waiting))
    post(paid(waiting), event="evt_2")
    assert list(Webhook.objects.values_list("state", flat=True)) == ["applied", "repeated"]
    assert go_on(waiting).status == "completed"


def test_another_provider_settles_nothing_of_the_banks(waiting, post):
    entry = entry_of(waiting)
    body = {"reference": str(entry.idempotency_key), "id": "po-1"}
    assert post(body, provider="stranger").status_code == 200
    assert (entry_of(waiting).state, Webhook.objects.get().state) == ("accepted", "received")


def test_an_event_of_a_call_that_nobody_knows_yet_is_kept_until_it_is_known(post, job_of, go_on):
    body = {"type": "paid", "data": {"result": PAID, "id": "po-1"}}
    assert post(body).status_code == 200
    assert Webhook.objects.get().state == "received"
    job = job_of(None, graph=calling("payout", amount=5).build())
    assert recovery.read_webhooks() == 1
    assert go_on(job).result == PAID


def test_an_event_whose_process_died_before_it_was_read_is_read_by_the_sweep(waiting, api, go_on):
    text, headers = signed(paid(waiting))
    assert (
        api(None).post("webhooks/bank", text, **headers).status_code == 200
    )  # nothing runs after its commit
    assert (Webhook.objects.get().read_at, entry_of(waiting).state) == (None, "accepted")
    Webhook.objects.update(received_at=clock.now() - timedelta(minutes=1))
    assert recovery.read_webhooks() == 1
    assert go_on(waiting).result == PAID


def test_what_its_reader_cannot_read_is_kept_and_read_when_it_comes_again(waiting, post):
    assert post({"type": "paid"}).status_code == 200
    kept = Webhook.objects.get()
    assert (kept.state, kept.error) == ("unreadable", "KeyError: 'data'")


def test_an_event_that_is_none_of_ours_is_ignored(post):
    assert post({"type": "hello"}).status_code == 200
    assert Webhook.objects.get().state == "ignored"


@pytest.mark.parametrize("body, status", [(b"{", 422), (b"\xff", 422), (b" " * (1024 * 1024 + 1), 413)])
def test_a_body_that_cannot_be_kept_is_refused(body, status, post):
    assert (post(body).status_code, Webhook.objects.count()) == (status, 0)


def test_an_unknown_provider_is_nowhere(post):
    assert post({}, provider="nobody").status_code == 404


# Callbacks


def test_a_callback_settles_its_call_once_and_answers_the_same_the_second_time(waiting, outside, api, go_on):
    address = f"callbacks/{outside.tokens[0]}"
    first = api(None).post(address, PAID)
    assert (first.status_code, first.json()) == (200, {"state": "committed"})
    second = api(None).post(address, {"paid": 999})
    assert (second.status_code, second.json()) == (200, {"state": "committed"})
    assert go_on(waiting).result == PAID
    assert entry_of(waiting).source == "callback"


def test_a_callback_may_say_that_it_failed(waiting, outside, api, go_on):
    assert api(None).post(f"callbacks/{outside.tokens[0]}", {"error": "no money"}).json() == {
        "state": "failed"
    }


def test_what_a_tool_cannot_read_is_refused_and_tells_nothing_of_its_code(waiting, outside, api):
    refused = api(None).post(f"callbacks/{outside.tokens[0]}", b"7")
    assert (refused.status_code, entry_of(waiting).state) == (422, "accepted")
    assert "int" not in refused.json()["detail"]


def test_a_callback_is_not_taken_for_a_success_where_its_tool_is_not_known(
    waiting, outside, api, monkeypatch
):
    monkeypatch.setattr(registry, "_tools", {})
    refused = api(None).post(f"callbacks/{outside.tokens[0]}", {"error": "no money"})
    assert (refused.status_code, entry_of(waiting).state) == (404, "accepted")


@pytest.mark.parametrize(
    "spoil", [lambda token: token[:-1], lambda token: "x" + token, lambda token: "nonsense"]
)
def test_a_token_that_was_not_handed_out_leads_nowhere(spoil, waiting, outside, api):
    assert api(None).post(f"callbacks/{spoil(outside.tokens[0])}", PAID).status_code == 404
    assert entry_of(waiting).state == "accepted"
