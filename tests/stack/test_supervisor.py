"""The supervisor: it starts the whole stack, starts again what dies, and clears up after itself."""

import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import psutil
import pytest

from runtime.stack.errors import AlreadyRunning
from runtime.stack.places import Places
from runtime.stack.processes import wait_until
from runtime.stack.programs import Shape
from runtime.stack.supervisor import LONGEST_DELAY, Supervisor, delay_after
from tests import services

START_AND_STAY = """
import sys, time
from runtime.stack.places import Places
from runtime.stack.programs import Shape
from runtime.stack.supervisor import Supervisor
shape = Shape(web=False, workers=1, heavy=0, sweepers=0, beat=False)
stack = Supervisor(Places(instance=sys.argv[1]), shape, use_given_servers=False)
stack.start()
stack.wait_ready()
print(*(child.pid for child in stack.children.values()), flush=True)
time.sleep(600)
"""


def test_the_whole_stack_serves_and_every_process_comes_back(stack: Supervisor) -> None:
    assert urllib.request.urlopen(f"{stack.url}/healthz", timeout=60).status == 200
    before = {name: child.pid for name, child in stack.children.items()}
    assert {"postgres", "valkey", "web", "worker-1", "worker-2", "heavy-1", "beat"} <= before.keys()

    killed = ("worker-1", "web", "valkey", "postgres")
    for name in killed:
        stack.children[name].kill()

    assert wait_until(lambda: all(stack.restarts.get(name) for name in killed), timeout=120)
    stack.wait_ready(300, everything=True)
    assert urllib.request.urlopen(f"{stack.url}/healthz", timeout=60).status == 200


def test_a_killed_worker_with_a_pool_leaves_nobody_behind(stack: Supervisor) -> None:
    heavy = stack.children["heavy-1"]
    pool = psutil.Process(heavy.pid).children(recursive=True)
    assert pool, "a prefork worker has children"

    heavy.kill()

    assert wait_until(lambda: not any(child.is_running() for child in pool), timeout=60)


def test_commands_run_against_the_stacks_own_database(stack: Supervisor) -> None:
    shown = stack.manage(
        "shell", "-c", "from django.db import connection as c; print(c.settings_dict['HOST'])"
    )

    assert str(stack.places.postgres_sockets) in shown.stdout


def test_a_second_stack_in_the_same_place_is_refused(stack: Supervisor) -> None:
    with pytest.raises(AlreadyRunning, match=str(stack.url)):
        Supervisor(stack.places, Shape.servers_only(), use_given_servers=False).start()


@pytest.fixture
def own_places() -> Iterator[Places]:
    yield Places(instance=f"{services.slot().instance}/killed")


def test_the_next_stack_ends_what_a_killed_supervisor_left_running(own_places: Places) -> None:
    command = [sys.executable, "-c", START_AND_STAY, own_places.instance]
    environment = {**services.plain_environment(), "DJANGO_SETTINGS_MODULE": "aetheris_project.settings"}
    killed = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)
    assert killed.stdout is not None
    orphans = [psutil.Process(int(pid)) for pid in killed.stdout.readline().split()]
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert len(orphans) == 3 and all(orphan.is_running() for orphan in orphans)

    said: list[str] = []
    with Supervisor(own_places, Shape.servers_only(), use_given_servers=False, say=said.append) as successor:
        assert not any(orphan.is_running() and orphan.status() != psutil.STATUS_ZOMBIE for orphan in orphans)
        assert successor.postgres is not None and successor.postgres.ready()

    assert said == ["Ending 1 processes that an earlier stack left behind."]


def test_a_process_that_keeps_dying_is_started_ever_less_often() -> None:
    delays = [0.0]
    for _ in range(20):
        delays.append(delay_after(delays[-1], lived=1.0))

    assert delays == sorted(delays)
    assert delays[-1] == LONGEST_DELAY
    assert delay_after(LONGEST_DELAY, lived=60.0) < 1
