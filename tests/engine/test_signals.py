"""Signals and approvals: acknowledged once means acted once, and a decision is its user's own."""

import random
from itertools import pairwise
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User

from runtime import recovery
from runtime.exceptions import ApprovalInvalid, ApprovalRefused, InputInvalid, JobFinished
from runtime.execution import run_step
from runtime.graph import Graph
from runtime.models import Job, Signal
from tests.engine.driving import calling, claim, entry_of, run_once, statuses, step_of, submit, told
from tests.engine.driving import drive as drive_with


def waiting(*names: str, **keys: Any) -> Graph:
    """One wait after the other."""
    graph = Graph()
    nodes = [graph.wait(f"w{number}", signal=name, **keys) for number, name in enumerate(names)]
    for earlier, later in zip(nodes, nodes[1:], strict=False):
        earlier >> later
    graph.result([f"${{{node.id}}}" for node in nodes])
    return graph


@pytest.mark.pg_slice
def test_a_signal_wakes_the_wait_of_its_name_and_is_its_result(drive):
    job = drive(Job.objects.submit("wait"))
    assert (job.status, step_of(job, "go").waiting_for) == ("waiting", "signal:go")
    assert job.signal("go", {"x": [1]}) is True
    assert (drive(job).result, job.signals.get().state) == ({"x": [1]}, "consumed")
    assert told(job)[2:] == [
        "step_claimed", "step_parked", "signal_received", "signal_consumed", "step_resumed",
        "step_claimed", "step_completed", "job_completed",
    ]  # fmt: skip


def test_what_a_step_after_a_wait_refers_to_comes_with_its_claim(drive, worker, django_assert_num_queries):
    graph = Graph()
    before = graph.function("before", "say", value="early")
    wait = graph.wait("wait", signal="go")
    after = graph.function("after", "say", value=before)
    before >> wait >> after
    graph.result(after)
    job = drive(submit(graph))
    job.signal("go")
    resumed = step_of(job, "wait").pk
    with django_assert_num_queries(0):  # each thread would open a connection of its own to ask
        assert run_step(resumed, worker) == 2
    job.refresh_from_db()
    assert job.result == "early"


def test_a_signal_before_its_wait_is_kept_and_acts_when_the_wait_is_entered(drive):
    job = Job.objects.submit("wait")
    assert job.signal("go", "early") is True
    assert job.signals.get().state == "buffered"
    assert drive(job).result == "early"
    assert step_of(job, "go").attempt == 2


@pytest.mark.parametrize("payload, ending", [({"amount": 5}, "completed"), ({"amount": "5"}, "failed")])
def test_a_payload_that_does_not_fit_the_schema_of_its_wait_fails_the_step(payload, ending, drive):
    graph = Graph()
    schema = {"type": "object", "properties": {"amount": {"type": "number"}}, "required": ["amount"]}
    graph.wait("paid", signal="paid", schema=schema)
    job = drive(submit(graph))
    job.signal("paid", payload)
    job = drive(job)
    assert (job.status, job.error and job.error["type"]) == (
        ending,
        None if ending == "completed" else "SignalInvalid",
    )


def test_a_signal_of_another_name_wakes_nobody(drive):
    job = drive(Job.objects.submit("wait"))
    job.signal("stop", 1)
    assert (drive(job).status, job.signals.get().state) == ("waiting", "buffered")
    job.signal("go", 2)
    assert drive(job).result == 2


@pytest.mark.pg_slice
def test_the_same_dedup_id_twice_has_one_effect_and_says_so(drive):
    job = drive(submit(waiting("go", "go")))
    assert job.signal("go", 1, dedup_id="d") is True
    assert job.signal("go", 1, dedup_id="d") is False
    assert drive(job).status == "waiting"
    assert job.signal("go", 1, dedup_id="d") is False
    assert told(job).count("signal_received") == 1
    job.signal("go", 2, dedup_id="e")
    assert drive(job).result == [1, 2]
    assert job.signal("go", 1, dedup_id="d") is False  # it had its effect, though the job has ended since


def test_signals_of_one_name_are_consumed_in_the_order_in_which_they_came(drive):
    job = submit(waiting("go", "go", "go"))
    for number in range(3):
        job.signal("go", number)
    assert drive(job).result == [0, 1, 2]


@pytest.mark.parametrize("seed", range(5))
def test_signals_of_many_names_may_come_in_any_order(seed, drive, worker):
    """Some before their waits are entered, some after; each acts once, on the wait of its name."""
    graph = Graph()
    names = [f"n{number}" for number in range(8)]
    waits = [graph.wait(name, signal=name) for name in names]
    for first, second in pairwise(waits[:4]):
        first >> second
    job = submit(graph)
    shuffled = random.Random(seed).sample(names, len(names))
    for name in shuffled[:4]:
        job.signal(name, name)
    drive(job)
    for name in shuffled[4:]:
        job.signal(name, name)
        drive(job)
    assert (job.status, dict(job.steps.values_list("key", "result"))) == (
        "completed",
        {name: name for name in names},
    )
    assert told(job).count("signal_consumed") == len(names)


