"""A worker's own connection to the broker."""

from functools import partial
from typing import Any

from celery.concurrency.thread import TaskPool
from celery.worker import consumer
from kombu.asynchronous import Hub

RETRY_SECONDS = 2


class Consumer(consumer.Consumer):
    """Asks every two seconds whether a lost broker is back, and listens again as soon as a thread is free.

    Celery's own waits longer each time, up to half a minute: after an outage hints would wait as long for somebody
    to hear them, and the sweeper runs steps itself only as long as it cannot send hints.
    """

    hub: Hub | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.hub is not None and isinstance(self.pool, TaskPool):
            wake_when_free(self.pool, self.hub)

    def ensure_connected(self, conn: Any) -> Any:
        conn.ensure_connection = partial(
            conn.ensure_connection, interval_start=RETRY_SECONDS, interval_step=0, interval_max=RETRY_SECONDS
        )
        return super().ensure_connected(conn)


def wake_when_free(pool: TaskPool, hub: Hub) -> None:
    """Each task that ends in this pool wakes Celery's loop.

    With `worker_disable_prefetch` a worker of which all threads are busy takes no messages. That one of them has ended
    its loop learns when something else wakes it, up to a second later, with messages waiting and every thread idle.
    """
    apply = pool.on_apply

    def apply_and_wake(*args: Any, **kwargs: Any) -> Any:
        result = apply(*args, **kwargs)
        result.f.add_done_callback(lambda done: hub.call_soon(_look_again))
        return result

    pool.on_apply = apply_and_wake  # type: ignore[method-assign]


def _look_again() -> None:
    """The loop asks whether it may take a message each time before it sleeps: that it is awake is enough."""
