"""Any number of beats may run; one of them ticks. PostgreSQL decides which, as long as its connection lives."""

import logging
from datetime import datetime
from typing import Any

import psycopg
from django.db import DatabaseError, connection
from django_celery_beat.schedulers import DatabaseScheduler

from runtime import schedules

logger = logging.getLogger(__name__)

LOCK = 0x6165746862656174  # "aethbeat": an advisory lock is known by a number alone
STANDBY_SECONDS = 1.0
LOOK_SECONDS = 1.0


class OnlyScheduler(DatabaseScheduler):  # type: ignore[misc]
    """Stands by until it gets the lock, and hands it over by dying."""

    _holding: psycopg.Connection | None = None  # one of its own: Django closes and replaces those it manages

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send what is due, if this beat is the one. The seconds until the next look."""
        try:
            if not self._is_the_one():
                return STANDBY_SECONDS
        except psycopg.Error as error:
            logger.warning("Beat stands by, since PostgreSQL does not answer: %s", error)
            self._let_go()
            return STANDBY_SECONDS
        return min(float(super().tick(*args, **kwargs)), self._run_schedules())

    def enabled_models_qs(self) -> Any:
        """Those of jobs need no message."""
        return super().enabled_models_qs().exclude(task=schedules.TASK)

    def _run_schedules(self) -> float:
        """Begin the jobs that are due: rows in PostgreSQL, whatever Redis does."""
        try:
            schedules.run_due()
        except DatabaseError as error:
            logger.warning("Schedules are looked at again soon: %s", error)
            connection.close()
        return LOOK_SECONDS

    def close(self) -> None:
        """Beat ends: the next one may take over at once."""
        super().close()
        self._let_go()

    def _is_the_one(self) -> bool:
        if self._holding is not None:
            self._holding.execute("SELECT 1")
            return True
        candidate = connection.get_new_connection(connection.get_connection_params())
        candidate.autocommit = True
        if candidate.execute("SELECT pg_try_advisory_lock(%s)", [LOCK]).fetchone() != (True,):
            candidate.close()
            return False
        self._holding = candidate
        self._last_full_sync = datetime.min  # what the one before has run is in the database, not in memory
        return True

    def _let_go(self) -> None:
        if self._holding is not None:
            self._holding.close()
            self._holding = None
