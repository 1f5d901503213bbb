"""The Celery task: a few lines around the executor. A message carries step ids; the claim decides."""

from __future__ import annotations

import mmap
import os
import signal
import threading
from typing import Any

import structlog
from billiard import active_children
from celery import shared_task
from celery.signals import (
    worker_init,
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
    worker_shutdown,
    worker_shutting_down,
)
from django.db import connection

from runtime import ports, queues, schedules, sharing
from runtime.conf import settings
from runtime.dispatch import RUN_STEPS
from runtime.execution import run_step
from runtime.incarnation import Incarnation

logger = structlog.get_logger(__name__)

# One byte of memory that pool children share with their parent: SIGTERM reaches the parent only.
_draining = mmap.mmap(-1, 1)
_incarnation: tuple[int, Incarnation] | None = None
_making = threading.Lock()
_queues: tuple[str, ...] = ()
_threads = 1
"""How many steps this process runs at once: one in a pool child."""


@shared_task(name=RUN_STEPS, ignore_result=True)
def run_steps(step_ids: list[int]) -> None:
    worker = incarnation()
    for step_id in step_ids:
        if worker.draining:
            return  # the sweeper sends the rest to somebody else
        try:
            run_step(step_id, worker)
        except Exception:  # the sweep takes care of this step; the others of the message need not wait for it
            logger.exception("step_not_run", step=step_id)
            connection.close()


@shared_task(name=schedules.TASK, ignore_result=True)
def run_schedules() -> None:
    """For a beat that is not ours and sends a message where ours looks itself. Twice does what once does."""
    schedules.run_due()


def incarnation() -> Incarnation:
    """This process's incarnation: made after a fork, never inherited through it."""
    global _incarnation
    with _making:
        if _incarnation is None or _incarnation[0] != os.getpid():
            served = _queues or settings().queues
            worker = Incarnation(
                queues=served,
                others=served,
                threads=_threads,
                drain_requested=lambda: _draining[0] == 1,
            )
            worker.start()  # raises while PostgreSQL is away; then the next hint tries again
            _incarnation = (os.getpid(), worker)
        return _incarnation[1]


@worker_init.connect
def _remember_queues(sender: Any = None, **kwargs: object) -> None:
    global _queues
    if sender is not None:
        _queues = tuple(sender.app.amqp.queues.consume_from)
        sender.app.amqp.queues.select(queues.listened(_queues))
    if settings().crash_at:
        ports.crash_hook = ports.kill_at(settings().crash_at)


@worker_ready.connect
def _start_in_parent(sender: Any = None, **kwargs: object) -> None:
    global _threads
    if "prefork" not in type(sender.pool).__module__:  # a thread pool: this process runs the steps
        _threads = sender.pool.limit
        sharing.begin()
        incarnation()


@worker_process_init.connect
def _start_in_child(**kwargs: object) -> None:
    incarnation()


@worker_shutting_down.connect
def _drain(**kwargs: object) -> None:
    _draining[0] = 1
    if _incarnation is not None and _incarnation[0] == os.getpid():
        _incarnation[1].drain()
        return
    # Children end by themselves, but for one whose heartbeat waits for a database that does not answer.
    longest = settings().drain_seconds + settings().lease_seconds + 2 * settings().heartbeat_seconds
    grace = threading.Timer(longest, _end_pool)
    grace.daemon = True
    grace.start()


def _end_pool() -> None:
    for pid in filter(None, (child.pid for child in active_children())):
        os.kill(pid, signal.SIGKILL)
    logger.warning("drain_over", pool=os.getpid())
    os._exit(0)


@worker_shutdown.connect
@worker_process_shutdown.connect
def _stop(**kwargs: object) -> None:
    if _incarnation is not None and _incarnation[0] == os.getpid():
        _incarnation[1].stop()
