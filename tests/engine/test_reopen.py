"""Reopening a failed job: what completed stays, what failed or was cancelled with it is undecided again."""

from runtime.exceptions import Permanent
from runtime.execution import run_step
from runtime.graph import Graph
from runtime.incarnation import Incarnation
from tests.agents_app.world import world
from tests.engine.driving import claim, drive, statuses, step_of, submit


def test_a_step_whose_edge_died_while_the_job_was_failing_is_skipped_when_it_is_reopened(
    worker: Incarnation,
) -> None:
    failing = True

    def fragile(context: object) -> int:
        if failing:
            raise Permanent("not yet")
        return 1

    world.doings["fragile"] = fragile
    g = Graph()
    g.function("fragile", "do", what="fragile")
    condition = g.condition("condition", "true")
    condition.when(False) >> g.function("otherwise", "say", value=1)
    job = submit(g)
    running = claim(job, worker, "condition")
    run_step(step_of(job, "fragile").pk, worker)
    running.complete(True, branch="true")

    failing = False
    job.refresh_from_db()
    job.retry()
    drive(job, worker)

    assert (job.status, statuses(job)["otherwise"]) == ("completed", "skipped")
