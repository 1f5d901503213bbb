"""A worker as the runtime sees it: one incarnation per process start, with a heartbeat thread of its own.

Each heartbeat writes the incarnation's row, with the steps it holds, and reads which of them were fenced or
whose job was asked to end: only that answer cancels a step. Then it extends the leases in one round trip, or
sets them where they are absent, so that an emptied Redis cancels and rescues nobody.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, LiteralString
from uuid import UUID

import structlog
from django.db import connection

from runtime import leases, lifelines
from runtime.conf import settings
from runtime.context import Context
from runtime.exceptions import LeaseUnavailable, StaleAttempt
from runtime.models import Step
from runtime.models.base import new_id
from runtime.queues import own_capabilities
from runtime.turn import Turn

logger = structlog.get_logger(__name__)

BEAT = """
WITH beat AS (
  INSERT INTO aetheris_worker (id, name, host, pid, role, queues, capabilities, started_at, heartbeat_at, holding,
      lifeline, draining_at)
    VALUES (%(id)s, %(name)s, %(host)s, %(pid)s, %(role)s, %(queues)s, %(capabilities)s, aetheris_now(),
            aetheris_now(), %(holding)s,
            CASE WHEN pg_backend_pid() = %(session)s THEN
              CASE WHEN pg_try_advisory_lock(%(namespace)s, %(lifeline)s) THEN %(lifeline)s END END,
            CASE WHEN %(draining)s THEN aetheris_now() END)
  ON CONFLICT (id) DO UPDATE SET heartbeat_at = aetheris_now(), holding = excluded.holding, stopped_at = NULL,
    lifeline = excluded.lifeline,
    draining_at = coalesce(aetheris_worker.draining_at, excluded.draining_at)
)
SELECT s.id, s.attempt, s.status = 'running' AND s.worker_id = %(id)s AS ours,
    j.ending_as IS NOT NULL AND j.compensating_at IS NULL OR coalesce(c.stopping, false) AS ending
  FROM aetheris_step s JOIN aetheris_job j ON j.id = s.job_id LEFT JOIN aetheris_scope c ON c.id = s.scope_id
  WHERE s.id = ANY(%(held)s)
