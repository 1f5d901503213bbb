"""The disk of PostgreSQL's log is full. It stops, and goes on once there is space; what it acknowledged holds."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.db import DatabaseError, connection

from runtime.stack.postgres import Postgres
from tests.processes import load
from tests.processes.client import Client

SIZE = "96m"
"""Space for six segments of the log."""


@pytest.fixture
def small_disk(client: Client) -> Iterator[Path]:
    """The write-ahead log of the stack's PostgreSQL lives on it."""
    postgres = client.child("postgres")
    assert isinstance(postgres, Postgres)
    disk, log = postgres.data.with_name("small-disk"), postgres.data / "pg_wal"
    disk.mkdir(exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(disk)]).returncode:
        pytest.skip("may not mount a small disk here")
    try:
        with _stopped(postgres):
            _move(log, disk / "pg_wal")
            log.symlink_to(disk / "pg_wal")
        yield disk
    finally:
        with _stopped(postgres):
            if log.is_symlink():
                log.unlink()
                _move(disk / "pg_wal", log)
        subprocess.run(["umount", str(disk)], check=True)


@contextmanager
def _stopped(postgres: Postgres) -> Iterator[None]:
    with postgres.busy:
        postgres.stop()
        try:
            yield
        finally:
            postgres.start()
            connection.close()  # of this process: it has seen the server go


@pytest.mark.skipif(os.getuid() != 0, reason="only root may mount a small disk")
def test_a_full_disk_is_waited_out(client: Client, small_disk: Path) -> None:
    jobs = load.begin(client)
    filler = small_disk / "filler"
    with filler.open("wb") as file:
        file.write(b"x" * (shutil.disk_usage(small_disk).free - 4096))
    client.until(_is_full, "PostgreSQL to meet the end of its disk")
    filler.unlink()
    client.until_finished(*jobs)
    load.assert_done_once(client, jobs)


def _is_full() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_switch_wal(), pg_logical_emit_message(false, 'filler', repeat('x', 1000000))"
            )
    except DatabaseError:
        connection.close()
        return True
    return False


def _move(source: Path, target: Path) -> None:
    """With owner and mode, which PostgreSQL looks at."""
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)
    shutil.rmtree(source)
