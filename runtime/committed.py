"""What is done once something is committed: telling others of it, which may fail and changes nothing any more."""

from __future__ import annotations

from collections.abc import Callable

import structlog
from django.db import connection, transaction

logger = structlog.get_logger(__name__)


def then(tell: Callable[[], object]) -> None:
    """After the surrounding transaction; at once where there is none. What `tell` raises is logged.

    Django's own `on_commit` opens a connection to find out that no transaction is open, and the threads of a worker
    whose turns go by a shared connection have none.
    """
    if connection.in_atomic_block:
        transaction.on_commit(tell, robust=True)
        return
    try:
        tell()
    except Exception:
        logger.exception("not_told")