"""


@dataclass
class Held:
    """A step in the hands of this process."""

    step: Step
    context: Context | None = None
    lost_since: float | None = None
    leased: bool = False


@dataclass
class Incarnation:
    role: str = "worker"
    queues: tuple[str, ...] = field(default_factory=lambda: settings().queues)
    name: str = field(
        default_factory=lambda: os.environ.get("AETHERIS_PROCESS") or f"{socket.gethostname()}:{os.getpid()}"
    )
    capabilities: Sequence[str] = field(default_factory=own_capabilities)
    id: UUID = field(default_factory=new_id)
    threads: int = field(default_factory=lambda: settings().threads)
    """How many steps it runs at once."""
    others: tuple[str, ...] = ()
    """Queues whose jobs it goes on with when one has nothing more for it, without being told of them."""
    drain_requested: Callable[[], bool] = lambda: False
    """Asked at each heartbeat: pool children learn of a SIGTERM to their parent this way."""

    def __post_init__(self) -> None:
        self._held: dict[int, Held] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._drains = False
        self._grace: threading.Timer | None = None

    # Life

    def start(self) -> None:
        """The row is written before the first claim can name it."""
        self._beat()
        self._thread = threading.Thread(target=self._run, name="aetheris-heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Say goodbye: what is still held is handed back, and the row shows that the process ended in order."""
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=settings().heartbeat_seconds * 2)
        connection.close_if_unusable_or_obsolete()  # idle since the start, perhaps through a PostgreSQL restart
        # The lifeline went with the heartbeat, and what is held is still to be handed back.
        self._note("lifeline = NULL")
        self.hand_back("the worker stopped")
        self._note("stopped_at = aetheris_now(), holding = '{}'")
        if self._grace is not None:
            self._grace.cancel()

    def _note(self, what: LiteralString) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"UPDATE aetheris_worker SET {what} WHERE id = %s", [self.id])

    def drain(self) -> None:
        """Claim nothing more; running steps have the grace time to finish."""
        if self._drains:
            return
        self._drains = True
        logger.info("worker_drains", worker=str(self.id), holding=len(self._held))
        if self._thread is not None:
            # Not the heartbeat's business, which may be waiting for a database that does not answer.
            self._grace = threading.Timer(settings().drain_seconds, self._end_drain)
            self._grace.daemon = True
            self._grace.start()

    @property
    def draining(self) -> bool:
        self._hear_of_drain()
        return self._drains

    def _hear_of_drain(self) -> None:
        if not self._drains and self.drain_requested():
            self.drain()

    # What it holds

    @contextmanager
    def holding(self, step: Step) -> Iterator[Callable[[Context], None]]:
        held = Held(step)
        with self._lock:
            self._held[step.pk] = held

        def bind(context: Context) -> None:
            held.context = context

        try:
            yield bind
        finally:
            with self._lock:
                if self._held.get(step.pk) is held:
                    del self._held[step.pk]
            if held.leased:
                leases.release(self.id, step.pk, step.attempt)

    def held_ids(self) -> list[int]:
        with self._lock:
            return list(self._held)

    def hand_back(self, why: str) -> None:
        """Return running steps to the queue without counting a failure; what their threads write is fenced."""
        with self._lock:
            held = list(self._held.values())
        for one in held:
            try:
                with Turn(one.step.job_id, worker=self.id) as turn:
                    turn.hand_back(one.step, why)
                logger.info("step_handed_back", job=str(one.step.job_id), step=one.step.key)
            except StaleAttempt:
                continue  # it was recorded meanwhile

    # The heartbeat

    def _run(self) -> None:
        pause = 0.0
        failed = False
        while not self._stop.wait(pause):
            pause = settings().heartbeat_seconds
            try:
                self._hear_of_drain()
                self._beat(tied=True)
                failed = False
            except Exception as error:  # of whatever kind: without a heartbeat every step here is rescued
                logger.warning("heartbeat_failed", worker=str(self.id), error=str(error).strip())
                connection.close()
                # Perhaps only the connection was lost. Its lifeline is taken again before anybody misses a beat.
                pause, failed = (pause if failed else 0.0), True
        connection.close()

    def _beat(self, *, tied: bool = False) -> None:
        """`tied`: this thread's connection, which lasts as long as the process, holds the lifeline."""
        with self._lock:
            held = dict(self._held)
        answer = self._write(held, tied)
        for step_id, one in held.items():
            attempt, ours, ending = answer.get(step_id, (None, False, False))
            if attempt == one.step.attempt and ours and not ending:
                continue
            if one.context is not None:
                one.context.cancel()
            if not ours or attempt != one.step.attempt:
                one.lost_since = one.lost_since or time.monotonic()
        self._extend_leases(held)
        self._leave_if_stuck(held)

    def _write(self, held: dict[int, Held], tied: bool) -> dict[int, tuple[int, bool, bool]]:
        connection.ensure_connection()
        holding = {str(step_id): one.step.attempt for step_id, one in held.items() if one.lost_since is None}
        row: dict[str, Any] = {
            "id": self.id,
            "name": self.name,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "role": self.role,
            "queues": list(self.queues),
            "capabilities": list(self.capabilities),
            "holding": json.dumps(holding),
            "draining": self.draining,
            "namespace": lifelines.NAMESPACE,
            "lifeline": lifelines.number(self.id),
            "session": lifelines.session() if tied else None,
            "held": list(held),
        }
        with connection.cursor() as cursor:
            cursor.execute(BEAT, row)
            return {step_id: (attempt, ours, ending) for step_id, attempt, ours, ending in cursor.fetchall()}

    def _extend_leases(self, held: dict[int, Held]) -> None:
        pairs = [(step_id, one.step.attempt) for step_id, one in held.items() if one.lost_since is None]
        if not pairs:
            return
        try:
            leases.extend(self.id, pairs)
            for step_id, _ in pairs:
                held[step_id].leased = True
        except LeaseUnavailable as error:
            logger.warning("leases_not_extended", worker=str(self.id), error=str(error))

    def _leave_if_stuck(self, held: dict[int, Held]) -> None:
        """Threads that never returned from steps taken from them: with too many, a fresh process does better."""
        limit = time.monotonic() - settings().lease_seconds
        stuck = sum(1 for one in held.values() if one.lost_since is not None and one.lost_since < limit)
        if stuck >= max(1, self.threads // 2) and not self.draining:
            logger.error("worker_stuck", worker=str(self.id), threads=stuck)
            self.drain()
            os.kill(os.getpid(), signal.SIGTERM)

    def _end_drain(self) -> None:
        """The grace time is over: threads that still run keep nothing but their memory.

        A lease is time enough to hand back what they hold. After that it is rescued as from any dead worker.
        """
        goodbye = threading.Thread(target=self.stop, name="aetheris-goodbye", daemon=True)
        goodbye.start()
        goodbye.join(settings().lease_seconds)
        logger.warning("drain_over", worker=str(self.id))
        os._exit(0)
