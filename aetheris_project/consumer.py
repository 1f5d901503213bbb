"""A worker's own connection to the broker."""

from functools import partial
from typing import Any

from celery.worker import consumer

RETRY_SECONDS = 2


class Consumer(consumer.Consumer):
    """Asks every two seconds whether a lost broker is back.

    Celery's own waits longer each time, up to half a minute: after an outage hints would wait as long for somebody
    to hear them, and the sweeper runs steps itself only as long as it cannot send hints.
    """

    def ensure_connected(self, conn: Any) -> Any:
        conn.ensure_connection = partial(
            conn.ensure_connection, interval_start=RETRY_SECONDS, interval_step=0, interval_max=RETRY_SECONDS
        )
        return super().ensure_connected(conn)
