"""What a worker hears proves nothing: hints come twice, an hour late, for what has ended, or from nobody."""

from runtime import dispatch
from runtime.stack.valkey import Valkey
from tests.processes import load
from tests.processes.client import Client


def test_hints_that_come_twice_too_late_or_for_what_never_was_start_nothing(client: Client) -> None:
    past = client.submit("errand", seconds=0.1)
    client.until_finished(past)
    seq = past.seq

    jobs = load.begin(client, jobs=20)
    steps = [step.pk for job in (past, *jobs) for step in job.steps.all()]
    for _ in range(3):
        assert dispatch.hint([(step, queue) for step in [*steps, 2**60] for queue in ("default", "realtime")])
    client.until_finished(*jobs)

    load.assert_untouched(client, jobs)
    past.refresh_from_db()
    assert past.seq == seq, "nothing was done for a job that had ended"


def test_messages_that_nobody_understands_keep_no_job_from_its_end(client: Client) -> None:
    valkey = client.child("valkey")
    assert isinstance(valkey, Valkey)
    for queue in ("realtime", "default", "heavy"):
        for text in ("{}", "garbage", '{\\"body\\":\\"e30=\\",\\"headers\\":{\\"task\\":\\"os.system\\"}}'):
            assert valkey.command(f'LPUSH aetheris:{queue} "{text}"').startswith(":")
    jobs = [client.submit(agent, seconds=0.1) for agent in ("long", "heavy") for _ in range(5)]
    client.until_finished(*jobs)
    assert [job.result for job in jobs] == [0.1] * 10
