"""The gate: guarded moves, events that can be proved, and what the database refuses whoever asks."""

import json
from itertools import product
from typing import Any
from uuid import uuid4

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from runtime import chain, states
from runtime.conf import settings
from runtime.exceptions import (
    AetherisError,
    IdempotencyConflict,
    JobFinished,
    JobNotFound,
    StaleAttempt,
)  # fmt: skip
from runtime.models import Event, Job, LedgerEntry, Step
from runtime.outcomes import Waiting
from runtime.states import ENTRY_ALLOWED_FROM, EntryState, StepStatus
from runtime.turn import Turn, part
from tests.engine.driving import calling, claim, doing, drive, statuses, step_of, submit, told

pytestmark = pytest.mark.pg_slice


def execute(sql: str, *values: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)


# Guards


def test_a_worker_that_lost_its_step_cannot_record_a_result(worker, other):
    job = submit(doing(lambda context: 1))
    late = claim(job, worker)
    step_of(job).rescue()
    claim(job, other)

    with pytest.raises(StaleAttempt):
        late.complete({"paid": True})

    step = step_of(job)
    assert (step.status, step.attempt, step.worker_id, step.result) == ("running", 2, other.id, None)
    assert told(job, step="it") == ["step_claimed", "step_rescued", "step_claimed"]


@pytest.mark.parametrize("verb", ["complete", "fail", "retry", "rescue", "time_out", "park"])
def test_no_verb_of_a_stale_attempt_writes_anything(verb, worker, other):
    job = submit(doing(lambda context: 1))
    late = claim(job, worker)
    step_of(job).rescue()
    claim(job, other)
    before = told(job)
    late.worker_id = worker.id
    arguments: dict[str, list[Any]] = {
        "fail": [{"type": "E"}],
        "retry": [{"type": "E"}],
        "park": [Waiting("signal", "go")],
    }

    with pytest.raises(StaleAttempt, match="nothing was written"):
        getattr(late, verb)(*arguments.get(verb, []))

    assert told(job) == before
    assert statuses(job) == {"it": "running"}


def test_a_turn_is_all_or_nothing(worker):
    job = submit(doing(lambda context: 1))
    step = claim(job, worker)
    step.attempt = 7
    with pytest.raises(StaleAttempt), Turn(job.pk) as turn:
        turn.event("note_added", data={"note": "never"})
        turn.signal("go", None, dedup_id="1")
        turn.complete(step, 1)
    assert "note_added" not in told(job)
    assert not job.signals.exists()


def test_a_refused_turn_leaves_the_callers_transaction_usable(worker):
    job = submit(doing(lambda context: 1))
    step = claim(job, worker)
    step.attempt = 7
    with transaction.atomic():
        with pytest.raises(StaleAttempt):
            step.complete(1)
        assert Job.objects.filter(pk=job.pk).exists()
        job.pause()
    assert "job_paused" in told(job)


def test_a_finished_step_ends_only_once(worker):
    job = submit(doing(lambda context: 1))
    step = claim(job, worker)
    step.complete(1)
    for end in (lambda: step.complete(2), lambda: step.fail({"type": "E"}), step.rescue, step.time_out):
        with pytest.raises(StaleAttempt):
            end()
    assert told(job, step="it") == ["step_claimed", "step_completed"]


def test_a_job_that_does_not_exist_is_named():
    unknown = uuid4()
    with pytest.raises(JobNotFound, match=str(unknown)), Turn(unknown) as turn:
        turn.event("note_added")


def test_a_finished_job_cannot_be_paused_resumed_or_cancelled(drive):
    job = drive(submit(doing(lambda context: 1)))
    for verb in (job.pause, job.resume, job.cancel):
        with pytest.raises(JobFinished, match="completed"):
            verb()


