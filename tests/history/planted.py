"""Violations, each planted into a good history in one way. The checker has to report every one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from tests.history.tampering import Tampered

LONG_AGO = "2020-01-01T00:00:00.000000Z"
SOME_DIGEST = "ab" * 32


@dataclass(frozen=True)
class Planted:
    name: str
    rule: str
    sealed: bool
    """Whether whoever did it wrote a new chain, so that no digest gives it away."""
    tamper: Callable[[Tampered], None]


PLANTED: list[Planted] = []


def breaks(
    rule: str, *, sealed: bool = True
) -> Callable[[Callable[[Tampered], None]], Callable[[Tampered], None]]:
    def plant(tamper: Callable[[Tampered], None]) -> Callable[[Tampered], None]:
        PLANTED.append(Planted(tamper.__name__, rule, sealed, tamper))
        return tamper

    return plant


# The chain


@breaks("gap", sealed=False)
def an_event_is_missing(history: Tampered) -> None:
    job = history["chain"]
    job.remove(job.event("step_claimed", "b"))


@breaks("digest", sealed=False)
def a_header_was_changed(history: Tampered) -> None:
    job = history["chain"]
    job.say(job.event("step_claimed", "b"), worker="00000000-0000-0000-0000-000000000000")


@breaks("link", sealed=False)
def an_event_follows_another(history: Tampered) -> None:
    job = history["chain"]
    job.seal()
    job.say(job.events[3], prev=SOME_DIGEST)


@breaks("head", sealed=False)
def the_last_event_is_missing(history: Tampered) -> None:
    job = history["chain"]
    job.remove(job.events[-1])


@breaks("header", sealed=False)
def a_header_is_not_canonical(history: Tampered) -> None:
    event = history["chain"].events[2]
    event["header"] = event["header"].replace(",", ", ", 1)


@breaks("header", sealed=False)
def a_column_says_other_than_its_header(history: Tampered) -> None:
    history["chain"].event("step_claimed", "b")["step"] = "c"


@breaks("time")
def time_runs_backwards(history: Tampered) -> None:
    job = history["chain"]
    job.say(job.event("step_completed", "a"), at=LONG_AGO)


@breaks("payload", sealed=False)
def a_result_was_changed(history: Tampered) -> None:
    history["chain"].event("step_completed", "a")["parts"][0]["value"] = 1_000_000


@breaks("payload", sealed=False)
def an_input_is_missing(history: Tampered) -> None:
    history["chain"].events[0]["parts"] = []


@breaks("event_lost")
def a_history_was_written_anew(history: Tampered) -> None:
    job = history["chain"]
    job.event("step_completed", "a")["parts"][0]["value"] = 1_000_000


# Steps


@breaks("unknown_step")
def an_event_of_no_step(history: Tampered) -> None:
    job = history["chain"]
    job.remove(job.row_of("step", key="a"))
    job.remove(job.row_of("edge", parent="a"))


@breaks("attempt")
def an_attempt_is_left_out(history: Tampered) -> None:
    job = history["retried"]
    job.say(job.event("step_claimed", number=1), attempt=3)
    job.say(job.event("step_completed"), attempt=3)
    job.row_of("step", key="breaks")["attempt"] = 3


@breaks("fence")
def a_lost_attempt_records_its_result(history: Tampered) -> None:
    job = history["rescued"]
    job.say(job.event("step_completed"), attempt=1)


@breaks("fence")
def a_lost_attempt_records_values(history: Tampered) -> None:
    job = history["retried"]
    claim = job.event("step_claimed", number=1)
    stale = job.copy(claim)
    job.say(stale, type="effect_recorded", attempt=1)


@breaks("worker")
def a_result_comes_from_another_worker(history: Tampered) -> None:
    job = history["chain"]
    job.say(job.event("step_completed", "a"), worker="00000000-0000-0000-0000-000000000000")


@breaks("step_arrow")
def two_workers_hold_one_step(history: Tampered) -> None:
    job = history["chain"]
    again = job.copy(job.event("step_claimed", "a"))
    job.say(again, attempt=2)


@breaks("step_arrow")
def a_step_completes_that_nobody_claimed(history: Tampered) -> None:
    job = history["retried"]
    claim, retried = job.event("step_claimed", number=1), job.event("step_retried")
    job.remove(claim)
    job.say(job.event("step_completed"), attempt=json.loads(retried["header"])["attempt"])


@breaks("completed_twice")
def a_step_completes_twice(history: Tampered) -> None:
    job = history["chain"]
    job.copy(job.event("step_completed", "a"))


@breaks("parents")
def a_child_runs_before_its_parent_has_ended(history: Tampered) -> None:
    job = history["chain"]
    job.put(job.event("step_claimed", "b"), before=job.event("step_completed", "a"))


@breaks("parents")
def a_child_runs_though_its_edge_is_dead(history: Tampered) -> None:
    job = history["chain"]
    job.row_of("edge", child="b")["when"] = "failed"


@breaks("scopes")
def a_map_goes_on_before_its_copies_have_ended(history: Tampered) -> None:
    job = history["map"]
    job.put(job.event("step_resumed", "each"), before=job.event("step_completed", "each[1].reserve"))


@breaks("scopes")
def a_copy_runs_before_it_was_made(history: Tampered) -> None:
    job = history["map"]
    job.remove(job.event("plan_recorded", "each"))


@breaks("paused")
def a_step_is_claimed_in_a_pause(history: Tampered) -> None:
    job = history["rested"]
    job.put(job.event("job_resumed"), after=job.event("step_claimed"))


@breaks("ending")
def a_step_is_claimed_of_a_job_that_is_cancelled(history: Tampered) -> None:
    job = history["cancelled"]
    again = job.copy(job.event("step_claimed"), after=job.event("operator_acted"))
    job.say(again, step="w2", attempt=1)


@breaks("job_end")
def a_job_ends_before_its_last_step(history: Tampered) -> None:
    job = history["chain"]
    job.put(job.event("job_completed"), before=job.event("step_completed", "c"))


@breaks("job_end")
def a_job_completes_though_a_step_failed(history: Tampered) -> None:
    job = history["undone"]
    job.say(job.event("job_failed"), type="job_completed")
    job.row["status"] = "completed"


@breaks("after_end")
def a_call_after_the_end(history: Tampered) -> None:
    job = history["chain"]
    job.put(job.event("tool_called", "c"), after=job.events[-1])


# Rows


@breaks("row_job")
def a_failed_job_shows_as_completed(history: Tampered) -> None:
    history["undone"].row["status"] = "completed"


@breaks("row_step")
def a_completed_step_is_ready_again(history: Tampered) -> None:
    history["chain"].row_of("step", key="c")["status"] = "ready"


@breaks("row_entry")
def a_committed_call_shows_as_refused(history: Tampered) -> None:
    history["chain"].row_of("entry", step="b")["state"] = "refused"


@breaks("row_entry")
def an_entry_is_missing(history: Tampered) -> None:
    job = history["chain"]
    job.remove(job.row_of("entry", step="b"))


@breaks("row_signal")
def a_consumed_signal_lies_in_the_inbox(history: Tampered) -> None:
    history["talk"].row_of("signal", dedup_id="s2")["state"] = "buffered"


@breaks("row_result")
def a_step_has_another_result(history: Tampered) -> None:
    history["chain"].row_of("step", key="a")["result"] = SOME_DIGEST


@breaks("row_result")
def a_call_has_another_result(history: Tampered) -> None:
    history["chain"].row_of("entry", step="b")["result"] = None


@breaks("row_result")
def a_job_has_another_result(history: Tampered) -> None:
    history["chain"].row["result"] = SOME_DIGEST


# Calls


@breaks("entry_arrow")
def an_answer_is_recorded_twice(history: Tampered) -> None:
    job = history["chain"]
    job.copy(job.event("tool_returned", "b"))


@breaks("intent")
def a_call_is_started_by_nobody(history: Tampered) -> None:
    job = history["chain"]
    job.put(job.event("tool_called", "b"), before=job.event("step_claimed", "b"))


@breaks("evidence")
def an_answer_from_an_attempt_that_did_not_ask(history: Tampered) -> None:
    job = history["chain"]
    job.say(job.event("tool_returned", "b"), attempt=7)


@breaks("open_call")
def a_step_completes_over_an_open_call(history: Tampered) -> None:
    job = history["chain"]
    job.put(job.event("tool_returned", "b"), after=job.event("step_completed", "b"))


@breaks("key")
def a_call_changes_its_key(history: Tampered) -> None:
    job = history["rescued"]
    again = job.event("tool_called", number=1)
    job.say(again, data={**job.data(again), "idempotency_key": "00000000-0000-0000-0000-000000000000"})


@breaks("key")
def two_calls_share_a_key(history: Tampered) -> None:
    other = history["chain"].row_of("entry", step="b")
    history["map"].row_of("entry", step="each[0].reserve")["key"] = other["key"]


@breaks("undone")
def a_call_was_not_undone(history: Tampered) -> None:
    job = history["undone"]
    job.remove(job.event("step_compensated", "r1"))
    job.row_of("entry", step="r1")["state"] = "committed"


@breaks("undo_order")
def the_first_call_is_undone_first(history: Tampered) -> None:
    job = history["undone"]
    planned = job.event("compensation_planned")
    data = job.data(planned)
    job.say(planned, data={**data, "steps": data["steps"][::-1]})


# The world


@breaks("effect_twice")
def a_call_took_effect_twice(history: Tampered) -> None:
    history.run += history.effects_of("chain", "b")


@breaks("effect_twice")
def a_repeatable_call_was_sent_more_often_than_it_was_started(history: Tampered) -> None:
    history.run += history.effects_of("rescued", "it")


@breaks("effect_missing")
def a_recorded_effect_did_not_happen(history: Tampered) -> None:
    for effect in history.effects_of("chain", "b"):
        history.run.remove(effect)


@breaks("effect_unintended")
def something_happened_that_nobody_intended(history: Tampered) -> None:
    history.run.append({"record": "effect", "key": "00000000-0000-0000-0000-000000000000"})


@breaks("effect_unintended")
def an_effect_before_its_intent(history: Tampered) -> None:
    history.effects_of("chain", "b")[0]["at"] = LONG_AGO


@breaks("effect_denied")
def a_refused_call_took_effect(history: Tampered) -> None:
    key = history["refused"].row_of("entry", step="it")["key"]
    history.run.append({"record": "effect", "key": key})


# Signals and timers


@breaks("signal_lost")
def an_acknowledged_signal_is_gone(history: Tampered) -> None:
    job = history["talk"]
    job.remove(job.row_of("signal", dedup_id="s4"), job.event("signal_received", number=3))


@breaks("signal_twice")
def a_signal_is_consumed_twice(history: Tampered) -> None:
    job = history["talk"]
    job.copy(job.event("signal_consumed"))


@breaks("signal_wait")
def a_signal_wakes_a_step_that_waits_for_another(history: Tampered) -> None:
    job = history["talk"]
    parked = job.event("step_parked", "w1")
    job.say(parked, data={**job.data(parked), "name": "another"})


@breaks("signal_order")
def a_later_signal_is_consumed_first(history: Tampered) -> None:
    job = history["talk"]
    first, second = (job.event("signal_consumed", step) for step in ("w2", "w3"))
    one, other = job.data(first), job.data(second)
    job.say(first, data=other)
    job.say(second, data=one)


@breaks("signal_unbound")
def a_signal_lies_beside_its_wait(history: Tampered) -> None:
    job = history["talk"]
    job.row_of("wait", step="w4", closed_at=None)["name"] = "again"
    job.row_of("step", key="w4")["waiting_for"] = "signal:again"


@breaks("timer_early")
def a_timer_fires_early(history: Tampered) -> None:
    job = history["timer"]
    parked = json.loads(job.event("step_parked")["header"])
    job.cut(job.event("timer_fired"))
    job.say(job.event("timer_fired"), at=parked["at"])


@breaks("timer_twice")
def a_timer_fires_twice(history: Tampered) -> None:
    job = history["timer"]
    job.copy(job.event("timer_fired"))


@breaks("timer_lost")
def a_timer_is_forgotten(history: Tampered) -> None:
    history["ask"].row_of("wait", step="ok", closed_at=None)["deadline_at"] = LONG_AGO


# The run


@breaks("job_lost")
def an_acknowledged_job_is_gone(history: Tampered) -> None:
    del history.jobs["retried"]


@breaks("unfinished")
def a_job_is_stranded(history: Tampered) -> None:
    job = history["chain"]
    job.cut(job.event("step_completed", "a"))
    job.remove(*(one for one in job.records if one["record"] == "entry"))
    job.row["status"] = "running"
    for key in ("b", "c"):
        job.row_of("step", key=key).update(status="blocked", attempt=0)


@breaks("unnamed_wait")
def a_wait_is_missing(history: Tampered) -> None:
    job = history["talk"]
    job.remove(job.row_of("wait", step="w4", closed_at=None))


@breaks("subjob")
def a_parent_goes_on_before_its_subjob_has_ended(history: Tampered) -> None:
    child = next(job for job in history.jobs.values() if job.row["parent"])
    child.say(child.events[-1], at="2100-01-01T00:00:00.000000Z")


@breaks("rescue_without_fault")
def a_step_is_taken_from_a_living_worker(history: Tampered) -> None:
    history.run.remove(history.known("fault", **{"class": "process"}))


@breaks("doubt_without_fault")
def a_call_is_in_doubt_for_no_reason(history: Tampered) -> None:
    for kind in ("process", "call"):
        history.run.remove(history.known("fault", **{"class": kind}))


@breaks("dead_worker")
def a_dead_worker_goes_on(history: Tampered) -> None:
    history.known("fault", **{"class": "process"})["at"] = LONG_AGO
