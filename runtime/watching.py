"""Following a job while it runs: its events from the rows, and the text of its model calls from the live stream.

What has been seen is one text, `<seq>/<id of a piece>`, so that a reader who was cut off goes on where it was.
"""

from __future__ import annotations

import re
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from threading import Lock

from runtime import history, live
from runtime.conf import settings
from runtime.exceptions import InputInvalid
from runtime.live import Piece
from runtime.models import Job
from runtime.states import JOB_FINISHED

TICK_SECONDS = 0.5
QUIET_SECONDS = 15.0
"""After so long without news a sign of life goes out, before a proxy takes the silence for death."""
EVENTS_AT_ONCE = 100
PLACE = re.compile(r"([0-9]{1,18})(?:/([0-9]{1,20}-[0-9]{1,20}))?")


@dataclass(frozen=True)
class Place:
    """How far a reader has got."""

    seq: int = 0
    piece: str = live.BEGINNING

    @classmethod
    def of(cls, text: str) -> Place:
        """Raises `InputInvalid` for what no stream has said."""
        found = PLACE.fullmatch(text)
        if not found:
            raise InputInvalid("Last-Event-ID", f"must be an id of this stream, not {text[:40]!r}")
        return cls(int(found[1]), found[2] or live.BEGINNING)

    def __str__(self) -> str:
        return f"{self.seq}/{self.piece}"


@dataclass(frozen=True)
class Quiet:
    """Nothing has happened for a while."""


@dataclass(frozen=True)
class Ended:
    """The job has ended and all of it was told."""

    status: str


News = history.EventsPage | Piece | Quiet | Ended


def watch(job: Job, place: Place, *, payloads: bool) -> Generator[tuple[Place, News], None, None]:
    """What happens to a job, as it happens, until it ends or `STREAM_SECONDS` are over. No text without `payloads`."""
    give_up = time.monotonic() + settings().stream_seconds
    told_at = time.monotonic()
    while True:
        job.refresh_from_db(fields=["status", "seq"])
        fresh = list(_fresh(job, place, payloads=payloads))
        for place, news in fresh:
            yield place, news
        if job.status in JOB_FINISHED and place.seq >= job.seq:
            yield place, Ended(job.status)
            return
        now = time.monotonic()
        if now > give_up:
            return
        if fresh:
            told_at = now
        elif now - told_at > QUIET_SECONDS:
            told_at = now
            yield place, Quiet()


def _fresh(job: Job, place: Place, *, payloads: bool) -> Iterator[tuple[Place, News]]:
    """One look at what is new. Text first: the event that records an answer follows it."""
    has_events = job.seq > place.seq
    if payloads:
        for piece in live.pieces(job.pk, place.piece, wait=0 if has_events else TICK_SECONDS):
            place = replace(place, piece=piece.id)
            yield place, piece
    elif not has_events:
        time.sleep(TICK_SECONDS)
    if has_events:
        page = history.events_after(job, place.seq, EVENTS_AT_ONCE, payloads=payloads)
        if page.events:
            yield replace(place, seq=page.events[-1].seq), page


@dataclass
class Seats:
    """How many may watch at once in this process."""

    taken: int = 0
    _lock: Lock = field(default_factory=Lock)

    def take(self) -> bool:
        with self._lock:
            if self.taken >= settings().streams:
                return False
            self.taken += 1
            return True

    def leave(self) -> None:
        with self._lock:
            self.taken -= 1


seats = Seats()