def test_the_counters_of_a_job_follow_its_steps(drive, worker):
    job = Job.objects.submit("fan")

    def counted() -> tuple[int, int, int, int]:
        job.refresh_from_db()
        return (job.ready_steps, job.running_steps, job.waiting_steps, job.unfinished_steps)

    assert counted() == (1, 0, 0, 22)
    first = claim(job, worker, "first")
    assert counted() == (0, 1, 0, 22)
    first.complete()
    assert counted() == (20, 0, 0, 21)
    claim(job, worker, "m3").park(Waiting("signal", "go"))
    assert counted() == (19, 0, 1, 21)
    claim(job, worker, "m4").fail({"type": "E"})
    assert counted() == (0, 0, 0, 0)
    assert job.status == "failed"


# Events


def test_events_are_gapless_chained_and_of_the_bytes_that_were_hashed(drive):
    job = drive(Job.objects.submit("fan", {"x": 1}))
    events = list(job.events.order_by("seq"))
    assert [event.seq for event in events] == list(range(1, job.seq + 1))
    head = bytes(32)
    for event in events:
        header = bytes(event.header)
        assert chain.header_bytes(json.loads(header)) == header
        assert bytes(event.digest) == chain.digest(header)
        assert bytes(event.prev) == head
        assert event.as_header()["log"] == settings().log_name
        head = bytes(event.digest)
    assert bytes(Job.objects.get(pk=job.pk).head) == head


def test_an_events_columns_repeat_its_header(drive):
    job = drive(Job.objects.submit("charge", {"amount": 5}))
    for event in job.events.all():
        header = event.as_header()
        assert (header["seq"], header["type"], header["tenant"]) == (event.seq, event.type, event.tenant)
        assert header.get("step") == event.step
        assert header.get("attempt") == event.attempt
        assert header.get("worker") == (str(event.worker) if event.worker else None)
        assert header["at"] == event.at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        assert header["prev"] == bytes(event.prev).hex()


def test_causes_name_the_completions_that_released_a_step(drive):
    job = drive(Job.objects.submit("diamond", 1))
    digest = {(e.step, e.type): bytes(e.digest).hex() for e in job.events.all()}
    claimed = job.events.get(step="bottom", type="step_claimed").as_header()
    assert claimed["causes"] == sorted(digest[side, "step_completed"] for side in ("left", "right"))


def test_a_fan_in_names_at_most_32_causes(drive):
    nodes = [{"id": f"n{i}", "kind": "function", "function": "say"} for i in range(40)]
    edges = [{"from": f"n{i}", "to": "end"} for i in range(40)]
    job = drive(
        submit({"nodes": [*nodes, {"id": "end", "kind": "function", "function": "say"}], "edges": edges})
    )
    assert job.status == "completed"
    assert len(job.events.get(step="end", type="step_claimed").as_header()["causes"]) == 32


hostile = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=60)
header_values = st.recursive(
    hostile | st.integers(-(2**53) + 1, 2**53 - 1) | st.booleans().map(lambda b: "yes" if b else "no"),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abcXYZ_019", min_size=1), inner, max_size=4)
    ),
    max_leaves=12,
)


@hypothesis_settings(max_examples=120)
@given(
    step=hostile.filter(bool), data=st.dictionaries(st.text("abcXYZ_019", min_size=1), header_values, max_size=5),
    payload=hostile, log=hostile,
)  # fmt: skip
def test_the_header_that_sql_builds_is_canonical_json_whatever_it_holds(
    job_to_write_to, step, data, payload, log
):
    turn = Turn(job_to_write_to.pk, worker=uuid4())
    turn.payload["log"] = log
    turn.event("note_added", step=step, attempt=3, data=data, parts=[part("note", payload)])
    with transaction.atomic():
        turn.commit()
        event = Event.objects.filter(job=job_to_write_to).latest("seq")
        transaction.set_rollback(True)
    header = bytes(event.header)
    assert chain.header_bytes(json.loads(header)) == header
    assert bytes(event.digest) == chain.digest(header)
    read = json.loads(header)
    assert (read["step"], read["data"], read["log"]) == (step, data, log)


