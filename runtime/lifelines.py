"""Lifelines: an early sign that a worker is dead.

Each incarnation holds an advisory lock in the session of its heartbeat. PostgreSQL gives it free when the socket of
the process closes, which a `kill -9` does at once. A connection may be lost without its worker, so the sign counts
only with a second one: the heartbeat, which takes the lock again, has missed a beat.

Behind a pooler the session is not the worker's own, so no lifeline is taken. Then, and for a worker that stands still,
the lease tells.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from uuid import UUID

from django.db import connection

from runtime.conf import settings

NAMESPACE = 0x61657468
"""The first number of the lock, "aeth"; the second is the worker's own."""
MISSED_BEATS = 2.0
"""A worker that lives is never silent for so many pauses between beats, even if it has to connect again."""

# `pg_locks` is read only where a worker has something to lose.
CUT = """
WITH busy AS MATERIALIZED (
  SELECT w.id, w.lifeline, w.heartbeat_at FROM aetheris_worker w
  WHERE w.lifeline IS NOT NULL AND w.stopped_at IS NULL
    AND w.id IN (SELECT s.worker_id FROM aetheris_step s WHERE s.status = 'running')
)
SELECT pg_backend_pid(), coalesce(jsonb_object_agg(b.id, extract(epoch FROM aetheris_now() - b.heartbeat_at)), '{}')
FROM busy b
WHERE NOT EXISTS (SELECT 1 FROM pg_locks l
  WHERE l.locktype = 'advisory' AND l.classid = %(namespace)s AND l.objid = b.lifeline AND l.objsubid = 2
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()))
"""


def number(worker: UUID) -> int:
    """The second number of a worker's lock. Of two workers with the same one the later has no lifeline."""
    return worker.int & 0x7FFFFFFF


def session() -> int:
    """The process of PostgreSQL behind the connection of this thread, as it was named when the connection was made.

    A pooler gives names of its own there, so a session that calls itself by another is not ours to keep a lock in.
    """
    pid: int = connection.connection.info.backend_pid
    return pid


@dataclass
class Lookout:
    """Who was cut off, as seen from one session that has lasted.

    When PostgreSQL itself was away, every lifeline was cut and this session with them. Then workers have a lease time
    to be heard of again before what the new session sees counts.
    """

    soonest: float = math.inf
    """Seconds until somebody who is cut off has been silent for long enough."""
    _session: int | None = None
    _since: float = 0.0

    def dead(self) -> list[UUID]:
        """Workers with running steps whose lifeline is cut and whose heartbeat is missed."""
        silences = self._silences()
        self.soonest = math.inf
        if time.monotonic() - self._since < settings().lease_seconds:
            return []
        enough = MISSED_BEATS * settings().heartbeat_seconds
        self.soonest = min((enough - each for each in silences.values() if each < enough), default=math.inf)
        return [worker for worker, silence in silences.items() if silence >= enough]

    def _silences(self) -> dict[UUID, float]:
        with connection.cursor() as cursor:
            cursor.execute(CUT, {"namespace": NAMESPACE})
            session, silences = cursor.fetchone()
        if session != self._session:
            self._session, self._since = session, time.monotonic()
        return {UUID(worker): float(silence) for worker, silence in json.loads(silences).items()}
