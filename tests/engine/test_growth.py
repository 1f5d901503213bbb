"""Growth: what waits costs rows, and what the sweeper asks costs what is due and not what is there."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection, transaction

from runtime import batches, hinting, leases, recovery
from runtime.graph import Graph
from runtime.models import Job, Step, Wait, Worker
from runtime.recovery import Sweeper
from tests.engine.driving import run_once, statuses, submit

TABLES = ("job", "step", "edge", "wait", "event", "event_part", "signal", "ledger_entry", "effect", "scope")
COPY = """
CREATE TEMP TABLE copy ON COMMIT DROP AS
  SELECT i, ('019a0000-0000-7000-8000-' || lpad(i::text, 12, '0'))::uuid AS job
  FROM generate_series(%(first)s, %(last)s) AS i;
INSERT INTO aetheris_job SELECT n.* FROM aetheris_job j, copy,
  jsonb_populate_record(j, jsonb_build_object('id', copy.job)) AS n WHERE j.id = %(job)s;
CREATE TEMP TABLE copied ON COMMIT DROP AS
  SELECT s.id AS old, nextval('aetheris_step_id_seq') AS new, copy.job
  FROM copy, aetheris_step s WHERE s.job_id = %(job)s;
INSERT INTO aetheris_step SELECT n.* FROM copied c JOIN aetheris_step s ON s.id = c.old,
  jsonb_populate_record(s, jsonb_build_object('id', c.new, 'job_id', c.job)) AS n;
INSERT INTO aetheris_edge SELECT nextval('aetheris_edge_id_seq'), n."when", n.job_id, n.parent_id, n.child_id
  FROM aetheris_edge e, copy, jsonb_populate_record(e, jsonb_build_object('job_id', copy.job)) AS n
  WHERE e.job_id = %(job)s;
INSERT INTO aetheris_wait SELECT n.* FROM copied c JOIN aetheris_wait w ON w.step_id = c.old,
  jsonb_populate_record(w, jsonb_build_object(
    'id', nextval('aetheris_wait_id_seq'), 'job_id', c.job, 'step_id', c.new)) AS n;
INSERT INTO aetheris_event SELECT n.* FROM aetheris_event e, copy,
  jsonb_populate_record(e, jsonb_build_object('job_id', copy.job)) AS n WHERE e.job_id = %(job)s;
INSERT INTO aetheris_event_part SELECT n.* FROM aetheris_event_part p, copy,
  jsonb_populate_record(p, jsonb_build_object('job_id', copy.job)) AS n WHERE p.job_id = %(job)s;
