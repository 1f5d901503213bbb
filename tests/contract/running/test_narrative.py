"""Notes and progress are for people: they ride with what a step writes anyway, and cost it nothing."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import override_settings

from runtime.exceptions import StaleAttempt
from runtime.models import Event, EventPart, Job
from runtime.narrative import Narrative
from tests.agents_app.world import world
from tests.engine.driving import doing, drive, step_of, submit, told

NARRATIVE = ("note_added", "progress_reported")


def stories(job: Job) -> list[tuple[str, dict[str, Any], Any]]:
    """Type, facts and payload of what was told."""
    parts = dict(EventPart.objects.filter(job=job, name="narrative").values_list("seq", "value"))
    events = Event.objects.filter(job=job, type__in=NARRATIVE).order_by("seq")
    return [(event.type, event.data, parts[event.seq]) for event in events]


def test_notes_and_progress_are_told_in_order_with_the_steps_record(worker):
    def work(context):
        context.emit("began", {"items": 2})
        context.progress(0.5, "half")
        context.emit("done")
        return 1

    job = drive(submit(doing(work)), worker)

    assert told(job)[-5:] == [
        *("note_added", "progress_reported", "note_added"),
        *("step_completed", "job_completed"),
    ]
    assert [(type, payload) for type, _, payload in stories(job)] == [
        ("note_added", {"items": 2}),
        ("progress_reported", {"fraction": 0.5, "text": "half"}),
        ("note_added", None),
    ]
    facts = [data for _, data, _ in stories(job)]
    assert (facts[0]["name"], facts[1]["percent"]) == ("began", 50)


def test_a_note_before_a_call_is_told_before_the_call(worker):
    def work(context):
        context.emit("about to charge")
        return context.tool("charge", amount=1.0)

    job = drive(submit(doing(work)), worker)

    assert told(job, step="it")[1:4] == ["note_added", "tool_called", "tool_returned"]


def test_what_a_step_tells_changes_nothing_that_is_recorded(worker):
    def silent(context):
        return [str(context.uuid4()), context.tool("charge", amount=2.0)]

    def talking(context):
        context.emit("one", {"a": 1})
        first = str(context.uuid4())
        context.progress(0.3)
        return [first, context.tool("charge", amount=2.0)]

    quiet = drive(submit(doing(silent, id="quiet")), worker)
    loud = drive(submit(doing(talking, id="loud")), worker)

    def facts(job: Job) -> list[str]:
        return [type for type in told(job) if type not in NARRATIVE]

    assert facts(quiet) == facts(loud)
    assert loud.status == "completed"


@pytest.mark.parametrize(
    "payload",
    [object(), {1: 2}, float("nan"), "\x00", "\ud800", b"bytes", "x" * 300_000, [[]] * 3 + [lambda: 1]],
    ids=["object", "keys", "nan", "nul", "surrogate", "bytes", "large", "function"],
)
def test_a_payload_that_cannot_be_kept_is_dropped_and_the_step_goes_on(worker, payload):
    before = Narrative.dropped_in_process

    def work(context):
        context.emit("bad", payload)
        context.emit("good", 1)
        return "done"

    job = drive(submit(doing(work)), worker)

    assert job.status == "completed"
    assert [(data["name"], data["dropped"], payload) for _, data, payload in stories(job)] == [("good", 1, 1)]
    assert Narrative.dropped_in_process == before + 1


@pytest.mark.parametrize("name", ["", "x" * 101, None, 7, "\x00"])
def test_a_name_that_cannot_be_kept_is_dropped(worker, name):
    job = drive(submit(doing(lambda context: context.emit(name))), worker)

    assert (job.status, stories(job)) == ("completed", [])


@pytest.mark.parametrize("fraction", ["half", None, float("nan"), float("inf")])
def test_a_progress_that_is_no_number_is_dropped(worker, fraction):
    job = drive(submit(doing(lambda context: context.progress(fraction))), worker)

    assert (job.status, stories(job)) == ("completed", [])


def test_a_payload_whose_looks_raise_is_dropped(worker):
    class Hostile(dict[str, Any]):
        def items(self) -> Any:
            raise RuntimeError("look away")

    job = drive(submit(doing(lambda context: context.emit("bad", Hostile(a=1)))), worker)

    assert (job.status, stories(job)) == ("completed", [])


def test_the_oldest_are_dropped_when_there_is_no_room_and_the_gap_is_told(worker):
    def work(context):
        for number in range(1000):
            context.emit("number", number)
        return len(context.narrative)

    with override_settings(AETHERIS={"NARRATIVE_EVENTS": 10}):
        job = drive(submit(doing(work)), worker)

    assert step_of(job).result == 10
    assert [payload for _, _, payload in stories(job)] == list(range(990, 1000))
    assert [data.get("dropped") for _, data, _ in stories(job)] == [990] + [None] * 9


def test_memory_is_bounded_in_bytes_too(worker):
    def work(context):
        for _ in range(100):
            context.emit("large", "x" * 1000)
        return len(context.narrative)

    with override_settings(AETHERIS={"NARRATIVE_BYTES": 10_000}):
        job = drive(submit(doing(work)), worker)

    assert step_of(job).result == 9


def test_a_later_change_of_the_payload_is_not_told(worker):
    def work(context):
        payload = {"count": 1}
        context.emit("count", payload)
        payload["count"] = 2

    job = drive(submit(doing(work)), worker)

    assert stories(job)[0][2] == {"count": 1}


def test_a_broken_sink_loses_the_narrative_and_nothing_else(worker, monkeypatch):
    def broken(*args, **kwargs):
        raise OSError("no sink")

    monkeypatch.setattr("runtime.narrative.part", broken)

    def work(context):
        context.emit("lost")
        return context.tool("charge", amount=1.0)

    job = drive(submit(doing(work)), worker)

    assert (job.status, stories(job), len(world.calls)) == ("completed", [], 1)


def test_each_attempt_tells_its_own_story(worker, clock):
    def work(context):
        context.emit("attempt", context.step.attempt)
        if context.step.attempt == 1:
            raise OSError("once")

    job = drive(submit(doing(work, retry={"backoff": "1s"})), worker)
    clock.forward(minutes=1)
    job = drive(job, worker)

    assert [payload for _, _, payload in stories(job)] == [1, 2]


def test_a_lost_attempt_neither_tells_nor_records_what_it_drew(worker):
    """Its values would be injected into an attempt that drew others, and its events would break the chain."""
    late: list[Any] = []

    def work(context):
        if context.step.attempt == 1:
            context.emit("late")
            context.uuid4()
            lost_step = step_of(Job.objects.get())
            lost_step.retry({"type": "Lost", "message": "by the test"}, after=timedelta(0))
            drive(Job.objects.get(), worker)
            try:
                context._flush_effects()
            except StaleAttempt as stale:
                late.append(stale)
                raise
        return str(context.uuid4())

    job = drive(submit(doing(work)), worker)

    assert len(late) == 1
    assert stories(job) == []
    assert job.steps.get().effects.count() == 1
