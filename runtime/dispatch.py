"""Hints: messages that tell workers which steps may be claimed. Lost ones cost time, never data.

A hint leaves after commit, with socket timeouts, one attempt and a circuit breaker: a broker that is away
must not block a worker or a request. The sweeper sends again what nobody claimed.
"""

import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import cache

import structlog
from celery import current_app
from kombu.pools import ProducerPool

from runtime import committed, leases, queues
from runtime.breaker import Breaker
from runtime.conf import settings
from runtime.exceptions import LeaseUnavailable
from runtime.ports import CrashPoint, crash_point

logger = structlog.get_logger(__name__)

RUN_STEPS = "aetheris.run_steps"
MOST_MESSAGES = 64
"""Of one turn and queue. More steps share messages; workers that finish claim ready siblings anyway."""
FULL_QUEUE = 200
"""Messages in a queue from which on hints are surely there, and more would only pile up."""
LOOK_EVERY, LOOK_SECONDS = 50, 0.05
"""After so many messages to a queue a process looks how full it is, and then, while it is full, so often."""


class Crowd:
    """Queues with so many messages that more would wake nobody: whoever comes for one takes what else is ready.

    The broker is asked now and then, so that a process that submits little never asks.
    """

    def __init__(self) -> None:
        self._sent: Counter[str] = Counter()
        self._until: dict[str, float] = {}

    def has(self, queue: str, messages: int) -> bool:
        """Whether these messages need not be sent."""
        if queues.SEPARATOR in queue:
            return False  # nobody takes what has requirements without being told
        if time.monotonic() < self._until.get(queue, 0.0):
            return True
        self._sent[queue] += messages
        if self._sent[queue] < LOOK_EVERY or not self._is_full(queue):
            return False
        self._sent[queue] = LOOK_EVERY
        self._until[queue] = time.monotonic() + LOOK_SECONDS
        return True

    def _is_full(self, queue: str) -> bool:
        self._sent[queue] = 0
        try:
            return leases.queue_depths([queue])[queue] >= FULL_QUEUE
        except LeaseUnavailable:
            return False


breaker = Breaker()
crowd = Crowd()


def hint_after_commit(released: Sequence[tuple[int, str]]) -> None:
    """Send hints for (step id, address) pairs once the surrounding transaction, if any, has committed."""
    committed.then(lambda: hint(reached(released)))


def reached(released: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    """(step id, queue) for those that a living worker can run."""
    served = queues.reach(address for _, address in released)
    return [(step_id, queue) for step_id, address in released if (queue := served[address]) is not None]


def hint(released: Iterable[tuple[int, str]]) -> bool:
    """Send hints now. False when the broker could not be reached: the sweeper will see to it."""
    crash_point(CrashPoint.BEFORE_HINT)
    if breaker.is_open:
        return False
    by_queue: dict[str, list[int]] = defaultdict(list)
    for step_id, queue in released:
        by_queue[queue].append(step_id)
    patience = settings().redis_timeout_seconds
    try:
        with _producers(os.getpid(), current_app.conf.broker_write_url).acquire(
            block=True, timeout=patience
        ) as producer:
            enough = time.monotonic() + patience
            for queue, ids in by_queue.items():
                messages = min(len(ids), MOST_MESSAGES)
                if crowd.has(queue, messages):
                    continue
                for first in range(messages):
                    if time.monotonic() > enough:
                        return True  # a broker so slow has woken somebody, and the sweep sends the rest again
                    current_app.send_task(
                        RUN_STEPS,
                        args=[ids[first::messages]],
                        queue=queue,
                        producer=producer,
                        retry=False,
                        ignore_result=True,
                    )
    except Exception as error:  # which ones there are depends on the transport; the steps are committed
        breaker.trip()
        logger.warning("hint_not_sent", error=str(error), steps=sum(map(len, by_queue.values())))
        return False
    return True


@cache
def _producers(process: int, broker: str) -> ProducerPool:
    """Producers that give up soon, where the consumers of this process may be patient. A fork makes its own."""
    seconds = settings().redis_timeout_seconds
    connection = current_app.connection_for_write(broker)
    connection.transport_options = {
        **(connection.transport_options or {}),
        "socket_timeout": seconds,
        "socket_connect_timeout": seconds,
        "retry_on_timeout": False,
        "max_retries": 0,
    }
    return ProducerPool(connection.Pool(settings().threads), limit=settings().threads)
