"""The embedded servers: they come back from whatever happens to them."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from runtime.stack import binaries
from runtime.stack.account import Account, unprivileged
from runtime.stack.errors import AlreadyRunning, BinariesMissing, NoFreePort, ServerFailed, UnsafeDirectory
from runtime.stack.lock import InstanceLock
from runtime.stack.places import Places
from runtime.stack.ports import listen
from runtime.stack.postgres import Postgres
from runtime.stack.processes import wait_until
from runtime.stack.valkey import Valkey

as_root_only = pytest.mark.skipif(os.getuid() != 0, reason="only root has to lend PostgreSQL another user")


def write_rows(postgres: Postgres) -> None:
    with postgres.connect() as connection:
        connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 100) AS number")


def kept_rows(postgres: Postgres) -> int:
    with postgres.connect() as connection:
        row = connection.execute("SELECT count(*) FROM kept").fetchone()
    assert row is not None
    return int(row[0])


def keep_busy(postgres: Postgres) -> int:
    """Start a query that does not end by itself; the pid of the backend that runs it."""
    connection = postgres.connect()

    def run() -> None:
        with pytest.raises(psycopg.OperationalError), connection:
            connection.execute("SELECT count(*) FROM generate_series(1, 100000000000)")

    pid = connection.info.backend_pid
    threading.Thread(target=run, daemon=True).start()
    assert wait_until(lambda: _is_active(postgres, pid), timeout=60)
    return pid


def _is_active(postgres: Postgres, pid: int) -> bool:
    with postgres.connect() as connection:
        query = "SELECT state FROM pg_stat_activity WHERE pid = %s"
        return connection.execute(query, [pid]).fetchone() == ("active",)


@pytest.mark.pg_slice
def test_postgres_keeps_what_it_acknowledged_when_it_is_killed_with_a_busy_backend(
    postgres: Postgres,
) -> None:
    write_rows(postgres)
    busy = keep_busy(postgres)

    postgres.kill()
    assert wait_until(lambda: not postgres.alive, timeout=60)
    assert psutil.pid_exists(busy), "the backend was to survive its postmaster"

    postgres.start()

    assert kept_rows(postgres) == 100


def test_an_immediate_restart_keeps_what_was_acknowledged(postgres: Postgres) -> None:
    write_rows(postgres)

    postgres.restart(signal.SIGQUIT)

    assert kept_rows(postgres) == 100


def test_a_new_manager_takes_over_from_a_server_whose_manager_is_gone(postgres: Postgres) -> None:
    write_rows(postgres)
    orphan = postgres.pid

    successor = Postgres(postgres.places)
    successor.start()

    assert successor.pid != orphan
    assert kept_rows(successor) == 100
    successor.stop()


def test_a_pid_file_that_names_somebody_else_does_not_keep_postgres_from_starting(postgres: Postgres) -> None:
    postgres.stop()
    pid_file = postgres.data / "postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n{postgres.data}\n")
    postgres.account.give(pid_file)

    postgres.start()

    assert postgres.ready()


def test_half_a_data_directory_is_not_taken_for_a_whole_one(places: Places) -> None:
    postgres = Postgres(places)
    draft = postgres.data.with_name(f"{postgres.data.name}.draft")
    (draft / "base").mkdir(parents=True)

    postgres.start()

    assert postgres.ready()
    postgres.stop()


def test_valkey_comes_back_after_a_kill_with_what_it_had(valkey: Valkey) -> None:
    valkey.command("SET colour green")
    with redis.Redis(unix_socket_path=str(valkey.socket)) as client:
        assert wait_until(lambda: client.info("persistence")["aof_buffer_length"] == 0, timeout=60)

    valkey.restart(signal.SIGKILL)

    assert valkey.command("EXISTS colour") == ":1"


def test_valkey_refuses_to_forget_hints_when_memory_runs_out(valkey: Valkey) -> None:
    with redis.Redis(unix_socket_path=str(valkey.socket)) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_servers_of_two_checkouts_do_not_meet(places: Places, other_places: Places) -> None:
    first, second = Valkey(places), Valkey(other_places)
    first.start()
    second.start()

    first.command("SET colour green")

    assert second.command("EXISTS colour") == ":0"
    assert places.postgres_sockets != other_places.postgres_sockets
    first.stop()
    assert second.ready()
    second.stop()


@as_root_only
def test_root_below_an_unreadable_home_still_gets_a_database(places: Places) -> None:
    places.checkout.chmod(0o700)
    postgres = Postgres(places)

    postgres.start()

    assert postgres.data.is_relative_to(places.refuge)
    assert psutil.Process(postgres.pid).uids().real == unprivileged().uid
    postgres.stop()


@as_root_only
def test_programs_that_the_servers_user_cannot_reach_are_copied_with_their_libraries(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    everywhere = binaries.postgres(places, Account())
    package = everywhere.parent.parent
    hidden = places.checkout / package.name
    shutil.copytree(package, hidden, ignore=shutil.ignore_patterns("include", "__pycache__"))
    shutil.copytree(package.with_name(f"{package.name}.libs"), hidden.with_name(f"{package.name}.libs"))
    places.checkout.chmod(0o700)
    monkeypatch.setenv("PG_BIN", str(hidden / everywhere.relative_to(package)))
    postgres = Postgres(places)

    postgres.start()

    assert postgres.programs.is_relative_to(places.refuge)
    postgres.stop()


def test_a_directory_that_somebody_else_prepared_is_refused(places: Places) -> None:
    places.run.chmod(0o777)

    with pytest.raises(UnsafeDirectory, match=str(places.run)):
        places.prepare()


def test_an_instance_has_one_holder_and_says_who_it_is(places: Places) -> None:
    InstanceLock(places).take()  # dropped at once, and so released
    holder = InstanceLock(places)
    holder.take()

    with pytest.raises(AlreadyRunning, match=f"process {os.getpid()}"):
        InstanceLock(places).take()

    holder.release()


def test_a_missing_server_is_named_with_the_way_out(
    places: Places, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PG_BIN", str(tmp_path))

    with pytest.raises(BinariesMissing, match="PG_BIN.*DATABASE_URL"):
        Postgres(places).start()


def test_a_server_that_does_not_come_up_shows_the_end_of_its_log(postgres: Postgres) -> None:
    postgres.stop()
    (postgres.data / "postgresql.conf").write_text("no_such_setting = 1\n")
    postgres.begin_log()

    with pytest.raises(ServerFailed, match="no_such_setting"):
        postgres.start()


def test_a_port_that_is_taken_leads_to_the_next_one() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with listen("127.0.0.1", port) as second:
            assert port < second.getsockname()[1] <= port + 50


def test_an_address_that_is_not_ours_is_an_error_with_a_way_out() -> None:
    with pytest.raises(NoFreePort, match="--port"):
        listen("192.0.2.1", 8000)


def test_the_stack_is_imported_without_django() -> None:
    script = "import sys, runtime.stack.supervisor; assert 'django' not in sys.modules"

    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
