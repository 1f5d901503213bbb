"""The gate moves steps along the arrows of `runtime.states` and no others: a trigger of this test watches it."""

from collections.abc import Iterator

import pytest
from django.db import connection

from runtime import recovery, states
from runtime.graph import Graph
from tests.engine.driving import claim, drive, statuses, submit
from tests.engine.scoped import failing_for, mapping, mend

WATCH = """
CREATE TABLE arrows_seen (old text, new text);
CREATE FUNCTION arrows_seen() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO arrows_seen VALUES (OLD.status, NEW.status); RETURN NULL; END $$;
CREATE TRIGGER arrows_seen AFTER UPDATE ON aetheris_step FOR EACH ROW
  WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION arrows_seen();
"""
FORGET = "DROP TRIGGER arrows_seen ON aetheris_step; DROP FUNCTION arrows_seen; DROP TABLE arrows_seen"

Arrows = set[tuple[str, str]]


class Seen:
    def since(self) -> Arrows:
        """What was seen since the last look."""
        with connection.cursor() as cursor:
            cursor.execute(
                "WITH seen AS (DELETE FROM arrows_seen RETURNING old, new) SELECT DISTINCT * FROM seen"
            )
            return set(cursor.fetchall())


@pytest.fixture
def seen(outside) -> Iterator[Seen]:
    with connection.cursor() as cursor:
        cursor.execute(WATCH)
    yield Seen()
    with connection.cursor() as cursor:
        cursor.execute(FORGET)


def arrows(table) -> Arrows:
    return {(str(before), str(after)) for after, allowed in table.items() for before in allowed}


ORDINARY = arrows(states.STEP_ALLOWED_FROM)
REOPENED = arrows(states.STEP_REOPENED_FROM)
COPIED = arrows(states.STEP_COPIED_FROM)


def test_the_ways_of_an_ordinary_job_are_those_of_its_table(worker, clock, seen):
    graph = Graph()
    choice = graph.condition("c", "false")
    graph.timer("t", "1h") >> choice
    choice.when(True) >> graph.function("no", "say")
    graph.wait("w", signal="never") >> graph.function("after", "say")
    graph.function("ready", "say", queue="heavy")
    graph.function("first", "say") >> [graph.function(key, "say") for key in ("one", "two")]
    job = submit(graph)
    drive(job, worker, rounds=1)
    clock.forward(hours=2)
    recovery.wake_due()
    drive(job, worker)
    again = submit(graph)
    claim(again, worker, "ready").rescue()
    running = claim(again, worker, "t")
    again.cancel()
    running.rescue()
    job.cancel()
    failing_for("a")
    broken = Graph()
    broken.function("a", "do", what="fail for", value="a")
    drive(submit(broken), worker)
    assert seen.since() == ORDINARY


def test_reopening_takes_its_own_arrows_and_all_of_them(worker, seen):
    inner = Graph()
    inner.function("a", "do", what="fail for", value="${item}")
    failing_for(1)
    graph = mapping(inner)
    graph.handle("each") >> graph.function("last", "say")
    job = drive(submit(graph, [0, 1]), worker)
    assert job.status == "failed"
    assert seen.since() <= ORDINARY
    mend()
    job.retry()
    taken = seen.since()
    assert REOPENED <= taken <= REOPENED | {("blocked", "ready")}
    assert drive(job, worker).status == "completed"


def test_a_fork_takes_its_own_arrows_and_all_of_them(worker, seen):
    failing_for("x")
    graph = Graph()
    first = graph.function("first", "say")
    broken = graph.function("broken", "do", what="fail for", value="x")
    later = graph.function("later", "do", what="fail for", value="x")
    first >> later
    end = graph.function("end", "say", join="any")
    [broken.failed, later.failed] >> end
    choice = graph.condition("choice", "false")
    first >> choice
    choice.when(True) >> graph.function("no", "say")
    end >> graph.function("last", "say")
    job = drive(submit(graph), worker)
    assert statuses(job) == {
        "first": "completed", "broken": "failed", "later": "failed", "end": "completed", "choice": "completed",
        "no": "skipped", "last": "completed",
    }  # fmt: skip
    seen.since()
    fork = job.fork("last")
    taken = seen.since()
    assert COPIED <= taken <= COPIED | {("blocked", "ready")}
    assert drive(fork, worker).status == "completed"
