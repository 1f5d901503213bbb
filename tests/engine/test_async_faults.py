# ruff: noqa: B023 - each round is over before the next one begins
"""The outside tells how a call ended while something else goes wrong: whoever was first is believed, once, by all."""

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from runtime import agents, answers, code, forks, recall, recovery, webhooks
from runtime.exceptions import JobFinished, StaleAttempt
from runtime.graph import Graph
from runtime.models import Job, Webhook
from runtime.ports import CrashPoint
from tests.agents_app.bank import signed
from tests.engine.driving import (
    Threads,
    calling,
    crash_at,
    doing,
    entry_of,
    run_once,
    statuses,
    step_of,
    submit,
    told,
)
from tests.engine.driving import (
    drive as drive_with,
)
from tests.engine.test_lost_answers import EITHER, has, is_submit, lost
from tests.healthy import nothing_is_broken
from tools import Compensation, Failed, Happened, Pending

PAID = {"paid": 5}
UNDO = Compensation("release", {"what": "no. ${result.paid}"})
ELSEWHERE = {CrashPoint.BEFORE_HINT, CrashPoint.AFTER_SETTLE, CrashPoint.AFTER_ACCEPT, CrashPoint.IN_SWEEP}
"""What an undoing call does not come by."""
ROUNDS = 200

pytestmark = pytest.mark.pg_slice


def undoing(amount: float = 5) -> Graph:
    """A payout that is undone when the job does not complete."""
    graph = Graph(compensate="always")
    graph.tool("it", "payout", amount=amount, compensate=UNDO)
    return graph


def tell(job: Job, ended: answers.Ended = Happened(PAID)) -> bool:  # noqa: B008 - a value
    return answers.tell(entry_of(job), ended, source="webhook")


@pytest.fixture
def lose(clock) -> Callable[[], None]:
    def lose() -> None:
        clock.forward(minutes=1)
        assert recovery.rescue_lost() == 1

    return lose


# Workers that are lost


def test_an_acceptance_that_comes_after_its_step_was_cancelled_leaves_the_call_in_doubt(
    worker, other, outside, lose
):
    jobs: list[Job] = []

    def cancelled_and_taken_over() -> Any:
        jobs[0].cancel()
        lose()
        return Pending("po-1")

    outside.after["payout"].append(cancelled_and_taken_over)
    jobs.append(submit(calling("payout")))
    run_once(jobs[0], worker)
    entry = entry_of(jobs[0])
    assert (jobs[0].status, entry.state, entry.external_id) == ("cancelled", "unknown", "po-1")
    assert told(jobs[0])[-2:] == ["tool_accepted", "tool_unknown"]
    nothing_is_broken()
    assert tell(jobs[0])
    assert (entry_of(jobs[0]).state, len(outside.effects())) == ("committed", 1)


def test_an_acceptance_that_comes_while_the_call_is_to_be_undone_says_under_which_name_to_ask(
    worker, other, outside, lose
):
    jobs: list[Job] = []

    def cancelled_and_taken_over() -> Any:
        jobs[0].cancel()
        lose()
        return Pending("po-7")

    outside.after["payout"].append(cancelled_and_taken_over)
    jobs.append(submit(undoing()))
    run_once(jobs[0], worker)
    other.beat()
    outside.polls.append(Happened(PAID))
    job = drive_with(jobs[0], other)
    assert (job.status, entry_of(job).state, outside.polled) == ("cancelled", "compensated", ["po-7"])
    assert (len(outside.effects("payout")), len(outside.effects("release"))) == (1, 1)


@pytest.mark.parametrize("crash", [CrashPoint.AFTER_INTENT, CrashPoint.AFTER_CALL, CrashPoint.AFTER_ACCEPT])
def test_a_call_that_a_webhook_commits_while_its_job_is_cancelled_is_undone_once(
    crash, worker, other, outside, lose, clock
):
    job = submit(undoing())
    with crash_at(crash):
        run_once(job, worker)
    job.cancel()
    lose()
    other.beat()
    drive_with(job, other)
    assert (tell(job), tell(job)) == (True, False)
    clock.forward(minutes=5)  # it may have been told to ask again in a while
    other.beat()
    job = drive_with(job, other)
    assert (job.status, entry_of(job).state) == ("cancelled", "compensated")
    assert [call.arguments for call in outside.effects("release")] == [{"what": "no. 5"}]
    assert not tell(job)
    assert told(job).count("step_compensated") == 1