"""


def asking() -> Graph:
    """A question to a person with time to answer, as agents have them."""
    graph = Graph()
    (
        graph.function("look", "say", value="${input}")
        >> graph.approval("ok", prompt="Go?", timeout="30d")
        >> (graph.function("after", "say", value="done"))
    )
    return graph


@pytest.fixture
def crowd(drive: Callable[..., Job]) -> Iterator[Callable[[int, Job], None]]:
    """Many jobs like one, as rows. Their digests are those of the first, so they go before anybody looks."""
    made: list[Job] = []

    def copies(count: int, job: Job) -> None:
        made.append(job)
        for first in range(1, count + 1, 5000):
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(COPY, {"first": first, "last": min(count, first + 4999), "job": job.pk})
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")

    yield copies
    with connection.cursor() as cursor:
        for table in TABLES if made else ():
            column = "id" if table == "job" else "job_id"
            cursor.execute(
                "BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL session_replication_role = replica;"
                f"DELETE FROM aetheris_{table} WHERE {column}::text LIKE '019a0000-0000-7000-8000-%%'; COMMIT"
            )


def size() -> int:
    with connection.cursor() as cursor:
        names = [f"aetheris_{table}" for table in TABLES]
        cursor.execute(
            "SELECT sum(pg_total_relation_size(t::regclass)) FROM unnest(%s::text[]) AS t", [names]
        )
        return int(cursor.fetchone()[0])


def median_seconds(times: int, function: Callable[[], Any]) -> float:
    found = []
    for _ in range(times):
        began = time.perf_counter()
        function()
        found.append(time.perf_counter() - began)
    return sorted(found)[times // 2]


def plan_of(sql: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF) " + sql)
        return "\n".join(line for (line,) in cursor.fetchall())


def sweep_plans() -> dict[str, str]:
    """What a sweep asks, each with its plan."""
    seen: list[str] = []

    def record(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.lstrip().upper().startswith(("SELECT", "WITH")) and "aetheris_turns" not in sql:
            with connection.cursor() as cursor:
                seen.append(cursor.cursor.mogrify(sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(record):
        recovery.rescue_lost()
        recovery.end_overdue()
        recovery.end_overdue_jobs()
        recovery.wake_due()
        recovery.tell_parents()
        recovery.cancel_orphans()
        hinting.unclaimed([hinting.Group("default", ()), *hinting.groups()])
    return {sql: plan_of(sql) for sql in seen}


def rows_read(plan: str) -> int:
    """Rows that the scans of a plan touched, filtered ones included."""
    scans = re.findall(r"Scan.*?rows=(\d+) loops=(\d+)", plan)
    filtered = re.findall(r"Rows Removed by (?:Filter|Index Recheck): (\d+)", plan)
    return sum(int(rows) * int(loops) for rows, loops in scans) + sum(map(int, filtered))


def the_sweepers_questions_read_only_what_is_due(count: int, crowd: Any, drive: Any, capsys: Any) -> None:
    job = drive(submit(asking(), 7))
    assert job.status == "waiting"
    before, keys = size(), leases.client().dbsize()
    crowd(count, job)
    for sql, plan in sweep_plans().items():
        assert rows_read(plan) < 50, f"{sql}\n{plan}"
        assert "Seq Scan on aetheris_" not in plan.replace("Seq Scan on aetheris_worker", ""), plan
    assert leases.client().dbsize() == keys
    assert Worker.objects.count() == 1
    with capsys.disabled():
        print(f"\n{count} waiting jobs: {(size() - before) // count} bytes each with their history")


def test_5_000_waiting_jobs_cost_rows_only(crowd, drive, capsys):
    the_sweepers_questions_read_only_what_is_due(5_000, crowd, drive, capsys)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_100_000_waiting_jobs_cost_rows_only_and_slow_nobody(crowd, drive, worker, capsys):
    def echo() -> None:
        drive(Job.objects.submit("echo", 1))

    sweeper = Sweeper(worker)
    for _ in range(20):
        echo()
    sweeping, running = median_seconds(9, sweeper.sweep), median_seconds(99, echo)
    the_sweepers_questions_read_only_what_is_due(100_000, crowd, drive, capsys)
    echo()
    beside, running_beside = median_seconds(9, sweeper.sweep), median_seconds(99, echo)
    with capsys.disabled():
        print(f"a sweep: {sweeping * 1000:.1f} ms alone, {beside * 1000:.1f} ms beside them")
        print(f"a job: {running * 1000:.1f} ms alone, {running_beside * 1000:.1f} ms beside them")
    assert beside < 2 * sweeping + 0.02
    assert running_beside < 2 * running


# Who is in the way


def test_a_job_that_somebody_holds_does_not_keep_the_sweeper(drive, clock, pair):
    graph = Graph()
    graph.timer("t", "1h")
    held, other = drive(submit(graph)), drive(submit(graph))
    clock.forward(hours=2)
    locked, done = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            list(Job.objects.select_for_update(no_key=True).filter(pk=held.pk))
            locked.set()
            assert done.wait(30)

    def sweep() -> tuple[int, dict[str, str], dict[str, str]]:
        assert locked.wait(30)
        clock.forward()
        try:
            return recovery.wake_due(), statuses(held), statuses(other)
        finally:
            done.set()

    _, swept = pair.at_once(hold, sweep)
    assert swept == (1, {"t": "waiting"}, {"t": "ready"})
    assert recovery.wake_due() == 1


def test_waits_that_cannot_be_woken_do_not_hide_those_behind_them(drive, clock, monkeypatch):
    """The next event of the first jobs would fork their chains, which the database refuses."""
    monkeypatch.setattr(recovery, "BATCH", 2)
    graph = Graph()
    graph.timer("t", "1h")
    jobs = [drive(submit(graph)) for _ in range(5)]
    bad = jobs[:3]
    heads = [bytes(job.head) for job in bad]
    Job.objects.filter(pk__in=[job.pk for job in bad]).update(head=bytes(32))
    clock.forward(hours=2)
    assert recovery.wake_due() == 2
    assert [statuses(job)["t"] for job in jobs] == ["waiting"] * 3 + ["ready"] * 2
    for job, head in zip(bad, heads, strict=True):
        Job.objects.filter(pk=job.pk).update(head=head)


def test_a_turn_that_is_refused_takes_nothing_of_the_others_of_its_transaction_along(drive, worker, clock):
    jobs = [submit(asking(), number) for number in range(3)]
    for job in jobs:
        run_once(job, worker, "look")
    steps = list(Step.objects.filter(status="waiting").order_by("id"))
    turns = [wait.timing_out() for wait in Wait.objects.filter(step__in=steps).order_by("id")]
    jobs[1].cancel()
    assert batches.commit(turns) == 2
    assert [statuses(job)["ok"] for job in jobs] == ["ready", "cancelled", "ready"]


def test_ready_steps_of_paused_jobs_do_not_hide_those_of_others(worker, clock, monkeypatch):
    monkeypatch.setattr(hinting, "FEW", 2)
    paused = [Job.objects.submit("echo") for _ in range(3)]
    for job in paused:
        job.pause()
    job = Job.objects.submit("echo")
    clock.forward(seconds=5)
    sweeper = Sweeper(worker)
    assert [sweeper.sweep().hinted for _ in range(2)] == [0, 1]
    for each in [job, *paused]:
        each.cancel()


def test_a_resumed_jobs_steps_are_told_of_at_once_however_long_it_rested(worker, clock):
    job = Job.objects.submit("echo")
    job.pause()
    for _ in range(8):
        clock.forward(minutes=2)
        Sweeper(worker).sweep()
    job.resume()
    leases.client().delete("aetheris:default")
    clock.forward(seconds=1.1)
    assert Sweeper(worker).sweep().hinted == 1
    job.cancel()