def test_two_waits_of_one_name_take_one_signal_each_the_older_wait_first(worker):
    graph = Graph()
    for key in ("a", "b"):
        graph.wait(key, signal="go")
    job = submit(graph)
    run_once(job, worker, "b")
    run_once(job, worker, "a")
    parked = list(job.waits.order_by("id").values_list("step_key", flat=True))
    job.signal("go", "first")
    assert statuses(job)[parked[0]] == "ready" and statuses(job)[parked[1]] == "waiting"
    job.signal("go", "second")
    drive_with(job, worker)
    assert (step_of(job, parked[0]).result, step_of(job, parked[1]).result) == ("first", "second")


def test_a_signal_to_a_finished_job_is_refused_and_recorded(drive):
    job = drive(Job.objects.submit("echo"))
    before = told(job)
    with pytest.raises(JobFinished, match="completed"):
        job.signal("go", "late", sender="webhook")
    signal = Signal.objects.get(job=job)
    assert (signal.state, signal.payload, signal.sender) == ("refused", "late", "webhook")
    assert told(job) == before


def test_a_signal_to_a_job_that_is_ending_is_refused(worker):
    job = Job.objects.submit("echo")
    step = claim(job, worker, "echo")
    job.cancel()
    with pytest.raises(JobFinished):
        job.signal("go")
    step.complete()


@pytest.mark.parametrize("name", ["approval:ok", "approval:"])
def test_the_names_of_approvals_are_reserved(name):
    job = Job.objects.submit("wait")
    with pytest.raises(InputInvalid, match="approve"):
        job.signal(name, {"decision": "approved"})
    assert not job.signals.exists()


@pytest.mark.parametrize(
    "name, payload, dedup_id, place",
    [
        ("", 1, None, "name"),
        ("x" * 256, 1, None, "name"),
        ("a\0", 1, None, "name"),
        ("go", {"a": {1}}, None, "payload"),
        ("go", {"a": ["\ud800"]}, None, "payload.a[0]"),
        ("go", 1, "", "dedup_id"),
        ("go", 1, "x" * 300, "dedup_id"),
    ],
)
def test_a_signal_that_cannot_be_kept_is_refused_with_the_place_named(name, payload, dedup_id, place):
    job = Job.objects.submit("wait")
    with pytest.raises(InputInvalid) as refusal:
        job.signal(name, payload, dedup_id=dedup_id)
    assert refusal.value.path.startswith(place)
    assert not job.signals.exists()


def test_a_signals_causes_lead_from_its_receipt_to_the_resumed_step(drive):
    job = drive(Job.objects.submit("wait"))
    job.signal("go")
    drive(job)
    received, consumed = job.events.get(type="signal_received"), job.events.get(type="signal_consumed")
    assert consumed.as_header()["causes"] == [bytes(received.digest).hex()]
    claimed = job.events.filter(type="step_claimed").last()
    assert claimed is not None and claimed.as_header()["causes"] == [bytes(received.digest).hex()]


# Deadlines


@pytest.mark.parametrize(
    "on_timeout, status, result",
    [
        ("continue", "completed", [None]),
        ({"value": {"late": True}}, "completed", [{"late": True}]),
        (None, "failed", None),
        ("cancel", "cancelled", None),
    ],
)
def test_a_wait_past_its_deadline_does_what_it_says(on_timeout, status, result, drive, clock):
    keys = {} if on_timeout is None else {"on_timeout": on_timeout}
    job = drive(submit(waiting("go", timeout="1h", **keys)))
    clock.forward(minutes=59)
    assert recovery.wake_due() == 0
    clock.forward(minutes=2)
    assert recovery.wake_due() == 1
    assert recovery.wake_due() == 0
    assert (drive(job).status, job.result) == (status, result)
    assert told(job).count("timer_fired") == 1


def test_a_timed_out_wait_may_lead_another_way(drive, clock):
    graph = Graph()
    go = graph.wait("go", signal="go", timeout="1h", on_timeout="continue")
    go.timed_out >> graph.function("late", "say")
    job = drive(submit(graph))
    clock.forward(hours=2)
    recovery.wake_due()
    assert statuses(drive(job)) == {"go": "completed", "late": "completed"}