@pytest.mark.parametrize("point", [point for point in CrashPoint if point not in ELSEWHERE])
def test_a_crash_while_it_is_undone_and_the_outside_tells_again_undoes_it_once(
    point, worker, other, drive, outside, lose
):
    job = drive(submit(undoing()))
    job.cancel()
    tell(job)
    with crash_at(point):
        run_once(job, worker, "undo:it:payout")
    assert not tell(job)
    if step_of(job, "undo:it:payout").status == "running":
        lose()
    other.beat()
    job = drive_with(job, other)
    if in_doubt := job.ledger.filter(state="unknown").first():
        assert in_doubt.step.key == "undo:it:payout"
        answers.tell(in_doubt, Happened({}), source="webhook")
        job = drive_with(job, other)
    assert (job.status, entry_of(job).state) == ("cancelled", "compensated")
    assert len(outside.effects("payout")) == 1
    assert len(outside.effects("release")) <= 1


def test_a_step_that_is_held_for_its_code_has_its_call_settled_meanwhile_and_repeats_nothing(
    worker, other, outside, lose, monkeypatch
):
    job = submit(doing(lambda context: context.tool("payout")))
    with crash_at(CrashPoint.AFTER_CALL):
        run_once(job, worker)
    lose()
    with monkeypatch.context() as changed:
        changed.setattr(code, "digest_here", lambda name: "another")
        changed.setattr(agents, "on_code_change", lambda agent, version: "block")
        run_once(job, other)
    assert (step_of(job).waiting_for.split("@")[0], entry_of(job).state) == ("code:do", "started")
    assert tell(job)
    nothing_is_broken()
    job.adopt(by="user:1", why="it is the same")
    assert drive_with(job, other).result == PAID
    assert len(outside.effects()) == 1


# Answers of the database that are lost


@EITHER
@pytest.mark.parametrize("ended", [Happened(PAID), Failed("no such account")])
def test_lost_answers_on_the_way_of_an_accepted_call_change_nothing(ended, happened, worker, drive, outside):
    job = submit(calling("payout"))
    with lost(has("settle", to="accepted"), has("move", to="waiting"), happened=happened):
        run_once(job, worker)
    with lost(
        has("settle", type="tool_returned" if ended == Happened(PAID) else "tool_failed"), happened=happened
    ):
        tell(job, ended)
    job = drive(job)
    assert job.status == ("completed" if ended == Happened(PAID) else "failed")
    assert told(job).count("tool_accepted") == told(job).count("step_parked") == len(outside.effects()) == 1


@EITHER
def test_lost_answers_while_a_call_is_undone_change_nothing(happened, worker, drive, outside):
    job = drive(submit(undoing()))
    with lost(has("job", verb="cancel"), happened=happened):
        job.cancel()
    with lost(has("settle", to="committed"), happened=happened):
        tell(job)
    with lost(has("intend"), has("settle", to="compensated"), happened=happened):
        job = drive(job)
    assert (job.status, len(outside.effects("release"))) == ("cancelled", 1)


def test_of_two_who_tell_while_a_connection_breaks_the_one_whose_word_was_recorded_is_believed(
    worker, outside, clock, monkeypatch
):
    """The poll's settlement is lost before its COMMIT; when it looks what became of it, a webhook has been first."""
    job = submit(calling("payout"))
    run_once(job, worker)
    clock.forward(minutes=11)
    worker.beat()
    assert recovery.wake_due() == 1
    outside.polls.append(Happened({"paid": "as the poll says"}))
    look = recall.answer_of

    def webhook_first(turn: Any) -> Any:
        if any(operation["op"] == "settle" for operation in turn.ops):
            tell(job, Happened({"paid": "as the webhook says"}))
        return look(turn)

    monkeypatch.setattr(recall, "answer_of", webhook_first)
    with lost(has("settle", to="committed"), happened=False):
        run_once(job, worker)
    assert job.result == entry_of(job).result == {"paid": "as the webhook says"}


