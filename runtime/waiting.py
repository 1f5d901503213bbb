"""Waiting for the end of jobs: woken by the news, sure by the rows."""

from __future__ import annotations

import time
from collections.abc import Collection
from uuid import UUID

from runtime import news
from runtime.exceptions import NotFinished
from runtime.models import Job

FIRST_LOOK = 0.05
LONGEST_LOOK = 1.0
"""Seconds between looks at the rows while there is no news, each twice the one before."""
CHUNK = 1000


def wait(job_ids: Collection[UUID], timeout: float) -> None:
    """Return when all of the jobs have ended. Raises `NotFinished` after `timeout` seconds."""
    give_up = time.monotonic() + timeout
    pause = FIRST_LOOK
    unfinished = set(job_ids)
    with news.listening(unfinished) as listener:
        asked = unfinished  # whoever ended before we listened is no news
        while unfinished := unfinished - _finished(asked):
            left = give_up - time.monotonic()
            if left <= 0:
                raise NotFinished(unfinished, timeout)
            asked = listener.heard(min(pause, left))
            if not asked:
                asked, pause = unfinished, min(pause * 2, LONGEST_LOOK)


def _finished(job_ids: Collection[UUID]) -> set[UUID]:
    ids = list(job_ids)
    return {
        pk
        for first in range(0, len(ids), CHUNK)
        for pk in Job.objects.filter(pk__in=ids[first : first + CHUNK])
        .finished()
        .values_list("pk", flat=True)
    }