@pytest.fixture
def job_to_write_to():
    return submit(doing(lambda context: 1))


numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | hostile | numbers,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(hostile, inner, max_size=4),
    max_leaves=12,
)


@hypothesis_settings(max_examples=60)
@given(value=json_values)
def test_a_payload_comes_back_from_the_database_with_the_commitment_it_went_in_with(job_to_write_to, value):
    with transaction.atomic():
        with Turn(job_to_write_to.pk) as turn:
            turn.event("note_added", parts=[part("note", value)])
        event = Event.objects.filter(job=job_to_write_to).latest("seq")
        stored = job_to_write_to.event_parts.get(seq=event.seq)
        transaction.set_rollback(True)
    assert event.as_header()["sd"] == [chain.Part("note", stored.value, stored.salt).commitment()]


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE aetheris_event SET type = 'other'", "DELETE FROM aetheris_event", "TRUNCATE aetheris_event",
        "UPDATE aetheris_event_part SET value = '1'", "DELETE FROM aetheris_event_part", "TRUNCATE aetheris_event_part",
    ],
)  # fmt: skip
def test_events_and_their_parts_are_append_only_in_raw_sql(sql, drive):
    job = drive(submit(doing(lambda context: 1)))
    before = told(job)
    with transaction.atomic():
        execute("SET LOCAL aetheris.allow_truncate = off")
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            execute(sql)
    assert told(job) == before


def test_only_the_audited_erasure_may_delete_a_payload_and_never_an_event(worker):
    job = submit(doing(lambda context: 1))
    with transaction.atomic():
        execute("SET LOCAL aetheris.erasing = on")
        execute("DELETE FROM aetheris_event_part WHERE job_id = %s", job.pk)
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            execute("DELETE FROM aetheris_event WHERE job_id = %s", job.pk)
        transaction.set_rollback(True)


def test_a_step_completes_once_even_for_code_that_writes_events_itself(worker):
    job = submit(doing(lambda context: 1))
    claim(job, worker).complete(1)
    with pytest.raises(IntegrityError, match="completed_once"), Turn(job.pk) as turn:
        turn.event("step_completed", step="it", attempt=1)


# Rows


def path_to(state: EntryState) -> list[EntryState]:
    """States that lead to this one, as the table allows."""
    if state in (EntryState.RESERVED, EntryState.STARTED):
        return [state]
    return [*path_to(ENTRY_ALLOWED_FROM[state][0]), state]


def entry_in(state: EntryState) -> LedgerEntry:
    job = submit(calling("charge"))
    first, *rest = path_to(state)
    entry = LedgerEntry.objects.create(
        job=job, step=step_of(job), call="x", kind="tool", name="x", state=first, attempt=1, fingerprint=b"",
        idempotency_key=uuid4(), reserved_at=job.created_at, started_at=job.created_at,
    )  # fmt: skip
    for following in rest:
        assert LedgerEntry.objects.filter(pk=entry.pk).update(state=following)
    return entry


def test_the_ledger_trigger_allows_what_the_table_of_states_allows_and_nothing_else():
    entries = {old: LedgerEntry.objects.filter(pk=entry_in(old).pk) for old in EntryState}
    for old, new in product(EntryState, EntryState):
        entry = entries[old]
        with transaction.atomic():
            if old == new or old in ENTRY_ALLOWED_FROM.get(new, ()):
                assert entry.update(state=new) == 1
            else:
                with (
                    pytest.raises(DatabaseError, match=f"cannot go from {old} to {new}"),
                    transaction.atomic(),
                ):
                    entry.update(state=new)
            transaction.set_rollback(True)
    LedgerEntry.objects.all().delete()  # no event tells of them


