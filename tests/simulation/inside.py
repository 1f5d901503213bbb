"""Turns that stand still in the middle, when they have just read their job, while others go on.

The database of a simulation has a gate with one line more: there a turn waits for a lock that the scheduler holds,
if it was told to. So locks are met as they are in production, where two turns of one job are under way at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

from tests.guards import Edit, edited, load, replacing

PAUSE = """
CREATE OR REPLACE FUNCTION simulated_pause() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  place text := current_setting('simulated.pause', true);
BEGIN
  IF place <> '' THEN
    PERFORM set_config('simulated.pause', '', false), pg_advisory_lock_shared(place::bigint),
      pg_advisory_unlock_shared(place::bigint);
  END IF;
END $$
"""
HERE = "  now_at := aetheris_now();\n"
"""Where the gate has its job, and has done nothing yet."""
IN_ORDER = {
    "ORDER BY greatest(hint_after, run_after, ready_at)": "ORDER BY greatest(hint_after, run_after, ready_at), id",
    "array_to_string(s.queue || s.requires, '+')))": "array_to_string(s.queue || s.requires, '+')) ORDER BY s.id)",
}
"""Where rows come in the order of their places in the file, which is not the seed's but of those before it."""

WAITING = """
SELECT count(DISTINCT pid) FROM pg_locks JOIN pg_stat_activity a USING (pid)
WHERE NOT granted AND a.datname = current_database() AND a.backend_type = 'client backend'
"""


@contextmanager
def gate(*edits: Edit) -> Iterator[None]:
    """The database of this connection has a gate in which turns may stand still, and which was edited so."""
    always = {HERE: "  PERFORM simulated_pause();\n" + HERE, **IN_ORDER}
    load([PAUSE])
    with edited(*(replacing(*each) for each in always.items()), *edits):
        yield
    load(["DROP FUNCTION simulated_pause"])


class Pauses:
    """The locks that the scheduler holds, through the connection of its thread."""

    def __init__(self) -> None:
        self._made = 0

    def close(self) -> int:
        """A new place to stand still at."""
        self._made += 1
        _ask("SELECT pg_advisory_lock(%s)", self._made)
        return self._made

    def open(self, place: int) -> None:
        _ask("SELECT pg_advisory_unlock(%s)", place)

    def standing(self) -> int:
        """How many connections of this database wait for a lock."""
        return _ask(WAITING)

    @staticmethod
    def told(place: int) -> None:
        """In the thread whose next turn is to stand still there."""
        connection.ensure_connection()
        connection.connection.execute("SELECT set_config('simulated.pause', %s, false)", [str(place)])

    @staticmethod
    def forgotten() -> None:
        """In the same thread afterwards: not every turn comes by."""
        if connection.connection is not None:
            connection.connection.execute("SELECT set_config('simulated.pause', '', false)")


def _ask(sql: str, *values: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        answer: int = cursor.fetchone()[0]
        return answer