def test_a_signal_after_the_deadline_and_before_the_sweep_does_not_overtake_it(drive, clock):
    job = drive(submit(waiting("go", timeout="1h", on_timeout="continue")))
    clock.forward(hours=2)
    assert job.signal("go", "late") is True
    assert statuses(job) == {"w0": "waiting"}
    assert recovery.wake_due() == 1
    assert (drive(job).result, job.signals.get().state) == ([None], "buffered")


def test_a_signal_after_the_timeout_stays_in_the_inbox_for_the_next_wait(drive, clock):
    job = drive(submit(waiting("go", "go", timeout="1h", on_timeout="continue")))
    clock.forward(hours=2)
    recovery.wake_due()
    job.signal("go", "for the next")
    assert drive(job).result == [None, "for the next"]


# Approvals


@pytest.fixture
def asked(drive) -> Job:
    job: Job = drive(Job.objects.submit("ask", {"amount": 500}))
    return job


@pytest.mark.pg_slice
def test_an_approved_refund_is_made_once(asked, drive, boss, outside):
    wait = asked.waits.get()
    assert (wait.prompt, wait.step_key, wait.kind) == ("Refund 500?", "ok", "approval")
    asked.decide("ok", approve=True, user=boss, answer={"why": "broken"}, comment="sorry")
    assert drive(asked).status == "completed"
    assert len(outside.effects("charge")) == 1
    decision = step_of(asked, "ok").result
    assert decision == {
        "decision": "approved",
        "by": boss.pk,
        "answer": {"why": "broken"},
        "comment": "sorry",
    }
    assert asked.events.get(type="approval_decided").data["by"] == f"user:{boss.pk}"


@pytest.mark.pg_slice
def test_a_rejected_refund_never_proceeds(asked, drive, boss, outside):
    asked.decide("ok", approve=False, user=boss, comment="no")
    assert statuses(drive(asked)) == {"big": "completed", "ok": "completed", "refund": "skipped"}
    assert outside.effects() == []
    assert asked.status == "completed"


def test_a_small_refund_asks_nobody(drive, outside):
    job = drive(Job.objects.submit("ask", {"amount": 5}))
    assert (job.status, statuses(job)["ok"], len(outside.effects())) == ("completed", "skipped", 1)


@pytest.mark.parametrize(
    "answer, field", [({}, "why"), ({"why": 5}, "why"), ({"why": "x" * 10, "more": {1}}, "more")]
)
def test_an_answer_that_does_not_fit_names_the_field_and_the_wait_stays_open(
    answer, field, asked, drive, boss
):
    with pytest.raises((ApprovalInvalid, InputInvalid), match=field):
        asked.decide("ok", approve=True, user=boss, answer=answer)
    assert asked.waits.get().closed_at is None
    assert not asked.signals.exists()
    asked.decide("ok", approve=True, user=boss, answer={"why": "x"})
    assert drive(asked).status == "completed"


def test_a_reject_needs_no_answer(asked, drive, boss):
    asked.decide("ok", approve=False, user=boss)
    assert drive(asked).status == "completed"


def test_the_same_decision_twice_answers_the_same_and_acts_once(asked, drive, boss):
    for _ in range(2):
        asked.decide("ok", approve=True, user=boss, answer={"why": "x"})
    drive(asked)
    asked.decide("ok", approve=True, user=boss, answer={"why": "x"})
    assert told(asked).count("approval_decided") == 1


def test_another_decision_after_the_first_is_refused_and_says_how_it_was_decided(asked, drive, boss):
    asked.decide("ok", approve=True, user=boss, answer={"why": "x"})
    with pytest.raises(ApprovalRefused, match="approved already"):
        asked.decide("ok", approve=False, user=boss)
    drive(asked)


def test_a_user_without_permission_may_not_decide(asked):
    nobody = User.objects.create_user("nobody")
    with pytest.raises(ApprovalRefused, match="decide_approval"):
        asked.decide("ok", approve=True, user=nobody, answer={"why": "x"})
    assert asked.waits.get().closed_at is None


def test_a_user_with_the_permission_may_decide(asked, drive):
    clerk = User.objects.create_user("clerk")
    clerk.user_permissions.add(Permission.objects.get(codename="decide_approval"))
    asked.decide("ok", approve=True, user=User.objects.get(pk=clerk.pk), answer={"why": "x"})
    assert drive(asked).status == "completed"


def test_an_inactive_user_may_not_decide(asked, boss):
    boss.is_active = False
    boss.save()
    with pytest.raises(ApprovalRefused):
        asked.decide("ok", approve=False, user=boss)


@pytest.mark.parametrize("approvers", [{"users": ["anna"]}, {"groups": ["finance"]}, {"users": ["${input}"]}])
def test_only_the_listed_approvers_may_decide_not_even_a_superuser(approvers, drive, boss):
    graph = Graph()
    graph.approval("ok", prompt="?", approvers=approvers)
    job = drive(submit(graph, "anna"))
    with pytest.raises(ApprovalRefused):
        job.decide("ok", approve=True, user=boss)
    anna = User.objects.create_user("anna")
    anna.groups.add(Group.objects.get_or_create(name="finance")[0])
    job.decide("ok", approve=True, user=anna)
    assert drive(job).result["by"] == anna.pk


