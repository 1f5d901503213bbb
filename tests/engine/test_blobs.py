"""Large values are kept once, by their digest; whoever reads them gets the value."""

import json
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from runtime import blobs, doctor, history, replays
from runtime.graph import Graph
from runtime.memory import MOST_BYTES, Results
from runtime.models import Blob, EventPart, Job, Step
from runtime.turn import Turn
from tests.agents_app.world import world
from tests.engine.driving import calling, doing, drive, entry_of, run_once, submit, why

TEXT = "x" * 5000
LARGE = {"text": TEXT, "more": [1, 2.5, None, "ü"]}
IMPOSTOR = {"$blob": "0" * 64, "bytes": 7}


@pytest.fixture(autouse=True)
def small_rows(settings):
    settings.AETHERIS = settings.AETHERIS | {"INLINE_VALUE_BYTES": 1000}


def kept(tenant="default"):
    """What is kept apart, but for graphs."""
    graphs = Job.objects.values("graph_digest")
    return list(Blob.objects.filter(tenant=tenant).exclude(digest__in=graphs).values_list("value", flat=True))


def raw(model, column, **where):
    """A column as it stands in the row."""
    with connection.cursor() as cursor:
        conditions = " AND ".join(f"{name} = %s" for name in where)
        cursor.execute(
            f"SELECT {column} FROM {model._meta.db_table} WHERE {conditions}", list(where.values())
        )
        return json.loads(cursor.fetchone()[0])


def passing(count, value="${input}"):
    """A line of steps, each of which answers what the one before it did."""
    graph = Graph()
    previous = graph.function("s0", "say", value=value)
    for number in range(1, count):
        previous = graph.function(f"s{number}", "say", value=previous)
    return graph


def test_a_large_result_stands_once_and_its_digest_in_every_other_place(worker):
    job = drive(submit(passing(5), LARGE), worker)
    assert (job.status, job.result) == ("completed", LARGE)
    assert kept() == [LARGE]
    mark = raw(Step, "result", job_id=job.pk, key="s3")
    assert mark.keys() == {"$blob", "bytes"}
    assert mark == raw(Job, "input", id=job.pk) == raw(Job, "result", id=job.pk)
    parts = EventPart.objects.filter(job=job, name="output")
    assert {part.blob for part in parts} == {mark["$blob"]}
    assert all(part.value == LARGE for part in parts)


def test_what_is_not_large_stands_where_it_belongs(worker):
    job = drive(submit(passing(2), {"text": "x" * 900}), worker)
    assert (kept(), raw(Job, "result", id=job.pk)) == ([], {"text": "x" * 900})


def test_another_worker_reads_what_it_needs(worker, other, settings):
    settings.AETHERIS = settings.AETHERIS | {"KEEP_JOB_SECONDS": 0.0}
    job = submit(passing(4), LARGE)
    for number in range(4):
        assert run_once(job, worker if number % 2 else other, f"s{number}").status == "completed"
    assert (job.status, job.result) == ("completed", LARGE)


def test_arguments_and_results_of_calls_are_kept_apart(worker):
    job = drive(submit(calling("notify", to="${input.text}"), LARGE), worker)
    entry = entry_of(job)
    assert (entry.arguments, entry.result, job.result) == ({"to": TEXT}, {"sent": TEXT}, {"sent": TEXT})
    assert sorted(map(len, kept())) == [1, 1, 2]


def test_a_recorded_answer_is_injected_whole(worker, clock):
    seen: list[Any] = []

    def twice(context):
        seen.append(context.tool("notify", to=TEXT))
        if len(seen) == 1:
            raise RuntimeError("after the call")
        return seen

    job = submit(doing(twice))
    run_once(job, worker)
    clock.forward(minutes=5)
    run_once(job, worker)
    assert (job.result, len(world.effects("notify"))) == ([{"sent": TEXT}] * 2, 1)


def test_a_recorded_value_is_injected_whole(worker, clock):
    seen: list[Any] = []

    def draw(context):
        seen.append(context.record("large", lambda: LARGE if not seen else "drawn anew"))
        if len(seen) == 1:
            raise RuntimeError("after the value")
        return seen[-1] == LARGE

    job = submit(doing(draw))
    run_once(job, worker)
    clock.forward(minutes=5)
    run_once(job, worker)
    assert job.result is True


def test_a_signal_may_be_large(worker):
    graph = Graph()
    graph.wait("w", "news")
    job = drive(submit(graph), worker)
    job.signal("news", LARGE)
    assert drive(job, worker).result == LARGE
    assert job.signals.get().payload == LARGE
    assert kept() == [LARGE]


def test_results_of_a_map_and_of_an_expression_are_whole(worker):
    inner = passing(1, value={"item": "${item}", "of": "${input}"})
    graph = Graph()
    made = graph.map("m", [1, 2], inner.build())
    graph.result({"all": str(made)})
    job = drive(submit(graph, LARGE), worker)
    assert job.result == {"all": [{"item": 1, "of": LARGE}, {"item": 2, "of": LARGE}]}


