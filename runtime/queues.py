"""Queues: which there are, and how the hint for a step reaches a worker that can run it.

A step that requires capabilities, and there are few of them, is not announced in its queue, where any worker may
take the hint in vain, but in one that only workers of such capabilities serve: `default+gpu`. Which of those are
alive is asked of their rows; where none is, nobody is told, and the sweeper asks again.
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Iterable
from datetime import timedelta

from runtime.conf import settings
from runtime.exceptions import InputInvalid
from runtime.graph import fields

SEPARATOR = "+"
"""No queue and no capability has it in its name."""


def check(name: str, path: str) -> None:
    """Raises `InputInvalid` for a queue that does not exist here."""
    if wrong := fields.QUEUE.check(name):
        raise InputInvalid(path, wrong)
    if name not in settings().all_queues:
        raise InputInvalid(
            path,
            f"there is no queue {name!r}; known: {', '.join(settings().all_queues)} (AETHERIS['ALL_QUEUES'])",
        )


def own_capabilities() -> list[str]:
    """What this process can do beside what every worker can, from the settings. Raises `InputInvalid`."""
    named = sorted({*settings().capabilities})
    for name in named:
        if not re.fullmatch(fields.CAPABILITY_PATTERN, name):
            raise InputInvalid("AETHERIS['CAPABILITIES']", fields.bad_capability(name))
    return named


def address(queue: str, names: Collection[str]) -> str:
    """Of a step: where it wants to be announced. Of a worker: what it listens to beside its plain queues."""
    return SEPARATOR.join([queue, *sorted(names)])


def listened(queues: Iterable[str]) -> list[str]:
    """What a worker of these queues takes hints from, the most urgent first."""
    mine = own_capabilities()
    return [name for queue in queues for name in ((queue, address(queue, mine)) if mine else (queue,))]


def reach(wanted: Iterable[str]) -> dict[str, str | None]:
    """Address of a step → queue of a living worker that can run it; None where there is none."""
    return {each: each if SEPARATOR not in each else _served(each) for each in set(wanted)}


def _served(wanted: str) -> str | None:
    from runtime.models import Worker  # the models say of steps where they want to be announced

    queue, *required = wanted.split(SEPARATOR)
    able = list(
        Worker.objects.alive(timedelta(seconds=settings().lease_seconds))
        .filter(role="worker", draining_at__isnull=True)
        .filter(queues__contains=[queue], capabilities__contains=required)
        .values_list("capabilities", flat=True)
    )
    return address(queue, random.choice(able)) if able else None