@EITHER
def test_a_fork_of_a_job_whose_call_is_accepted_submits_one_of_its_own(happened, drive, outside):
    job = drive(submit(calling("payout")))
    assert [effect["state"] for effect in forks.plan(job, "it").effects] == ["accepted"]
    with lost(is_submit, happened=happened):
        fork = drive(forks.fork(job, "it"))
    tell(job)
    assert len({call.key for call in outside.effects()}) == len(outside.effects()) == 2
    assert (entry_of(job).state, entry_of(fork).state) == ("committed", "accepted")


def test_an_event_that_two_processes_read_at_once_is_applied_and_not_its_own_repetition(
    worker, outside, monkeypatch
):
    job = submit(calling("payout"))
    run_once(job, worker)
    key = str(entry_of(job).idempotency_key)
    text, headers = signed({"type": "paid", "data": {"result": PAID, "reference": key}})
    first = answers.tell

    def and_the_sweep(*said: Any, **how: Any) -> bool:
        monkeypatch.setattr(answers, "tell", first)
        is_first = first(*said, **how)
        webhooks.read(Webhook.objects.get())
        return is_first

    monkeypatch.setattr(answers, "tell", and_the_sweep)
    webhooks.receive("bank", headers, text)
    assert (Webhook.objects.get().state, told(job).count("tool_returned")) == ("applied", 1)


# Everything at the same moment


@pytest.fixture
def three(outside) -> Iterator[Threads]:
    threads = Threads(3)
    yield threads
    threads.close()


@pytest.mark.parametrize(
    "graph", [lambda: calling("payout", amount=5), undoing], ids=["left as it is", "undone"]
)
def test_a_webhook_a_poll_and_a_cancel_at_once_agree_in_200_of_200(
    graph, three, worker, other, outside, clock
):
    """Whoever comes first, of its own or by a head start: everybody knows one end, and it is undone at most once."""
    chance = random.Random(7)
    for number in range(ROUNDS // 2):
        outside.polls.clear()
        outside.polls.append(Happened({"paid": "poll"}))
        job = drive_with(submit(graph()), worker)
        key = str(entry_of(job).idempotency_key)
        text, headers = signed(
            {"type": "paid", "data": {"result": {"paid": "webhook"}, "reference": key}}, event=f"evt_{number}"
        )

        wait, is_awake = job.waits.get(closed_at=None), number % 2 == 0
        if is_awake:
            wait.time_out()

        def told_by_webhook() -> Any:
            return webhooks.receive("bank", headers, text)

        def polled() -> Any:
            if not is_awake:
                wait.time_out()
            return run_once(Job.objects.get(pk=job.pk), other)

        def cancelled() -> Any:
            return Job.objects.get(pk=job.pk).cancel(by="user:1")

        before = len(outside.effects("release"))
        together = [told_by_webhook, polled, cancelled]
        early = [None, None, None, *together][number // 2 % 6]
        answers_of_all = []
        if early:
            together.remove(early)
            answers_of_all += three.at_once(early)
        chance.shuffle(together)
        answers_of_all += three.at_once(*together)
        refused = [answer for answer in answers_of_all if isinstance(answer, Exception)]
        assert all(isinstance(answer, StaleAttempt | JobFinished) for answer in refused), refused
        recovery.read_webhooks()
        job = drive_with(job, worker)
        entry, webhook = entry_of(job), Webhook.objects.get(event_id=f"evt_{number}")
        assert early is not told_by_webhook or (entry.source, webhook.state) == ("webhook", "applied")
        assert early is not polled or (entry.source, webhook.state) == ("poll", "repeated")
        assert early is not cancelled or job.status == "cancelled"
        assert (job.is_finished, len(outside.effects("payout"))) == (True, number + 1), statuses(job)
        assert webhook.state == ("applied" if entry.source == "webhook" else webhook.state)
        assert webhook.state in ("applied", "repeated")
        assert job.status != "completed" or job.result == entry.result
        undone = told(job).count("step_compensated")
        assert undone == len(outside.effects("release")) - before == (entry.state == "compensated")
    nothing_is_broken()