def test_the_signals_of_an_approval_cannot_be_forged_by_its_payload(asked):
    with pytest.raises(InputInvalid):
        asked.signal("approval:ok", {"decision": "approved", "by": 1})
    assert statuses(asked)["ok"] == "waiting"


def test_a_wait_cannot_take_the_name_of_an_approval_and_so_its_decision(drive):
    graph = Graph()
    graph.wait("w", signal="${input}")
    job = drive(submit(graph, "approval:ok"))
    assert job.status == "failed"
    assert "approval:" in job.error["message"]


def test_an_approval_of_a_cancelled_job_is_closed(asked, boss):
    asked.cancel()
    with pytest.raises((ApprovalRefused, JobFinished)):
        asked.decide("ok", approve=True, user=boss, answer={"why": "x"})


def test_several_open_approvals_must_be_named(drive, boss):
    graph = Graph()
    graph.approval("a", prompt="?")
    graph.approval("b", prompt="?")
    job = drive(submit(graph))
    with pytest.raises(ApprovalRefused, match="a, b"):
        job.decide("", approve=True, user=boss)
    job.decide("b", approve=True, user=boss)
    job.decide("", approve=True, user=boss)  # one is left
    assert drive(job).status == "completed"


@pytest.mark.parametrize(
    "on_timeout, status, follow",
    [
        ("fail", "failed", "cancelled"),
        ("cancel", "cancelled", "cancelled"),
        ("reject", "completed", "skipped"),
        ("continue", "completed", "skipped"),
    ],
)
def test_an_approval_past_its_deadline_does_what_it_says_and_never_approves(
    on_timeout, status, follow, drive, clock, outside
):
    graph = Graph()
    ok = graph.approval("ok", prompt="?", timeout="1h", on_timeout=on_timeout)
    ok.approved >> graph.tool("pay", "charge")
    job = drive(submit(graph))
    clock.forward(hours=2)
    assert recovery.wake_due() == 1
    assert (drive(job).status, statuses(job)["pay"], outside.effects()) == (status, follow, [])


def test_a_decision_after_the_deadline_is_refused(asked, drive, boss, clock):
    clock.forward(days=3)
    recovery.wake_due()
    with pytest.raises((ApprovalRefused, JobFinished)):
        asked.decide("ok", approve=True, user=boss, answer={"why": "x"})
    assert drive(asked).status == "failed"


def test_a_decision_past_the_deadline_before_the_sweep_came_is_refused(asked, drive, boss, clock, outside):
    clock.forward(days=3)
    with pytest.raises((ApprovalRefused, JobFinished)):
        asked.decide("ok", approve=True, user=boss, answer={"why": "x"})
    recovery.wake_due()
    assert drive(asked).status == "failed"
    assert outside.effects() == []


def test_a_decision_that_came_too_late_has_no_effect_after_a_retry_either(drive, boss, clock):
    graph = Graph()
    graph.approval("ok", prompt="?", timeout="1h")
    job = drive(submit(graph))
    clock.forward(hours=2)
    with pytest.raises(ApprovalRefused, match="too late"):
        job.decide("ok", approve=True, user=boss)
    with pytest.raises(ApprovalRefused, match="too late"):
        job.decide("ok", approve=True, user=boss)
    recovery.wake_due()
    assert drive(job).status == "failed"
    job.retry()
    assert drive(job).status == "waiting"
    job.decide("ok", approve=True, user=boss)
    assert drive(job).status == "completed"


@pytest.mark.parametrize("prefix", ["decision", "subjob", "auto"])
def test_a_signal_cannot_take_the_deduplication_id_of_the_runtimes_own(asked, prefix):
    with pytest.raises(InputInvalid) as refusal:
        asked.signal("x", 5, dedup_id=f"{prefix}:{asked.waits.get().pk}")
    assert refusal.value.path == "dedup_id"
    assert not asked.signals.exists()


def test_a_reason_that_cannot_be_kept_is_refused(asked):
    with pytest.raises(InputInvalid) as refusal:
        asked.pause(why="a\0b")
    assert refusal.value.path == "why"


def test_a_doubt_is_not_woken_by_a_signal_of_its_name(worker, outside):
    outside.after["charge"].append(TimeoutError())
    job = submit(calling("charge"))
    run_once(job, worker)
    job.signal("charge#0", "it happened, trust me")
    assert (entry_of(job).state, statuses(job)) == ("unknown", {"it": "waiting"})