def test_a_fork_takes_over_what_is_kept_apart(worker):
    job = drive(submit(passing(3), LARGE), worker)
    fork = drive(job.fork("s2"), worker)
    assert (fork.status, fork.result, fork.input) == ("completed", LARGE, LARGE)
    assert kept() == [LARGE]


def test_a_value_that_looks_like_a_digest_is_a_value(worker):
    job = drive(submit(passing(3), IMPOSTOR), worker)
    assert (job.input, job.result, kept()) == (IMPOSTOR, IMPOSTOR, [IMPOSTOR])
    nested = drive(submit(passing(2), {"a": IMPOSTOR}), worker)
    assert nested.result == {"a": IMPOSTOR}


def test_a_tenant_has_blobs_of_its_own(worker):
    for tenant in ("acme", "other"):
        drive(submit(passing(1), LARGE, tenant=tenant), worker)
    assert (kept("acme"), kept("other"), kept()) == ([LARGE], [LARGE], [])


def test_lists_look_at_no_large_value(worker):
    job = drive(submit(passing(2), LARGE), worker)
    with CaptureQueriesContext(connection) as asked:
        for one in Job.objects.for_list():
            str(one)
        for step in job.steps.for_list():
            str(step)
        history.events_after(job, 0, 100, payloads=False)
    assert not [query for query in asked.captured_queries if "aetheris_blob" in query["sql"]]


def test_a_page_of_events_reads_its_large_values_at_once(worker):
    job = drive(submit(passing(5), LARGE), worker)
    with CaptureQueriesContext(connection) as asked:
        page = history.events_after(job, 0, 100, payloads=True)
    assert sum("aetheris_blob" in query["sql"] for query in asked.captured_queries) == 1
    assert [parts["output"] for parts in page.parts.values() if "output" in parts] == [LARGE] * 5


def test_an_error_stays_with_its_step(worker, clock):
    def fall(context):
        raise RuntimeError("x" * 1500)

    job = submit(doing(fall, retry={"max_attempts": 1}))
    run_once(job, worker)
    assert why(job)["step"] == "it"
    assert kept() == []


def test_doctor_misses_a_blob(worker):
    job = drive(submit(passing(1), LARGE), worker)
    (value,) = Blob.objects.exclude(digest=job.graph_digest)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM aetheris_blob WHERE digest = %s", [value.digest])
    assert {finding.code for finding in doctor.examine([job.pk])} == {"missing_blob"}
    Blob.objects.create(tenant="default", digest=value.digest, value=LARGE, created_at=job.created_at)


def test_what_a_worker_keeps_at_hand_is_bounded_in_bytes(worker):
    job = drive(submit(passing(3), LARGE), worker)
    results = Results(job, {"old": 1})
    results.keep("s0", LARGE, MOST_BYTES - 100)
    assert results.of({"old"}) == {"old": 1}
    results.keep("s1", LARGE, 5000)
    assert results.bytes == 5000, "the oldest went"
    with CaptureQueriesContext(connection) as asked:
        assert results.of({"s0", "s1"}) == {"s0": LARGE, "s1": LARGE}
        assert results.of({"s0", "s1"}) == {"s0": LARGE, "s1": LARGE}
    assert len(asked) == 2, "the step, and its value; the second time it is at hand"


def test_a_turn_of_small_values_is_not_looked_through(monkeypatch, worker, settings):
    settings.AETHERIS = settings.AETHERIS | {"INLINE_VALUE_BYTES": 64 * 1024}
    monkeypatch.setattr(blobs, "kept_apart", lambda payload: pytest.fail("nothing is large"))
    assert drive(submit(passing(3), 1), worker).result == 1


def test_what_is_kept_apart_replays(worker):
    graph = passing(2)
    graph.wait("w", "news")
    graph.edge("s1", "w")
    job = drive(submit(graph, LARGE), worker)
    job.signal("news", LARGE)
    drive(job, worker)
    found = replays.verify(job)
    assert (found.faults, found.divergence, found.attempts) == ([], None, 4)


def test_a_large_value_is_sent_once(worker, monkeypatch):
    texts, ask = list[str](), Turn._ask

    def noted(turn, text):
        texts.append(text)
        return ask(turn, text)

    monkeypatch.setattr(Turn, "_ask", noted)
    job = drive(submit(passing(5), LARGE), worker)
    assert (sum(TEXT in text for text in texts), job.result) == (1, LARGE)


def test_a_value_whose_turn_was_rolled_back_is_sent_again(worker):
    job = submit(passing(2), LARGE)
    Job.objects.get(pk=job.pk).signal("early", LARGE)
    with transaction.atomic():
        job.signal("lost", {"another": TEXT})
        transaction.set_rollback(True)
    job.signal("found", {"another": TEXT})
    assert job.signals.get(name="found").payload == {"another": TEXT}
    assert drive(job, worker).result == LARGE
