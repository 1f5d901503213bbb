"""The cable of a worker's host is pulled: packets are lost in both directions, and nobody hears of it."""

import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from runtime.models import Job, Step, Worker
from runtime.stack import programs
from runtime.stack.places import DATABASE, DATABASE_USER
from tests.faults.cable import Host, NoHost
from tests.faults.postgres_wire import PostgresTalk
from tests.faults.proxy import Proxy
from tests.processes.client import RECOVERY, Client

FAR = "far-1"


@pytest.fixture
def host(client: Client) -> Iterator[Host]:
    """Another host, with a worker beside those of the stack."""
    places = client.stack.places
    with ExitStack() as open_:
        try:
            host = open_.enter_context(Host())
        except NoHost as error:
            pytest.skip(f"needs a network namespace, which root may make: {error}")
        sockets = places.postgres_sockets / ".s.PGSQL.5432", places.valkey_socket
        postgres = open_.enter_context(Proxy(sockets[0], talk=PostgresTalk, host=host.here))
        valkey = open_.enter_context(Proxy(sockets[1], host=host.here))
        environment = {
            **client.stack.environment,
            "DATABASE_URL": f"postgres://{DATABASE_USER}@{host.here}:{postgres.port}/{DATABASE}",
            "REDIS_URL": f"redis://{host.here}:{valkey.port}/0",
        }
        arguments = programs._worker(FAR, "threads", 8, programs.QUEUES)
        worker = programs.Program(FAR, places, arguments, environment, says_ready=True)
        worker.command = host.inside(worker.command)
        worker.start()
        worker.wait_ready()
        yield host
        host.plug()
        worker.stop()


def test_the_steps_of_a_host_that_is_cut_off_go_on_elsewhere_and_what_it_says_later_counts_for_nothing(
    client: Client, host: Host
) -> None:
    lost = _until_far_runs_some(client)
    host.pull()
    pulled_at = time.time()
    far = client.worker_of(lost[0])
    for step in lost:
        client.recovery(step.job, "work", pulled_at, of="worker behind a pulled cable")
    client.until_finished(*client.jobs)
    assert client.recoveries["worker behind a pulled cable"]
    assert max(client.recoveries["worker behind a pulled cable"]) <= RECOVERY

    cut_off = {job.pk: job.seq for job in client.jobs}
    far.refresh_from_db()
    host.plug()
    far_again = Worker.objects.filter(name=FAR, heartbeat_at__gt=far.heartbeat_at)
    client.until(far_again.exists, "the worker to be heard of again")
    again = _until_far_runs_some(client)
    client.until_finished(*client.jobs)
    assert again
    for job in Job.objects.filter(pk__in=cut_off):
        assert job.seq == cut_off[job.pk], "nothing was done for a job that had ended"
        assert job.events.filter(type="step_completed").count() == 1


def _until_far_runs_some(client: Client) -> list[Step]:
    """Steps that the worker on the other host runs, and runs for some seconds more."""
    found: list[Step] = []

    def runs() -> list[Step]:
        client.submit_many("long", 12, seconds=4.0)
        time.sleep(0.5)
        mine = Step.objects.filter(status="running", worker__name=FAR, job__in=client.jobs)
        found[:] = mine.select_related("job")
        return found

    client.until(runs, f"{FAR} to run a step")
    return found
