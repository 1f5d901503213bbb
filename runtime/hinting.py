"""Lost hints: ready steps that nobody claimed are sent again, after pauses that grow.

`hint_after` is when. An index holds the ready steps of each group in this order, so that a look costs what is due
and not what is ready, and a flooded queue does not hide the steps of others.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.db import connection

from runtime import queues
from runtime.conf import settings
from runtime.models import Step

FEW = 500
"""Steps of one queue that are sent again at once."""

# The distinct groups by one look into the index for each.
GROUPS = """
WITH RECURSIVE found AS (
  (SELECT queue, requires FROM aetheris_step WHERE status = 'ready' ORDER BY queue, requires LIMIT 1)
  UNION ALL
  SELECT n.queue, n.requires FROM found CROSS JOIN LATERAL (
    SELECT s.queue, s.requires FROM aetheris_step s
    WHERE s.status = 'ready' AND (s.queue, s.requires) > (found.queue, found.requires)
    ORDER BY s.queue, s.requires LIMIT 1) n)
SELECT queue, requires FROM found
"""
# A step that has just become ready was told by the turn that released it; one that became due by itself by nobody.
DUE = """
SELECT id FROM aetheris_step
WHERE status = 'ready' AND queue = %(queue)s AND requires = %(requires)s::varchar[]
  AND GREATEST(hint_after, run_after, ready_at) <= (SELECT aetheris_now())
  AND (hint_after IS NOT NULL OR run_after IS NOT NULL
       OR ready_at <= (SELECT aetheris_now() - make_interval(secs => %(base)s)))
ORDER BY GREATEST(hint_after, run_after, ready_at) LIMIT %(limit)s
"""
# A turn holds its job and then its steps; rows that one is at work on are skipped, or the two could deadlock.
NOTE = """
WITH mine AS (SELECT id FROM aetheris_step WHERE id = ANY (%(ids)s) AND status = 'ready' FOR NO KEY UPDATE SKIP LOCKED)
UPDATE aetheris_step s SET hints = least(s.hints + 1, 30),
  hint_after = (SELECT aetheris_now()) + make_interval(secs => least(%(base)s * power(2, s.hints + 1), %(cap)s))
FROM mine WHERE s.id = mine.id
"""


@dataclass(frozen=True)
class Group:
    """Ready steps of one queue that require the same of a worker."""

    queue: str
    requires: tuple[str, ...]

    @property
    def address(self) -> str:
        return queues.address(self.queue, self.requires)


@dataclass
class Unclaimed:
    """Ready steps whose pause is over, as (step id, address). Those of what rests are not to be told of."""

    wanted: list[tuple[int, str]] = field(default_factory=list)
    resting: list[int] = field(default_factory=list)

    @property
    def wanted_ids(self) -> list[int]:
        return [step_id for step_id, _ in self.wanted]


def groups() -> list[Group]:
    """The groups that have ready steps."""
    with connection.cursor() as cursor:
        cursor.execute(GROUPS)
        return [Group(queue, tuple(requires)) for queue, requires in cursor.fetchall()]


def unclaimed(among: Iterable[Group]) -> Unclaimed:
    """What to send again, of these groups: the longest due, those of high priority first."""
    found = Unclaimed()
    for group in among:
        due = _due(group)
        ready = Step.objects.ready().filter(pk__in=due)
        priorities = dict(ready.values_list("pk", "priority")) if due else {}
        wanted = sorted((step_id for step_id in due if step_id in priorities), key=lambda pk: -priorities[pk])
        found.wanted += [(step_id, group.address) for step_id in wanted]
        found.resting += [step_id for step_id in due if step_id not in priorities]
    return found


def note(step_ids: list[int]) -> None:
    """The next look at these comes after a pause twice as long."""
    pauses = {"base": settings().rehint_seconds, "cap": settings().rehint_cap_seconds}
    with connection.cursor() as cursor:
        cursor.execute(NOTE, {"ids": step_ids, **pauses})


def _due(group: Group) -> list[int]:
    wanted: dict[str, Any] = {"queue": group.queue, "requires": list(group.requires), "limit": FEW}
    with connection.cursor() as cursor:
        cursor.execute(DUE, {**wanted, "base": settings().rehint_seconds})
        return [step_id for (step_id,) in cursor.fetchall()]
