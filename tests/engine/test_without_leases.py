"""Leases only save work: with a lock that is always granted, the same promises hold."""

from collections.abc import Iterator
from typing import Any

import pytest

from runtime import recovery
from runtime.models import Job
from tests.engine.driving import claim
from tests.engine.driving import drive as drive_with
from tests.engine.test_graphs import (  # noqa: F401 - the same tests, run again here
    breaking,
    test_a_chain_of_300_runs_to_its_end,
    test_a_diamond_runs_each_step_once_and_joins_their_results,
    test_a_running_step_learns_of_the_cancel_through_its_context,
    test_twenty_layers_of_three_parents_each_release_every_step_once,
)
from tests.engine.test_ledger import (  # noqa: F401
    lose,
    test_a_call_inside_a_function_is_settled_at_once,
    test_a_call_that_is_declared_safe_to_repeat_is_repeated_with_the_same_key,
    test_a_tool_step_that_crashed_is_called_again_only_if_nothing_can_have_happened,
    test_late_truth_from_the_attempt_that_made_the_call_readies_the_step_that_waits_in_doubt,
)
from tests.engine.test_races import (  # noqa: F401
    test_a_result_and_a_rescue_at_once_have_one_winner,
    test_two_finishing_workers_go_on_with_different_siblings,
    test_two_sweeps_at_once_rescue_a_step_once,
)
from tests.engine.test_recovery import (  # noqa: F401
    finish,
    sweeper,
    test_a_claim_that_its_living_worker_does_not_know_of_is_rescued_after_a_lease_time,
    test_a_step_of_a_silent_worker_is_rescued_and_run_again,
    test_while_no_hint_can_be_sent_the_sweeper_runs_the_steps_itself,
)
from tests.engine.test_steps import (  # noqa: F401
    test_a_poisonous_step_that_kills_every_worker_fails_after_its_last_attempt,
    test_a_step_past_its_deadline_is_retried_and_what_its_thread_writes_later_is_refused,
)


@pytest.fixture(autouse=True)
def always_granted(settings: Any) -> Iterator[None]:
    settings.AETHERIS = {**settings.AETHERIS, "ALWAYS_GRANT_LEASES": True}
    yield


def test_a_living_worker_keeps_its_step_whatever_the_leases_say(worker, clock):
    job = Job.objects.submit("echo")
    step = claim(job, worker, "echo")
    with worker.holding(step):
        clock.forward(minutes=1)
        worker.beat()
        assert recovery.rescue_lost() == 0
        step.complete()
    assert drive_with(job, worker).status == "completed"
