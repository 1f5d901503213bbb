"""Doctor: each invariant is broken by hand once, found, and repaired where that is safe. The rest is for a person."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import connection, transaction

from runtime import doctor, leases, recovery, repairs, snapshots
from runtime.doctor import Finding
from runtime.graph import Graph
from runtime.incarnation import Incarnation
from runtime.models import Job, Snapshot
from tests.engine.driving import calling, claim, doing, drive, submit, told
from tests.engine.scoped import mapping

State = Callable[[Incarnation], Job]


def waiting(worker: Incarnation) -> Job:
    return drive(Job.objects.submit("wait"), worker)


def completed(worker: Incarnation) -> Job:
    return drive(Job.objects.submit("echo", 5), worker)


def limited(worker: Incarnation) -> Job:
    return drive(Job.objects.submit("echo", 5, timeout=60), worker)


def called(worker: Incarnation) -> Job:
    return drive(submit(calling("charge")), worker)


def blocked(worker: Incarnation) -> Job:
    graph = Graph()
    graph.wait("first", signal="go") >> graph.timer("second", "1h")
    return drive(submit(graph), worker)


def mapped(worker: Incarnation) -> Job:
    inner = Graph()
    inner.wait("it", signal="go")
    return drive(submit(mapping(inner), [1, 2]), worker)


def running(worker: Incarnation) -> Job:
    job = Job.objects.submit("echo", 5)
    claim(job, worker, "echo")
    return job


def misnamed(worker: Incarnation) -> Job:
    job = waiting(worker)
    job.signal("gone", 7)
    return job


def large(worker: Incarnation) -> Job:
    return drive(submit(doing(lambda context: "x" * 100_000)), worker)


@dataclass(frozen=True)
class Breakage:
    code: str
    state: State
    sql: str
    repaired: bool = False


STEP, JOB, ENTRY = (
    "UPDATE aetheris_step SET ",
    "UPDATE aetheris_job SET ",
    "UPDATE aetheris_ledger_entry SET ",
)
STALE_WAIT = """
INSERT INTO aetheris_wait (tenant, job_id, step_id, step_key, attempt, kind, name, for_call, prompt, schema, approvers,
    opened_at, outcome)
  SELECT tenant, job_id, id, key, attempt, 'signal', 'go', '', '', '{}', '{}', now(), '' FROM aetheris_step
  WHERE job_id = %s
"""
DOUBT = """
INSERT INTO aetheris_ledger_entry SELECT (jsonb_populate_record(NULL::aetheris_ledger_entry, to_jsonb(l)
    || jsonb_build_object('id', -1, 'state', 'unknown', 'job_id', s.job_id, 'step_id', s.id))).*
  FROM aetheris_step s, (SELECT * FROM aetheris_ledger_entry LIMIT 1) l WHERE s.job_id = %s
