"""A whole history, judged."""

from collections.abc import Iterable, Iterator

from tests.history.checker import chain, ends, results
from tests.history.checker.history import Job, Reader, Unreadable
from tests.history.checker.ledger import Ledger
from tests.history.checker.progress import Progress
from tests.history.checker.violation import Violation
from tests.history.checker.waits import Waits
from tests.history.checker.world import World


def judge(lines: Iterable[str]) -> list[Violation]:
    """Every rule that a history breaks: an empty list for a good one. `lines` are JSON, one record each."""
    reader = Reader(lines)
    found: list[Violation] = []
    world: World | None = None
    try:
        for job in reader.jobs():
            world = world or World(reader.run)
            found += _of_a_job(job, world)
    except Unreadable as unreadable:
        return [*found, Violation("format", str(unreadable))]
    return [*found, *(world or World(reader.run)).rest()]


def _of_a_job(job: Job, world: World) -> Iterator[Violation]:
    broken = list(chain.violations(job))
    yield from broken
    if any(violation.rule in ("gap", "header") for violation in broken):
        return  # what follows would be guessing
    progress = Progress(job)
    ledger, waits = Ledger(job, progress), Waits(job, world.run, progress)
    for event in job.events:
        if not progress.knows(event):
            yield job.broken("unknown_step", f"there is no step {event.step}", event)
            continue
        yield from waits.see(event)
        yield from ledger.see(event)
        yield from progress.see(event)
    yield from ends.violations(job, world.run, progress)
    yield from results.violations(job)
    yield from ledger.rest()
    yield from waits.rest()
    yield from world.see(job, ledger)
