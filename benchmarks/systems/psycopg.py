"""The floor: a hand-written loop over two tables, one commit for each step, nothing else recorded. Woken by NOTIFY;
what a dead connection held is taken over. Four threads for each process: more of them only wait for each other."""

import threading
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import psycopg as pg

from benchmarks import witness
from benchmarks.orders import SLOW_SECONDS, Order, variable

THREADS = 4
POLL_SECONDS = 0.005

TABLES = """
CREATE TABLE job (id uuid PRIMARY KEY, result int, open int NOT NULL);
CREATE TABLE step (job uuid, number int, result int, PRIMARY KEY (job, number));
CREATE TABLE task (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job uuid NOT NULL, name text NOT NULL, shape text NOT NULL, size int NOT NULL, number int NOT NULL,
    owner int, parked bool NOT NULL DEFAULT false
);
"""
CLAIM = """
UPDATE task SET owner = pg_backend_pid() WHERE id = (
    SELECT id FROM task WHERE NOT parked
    AND (owner IS NULL OR NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = owner))
    ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED
) RETURNING id, job, name, shape, size, number
"""
GO_ON = """
WITH recorded AS (INSERT INTO step VALUES (%(job)s, %(number)s, %(result)s))
UPDATE task SET number = number + 1, parked = %(park)s, owner = CASE WHEN %(park)s THEN NULL ELSE owner END
WHERE id = %(id)s AND owner = pg_backend_pid() RETURNING parked
"""
FINISH = """
WITH recorded AS (INSERT INTO step VALUES (%(job)s, %(number)s, %(result)s)),
gone AS (DELETE FROM task WHERE id = %(id)s AND owner = pg_backend_pid() RETURNING job)
UPDATE job SET open = open - 1, result = CASE WHEN open = 1 THEN %(result)s END
FROM gone WHERE job.id = gone.job RETURNING open
"""
JOIN = """
INSERT INTO task (job, name, shape, size, number) VALUES (%(job)s, %(name)s, 'join', %(size)s, %(size)s)
"""


def connect() -> "pg.Connection[Any]":
    return pg.connect(variable("DATABASE_URL"), autocommit=True, prepare_threshold=1)


def setup() -> None:
    connect().execute(TABLES)


def serve(number: int, ready: Callable[[], None]) -> None:
    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    ready()


def work() -> None:
    connection = connect()
    connection.execute("LISTEN task")
    while True:
        task = connection.execute(CLAIM).fetchone()
        if task is None:
            for _ in connection.notifies(timeout=1, stop_after=1):
                pass
        else:
            perform(connection, *task)


def perform(
    connection: "pg.Connection[Any]", id: int, job: UUID, name: str, shape: str, size: int, number: int
) -> None:
    """Run a task to its end, or to its wait for a signal."""
    last = {"fan": number, "join": number, "signal": 1}.get(shape, size - 1)
    given = {"id": id, "job": job, "name": name, "size": size}
    while True:
        result = witness.note(name, number)
        if shape == "slow":
            time.sleep(SLOW_SECONDS)
        step = {**given, "number": number, "result": result, "park": shape == "signal"}
        if number >= last:
            finished = connection.execute(FINISH, step).fetchone()
            if shape == "fan" and finished == (1,):
                connection.execute(JOIN, given)
            return
        if connection.execute(GO_ON, step).fetchone() != (False,):
            return
        number += 1


def submit(orders: list[Order]) -> list[UUID]:
    ids = [uuid4() for _ in orders]
    parts = [order.size if order.shape == "fan" else 1 for order in orders]
    with connect() as connection, connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO job VALUES (%s, NULL, %s)",
            [(id, part + (order.shape == "fan")) for id, order, part in zip(ids, orders, parts, strict=True)],
        )
        cursor.executemany(
            "INSERT INTO task (job, name, shape, size, number) VALUES (%s, %s, %s, %s, %s)",
            [
                (id, order.name, order.shape, order.size, number)
                for id, order, part in zip(ids, orders, parts, strict=True)
                for number in range(part)
            ],
        )
        cursor.execute("NOTIFY task")
    return ids


def wait(handles: list[UUID]) -> list[int]:
    with connect() as connection:
        while True:
            rows = connection.execute(
                "SELECT id, result FROM job WHERE id = ANY(%s) AND open = 0", [handles]
            ).fetchall()
            if len(rows) == len(handles):
                results = dict(rows)
                return [results[id] for id in handles]
            time.sleep(POLL_SECONDS)


def signal(handle: UUID) -> None:
    with connect() as connection, connection.transaction():
        connection.execute("UPDATE task SET parked = false WHERE job = %s", [handle])
        connection.execute("NOTIFY task")
