"""A worker's own connection to the broker."""

from functools import partial
from typing import Any

from celery.worker import consumer

RETRY_SECONDS = 2


class Consumer(consumer.Consumer):
    """Asks every two seconds whether a lost broker is back, and takes a lost acknowledgement for a lost broker.

    Celery's own waits longer each time, up to half a minute: after an outage hints would wait as long for somebody
    to hear them, and the sweeper runs steps itself only as long as it cannot send hints.
    """

    def ensure_connected(self, conn: Any) -> Any:
        conn.ensure_connection = partial(
            conn.ensure_connection, interval_start=RETRY_SECONDS, interval_step=0, interval_max=RETRY_SECONDS
        )
        return super().ensure_connected(conn)

    def call_soon_ack(self, acknowledge: Any, logger: Any, errors: Any, *args: Any) -> Any:
        """Celery's own logs `errors` and goes on, but the message keeps its place for ever: a worker that has lost
        as many as it has threads hears nothing more, and does not even notice that its connection is gone."""
        return super().call_soon_ack(acknowledge, logger, (), *args)  # type: ignore[misc]  # older stubs