"""
NOT_UNDONE = """
WITH job AS (UPDATE aetheris_job SET compensate = 'always', status = 'failed' WHERE id = %s RETURNING id)
UPDATE aetheris_ledger_entry SET policy = '{"compensate": {}}' WHERE job_id IN (SELECT id FROM job)
"""
NO_WORKER = "DELETE FROM aetheris_worker WHERE id IN (SELECT worker_id FROM aetheris_step WHERE job_id = %s)"
NO_BLOB = "DELETE FROM aetheris_blob WHERE digest IN (SELECT blob FROM aetheris_event_part WHERE job_id = %s)"

BREAKAGES = (
    Breakage("stranded", waiting, f"{STEP} status = 'blocked', waiting_for = '' WHERE job_id = %s"),
    Breakage("unfinished_step", completed, f"{STEP} status = 'ready', finished_at = NULL WHERE job_id = %s"),
    Breakage(
        "counters", waiting, f"{JOB} ready_steps = 1, unfinished_steps = 5 WHERE id = %s", repaired=True
    ),
    Breakage("clocks", limited, f"{JOB} overdue_at = now() + '1h' WHERE id = %s"),
    Breakage("unreleased", blocked, "DELETE FROM aetheris_edge WHERE job_id = %s"),
    Breakage("scopes", mapped, "UPDATE aetheris_scope SET unfinished = 2 WHERE job_id = %s"),
    Breakage("waits", waiting, "DELETE FROM aetheris_wait WHERE job_id = %s"),
    Breakage("stale_wait", completed, STALE_WAIT, repaired=True),
    Breakage("unbound", misnamed, "UPDATE aetheris_signal SET name = 'go' WHERE job_id = %s", repaired=True),
    Breakage("unsettled", called, f"{ENTRY} state = 'started' WHERE job_id = %s"),
    Breakage("doubt_unasked", waiting, DOUBT),
    Breakage("uncompensated", called, NOT_UNDONE),
    Breakage("accepted_unasked", called, f"{ENTRY} state = 'accepted', answer_by = NULL WHERE job_id = %s"),
    Breakage("unknown_worker", running, NO_WORKER, repaired=True),
    Breakage("gap", completed, f"{JOB} seq = seq + 1 WHERE id = %s"),
    Breakage(
        "chain",
        completed,
        "UPDATE aetheris_event SET header = header || '\\x20' WHERE job_id = %s AND seq = 2",
    ),
    Breakage("missing_blob", large, NO_BLOB),
    Breakage("fold", completed, f"{STEP} failures = 1 WHERE job_id = %s"),
    Breakage(
        "snapshot", completed, "UPDATE aetheris_snapshot SET state = '\\x00' WHERE job_id = %s", repaired=True
    ),
)
BY_HAND = [one for one in BREAKAGES if not one.repaired]
REPAIRED = [one for one in BREAKAGES if one.repaired]


def codes(findings: list[Finding]) -> set[str]:
    return {one.code for one in findings}


def broken_job(breakage: Breakage, worker: Incarnation) -> Job:
    if breakage.code == "doubt_unasked":
        called(worker)  # its entry is copied
    job = breakage.state(worker)
    if breakage.code == "snapshot":
        Snapshot.objects.create(job=job, seq=job.seq, version=snapshots.version(), state=b"")
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('session_replication_role', 'replica', %s)", [False])
        cursor.execute(breakage.sql, [job.pk])
        cursor.execute("SELECT set_config('session_replication_role', 'origin', %s)", [False])
    return job


@pytest.mark.parametrize("breakage", BY_HAND, ids=lambda one: one.code)
def test_what_is_for_a_person_is_found_and_left_alone(breakage, worker):
    with transaction.atomic():
        job = broken_job(breakage, worker)
        found = [one for one in doctor.examine([job.pk]) if one.code == breakage.code]
        assert found, f"nobody sees {breakage.code}"
        assert {one.repair for one in found} == {""}
        assert all(len(one.remedy) > 20 for one in found), "it says what to do"
        assert repairs.of_findings(found, dry_run=False) == []
        transaction.set_rollback(True)


@pytest.mark.parametrize("breakage", REPAIRED, ids=lambda one: one.code)
def test_what_is_safe_is_repaired_when_it_is_told_to(breakage, worker):
    job = broken_job(breakage, worker)
    found = doctor.examine([job.pk])
    assert codes(found) == {breakage.code}
    planned = repairs.of_findings(found, dry_run=True)
    assert planned == [f"job {job.pk}: {found[0].repair}"]
    assert codes(doctor.examine([job.pk])) == {breakage.code}, "a look changes nothing"
    assert repairs.of_findings(found, dry_run=False) == planned
    assert doctor.examine([job.pk]) == []


def test_every_question_was_broken_once_and_every_repair_is_announced():
    announced = {question.code for question in doctor.questions() if question.repair} | {"snapshot"}
    asked = {question.code for question in doctor.questions()} | {"fold", "snapshot"}
    assert {one.code for one in BREAKAGES} == asked
    assert {one.code for one in REPAIRED} == announced == set(repairs.REPAIRS)


def test_a_signal_that_was_missed_wakes_its_step_and_the_job_ends(worker):
    job = broken_job(next(one for one in BREAKAGES if one.code == "unbound"), worker)
    repairs.of_findings(doctor.examine([job.pk]), dry_run=False)
    assert drive(job, worker).status == "completed"
    assert told(job, step="go")[-2:] == ["step_claimed", "step_completed"]
    assert told(job).count("signal_received") == 1


def test_a_step_of_a_worker_without_a_row_runs_again(worker, other):
    job = broken_job(next(one for one in BREAKAGES if one.code == "unknown_worker"), worker)
    repairs.of_findings(doctor.examine([job.pk]), dry_run=False)
    assert drive(job, other).status == "completed"
    assert told(job, step="echo")[:2] == ["step_claimed", "step_rescued"]


def test_counters_of_a_job_whose_steps_are_wrong_are_not_made_to_fit(worker):
    with transaction.atomic():
        job = completed(worker)
        job.steps.update(status="ready", finished_at=None)
        found = [one for one in doctor.examine([job.pk]) if one.code == "counters"]
        (line,) = repairs.of_findings(found, dry_run=False)
        assert "not repaired (counters): the rows are not what the events say" in line
        transaction.set_rollback(True)


def test_what_a_sweep_would_do_is_said_and_done(worker, other, clock):
    running(worker)
    parent = drive(submit(_calling_wait()), other)
    child = drive(Job.objects.get(parent_step__job=parent), other)
    timer = drive(submit(_timer()), other)
    clock.forward(minutes=2)
    leases.client().delete("aetheris:lease:*")
    child.cancel()
    Job.objects.filter(pk=child.pk).update(reported_at=None)
    planned = repairs.of_what_is_due(dry_run=True)
    assert planned == [
        "1 steps of lost workers are rescued",
        "1 due waits wake",
        "1 ends of subjobs are told",
        *planned[3:],
    ]
    assert repairs.of_what_is_due(dry_run=True) == planned
    done = repairs.of_what_is_due(dry_run=False)
    assert done[:3] == planned[:3]
    assert recovery.lost() == []
    assert drive(timer, other).status == "completed"


def _timer() -> Graph:
    graph = Graph()
    graph.timer("rest", "1m")
    return graph


def _calling_wait() -> Graph:
    graph = Graph()
    graph.subjob("sub", "wait")
    return graph


def test_a_step_that_no_event_knows_of_is_told(worker):
    with transaction.atomic():
        job = completed(worker)
        step: Any = job.steps.get()
        step.pk, step.key = None, "smuggled"
        step.save()
        assert "step smuggled is in no event" in doctor.differences(job)
        transaction.set_rollback(True)
