"""Statements of the hot path, prepared on the server: parsed once for each connection, their values sent beside them.

Django's own cursors put values into the text, so the server would parse every payload as SQL. Behind a pooler that
cannot keep prepared statements, `OPTIONS["prepare_threshold"] = None` of the database turns preparing off.
"""

from typing import Any, LiteralString

import psycopg
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper


def ask(statement: LiteralString, *values: Any, via: BaseDatabaseWrapper | None = None) -> Any:
    """The one value that a statement answers, on the thread's own connection where none is named.

    Raises Django's database errors.
    """
    database = via or connection
    database.close_if_health_check_failed()
    database.ensure_connection()
    with database.wrap_database_errors:
        row = psycopg.RawCursor(database.connection).execute(statement, values, prepare=True).fetchone()
    return row[0] if row else None