def test_a_ledger_entry_cannot_begin_as_if_it_had_happened():
    job = submit(calling("charge"))
    for state in set(EntryState) - {EntryState.RESERVED, EntryState.STARTED}:
        with pytest.raises(DatabaseError, match="begins as reserved or started"):
            LedgerEntry.objects.create(
                job=job, step=step_of(job), call="x", kind="tool", name="x", state=state, attempt=1, fingerprint=b"",
                idempotency_key=uuid4(), reserved_at=job.created_at, started_at=job.created_at,
            )  # fmt: skip


@pytest.mark.parametrize(
    "columns",
    [
        {"status": StepStatus.RUNNING}, {"status": StepStatus.WAITING}, {"waiting_for": "signal:go"},
        *({"status": status} for status in states.STEP_FINISHED), {"pending_parents": -1},
    ],
    ids=str,
)  # fmt: skip
def test_a_step_row_that_contradicts_its_status_is_refused(columns):
    job = submit(doing(lambda context: 1))
    with pytest.raises(IntegrityError, match="check constraint"):
        Step.objects.filter(job=job).update(**columns)


@pytest.mark.parametrize(
    "columns",
    [*({"status": s} for s in states.JOB_FINISHED), {"ready_steps": -1}, {"running_steps": 5}, {"tenant": "No"}],
    ids=str,
)  # fmt: skip
def test_a_job_row_that_contradicts_its_status_is_refused(columns):
    job = submit(doing(lambda context: 1))
    with pytest.raises(IntegrityError, match="check constraint"):
        Job.objects.filter(pk=job.pk).update(**columns)


# Submit


def test_the_same_idempotency_key_answers_with_the_first_job(drive):
    first = Job.objects.submit("echo", {"x": 1}, idempotency_key="k")
    assert Job.objects.submit("echo", {"x": 1}, idempotency_key="k").pk == first.pk
    drive(first)
    again = Job.objects.submit("echo", {"x": 1}, idempotency_key="k")
    assert (again.pk, again.status) == (first.pk, "completed")
    assert Job.objects.count() == 1


@pytest.mark.parametrize("agent, input", [("echo", {"x": 2}), ("charge", {"x": 1})])
def test_an_idempotency_key_with_another_request_is_a_conflict(agent, input):
    first = Job.objects.submit("echo", {"x": 1}, idempotency_key="k")
    with pytest.raises(IdempotencyConflict, match=str(first.pk)):
        Job.objects.submit(agent, input, idempotency_key="k")
    assert Job.objects.count() == 1


def test_an_idempotency_key_belongs_to_its_tenant():
    one = Job.objects.submit("echo", 1, idempotency_key="k", tenant="acme")
    other = Job.objects.submit("echo", 2, idempotency_key="k", tenant="umbrella")
    assert one.pk != other.pk


def test_jobs_without_a_key_are_never_the_same():
    assert Job.objects.submit("echo", 1).pk != Job.objects.submit("echo", 1).pk


def test_a_step_with_an_open_call_cannot_complete(worker):
    job = submit(calling("charge"))
    step = claim(job, worker)
    with Turn(job.pk, worker=worker.id) as turn:
        turn.intend(_intent(job, step).as_operation(step.attempt))
    with pytest.raises(AetherisError, match="not settled"):
        step.complete({"charged": 1})
    assert statuses(job) == {"it": "running"}
    step.retry({"type": "E", "message": "start again"})
    drive(job, worker)


def _intent(job, step):
    from runtime.callees import tool_callee
    from runtime.intents import Intent

    return Intent.make(
        job.tenant, job.pk, step.pk, step.key, "charge", tool_callee("charge"), {"amount": 1.0}
    )


def test_a_step_that_ran_leaves_one_line_for_each_thing_that_happened(drive):
    job = drive(submit(calling("charge")))
    assert told(job) == [
        "job_submitted",
        "plan_recorded",
        "step_claimed",
        "tool_called",
        "tool_returned",
        "step_completed",
        "job_completed",
    ]
