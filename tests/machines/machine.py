"""What the machines share: a job on real servers, looked at by `doctor` after each action."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, run_state_machine_as_test

from runtime import clock, doctor
from runtime.models import Job
from tests.agents_app.world import world
from tests.engine.conftest import empty_tables
from tests.engine.driving import StillWorker
from tests.healthy import nothing_is_broken
from tests.machines.conftest import LONG, PUSH


class Machine(RuleBasedStateMachine):
    """One history. The rules of a subclass act on jobs and on its model of them at once."""

    actions = 0
    histories = 0

    def __init__(self) -> None:
        super().__init__()
        world.reset()
        self.worker = StillWorker(name="machine")
        self.worker.start()
        type(self).histories += 1

    def forward(self, **units: float) -> None:
        clock.shift(clock.offset() + timedelta(**units))
        self.worker.beat()

    @invariant()
    def doctor_finds_nothing(self) -> None:
        type(self).actions += 1
        assert doctor.examine(list(Job.objects.values_list("pk", flat=True))) == []
        self.look()

    def look(self) -> None:
        """Compare the rows with the model."""
        raise NotImplementedError

    def teardown(self) -> None:
        nothing_is_broken()
        clock.shift(timedelta(0))
        self.worker.stop()
        empty_tables()


def run(machine: type[Machine]) -> None:
    """As many histories as the profile says; how far it got is printed."""
    is_long = settings.get_current_profile_name() == "long"
    run_state_machine_as_test(machine, settings=LONG if is_long else PUSH)
    print(f"{machine.__name__}: {machine.histories} histories, {machine.actions} actions, 0 violations")
