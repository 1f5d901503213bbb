"""One call of a tool, whatever becomes of its worker, of its answer, and of what is asked about it afterwards."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from runtime import recovery, resolution
from runtime.models import Job, Step
from runtime.ports import CrashPoint
from tests.agents_app.world import world
from tests.engine.driving import StillWorker, calling, crash_at, entry_of, run_once, step_of, submit
from tests.machines.machine import Machine, run
from tools import Absent, CannotTell, Happened, NotSent, Refused, Verdict

TOOLS = ("charge", "notify", "transfer")
ANSWER = {"done": 1}


class Ledger(Machine):
    """The outside is the model: it counts what happened there, and whoever is asked tells the truth."""

    @initialize(tool=st.sampled_from(TOOLS))
    def begin(self, tool: str) -> None:
        self.tool = tool
        self.job = submit(calling(tool, retry={"max_attempts": 4, "backoff": "1s"}))
        self.is_gone = False
        self.others = 0

    @property
    def happened(self) -> bool:
        return bool(world.effects(self.tool))

    @property
    def is_ready(self) -> bool:
        return Step.objects.filter(job=self.job).ready().exists()

    def verdict(self) -> Verdict:
        return Happened(ANSWER) if self.happened else Absent()

    @precondition(lambda self: self.is_ready)
    @rule(
        how=st.sampled_from(["answer", "not sent", "refused", "lost before", "lost after"]),
        asked=st.sampled_from(["truth", "truth", "nothing"]),
    )
    def attempt(self, how: str, asked: str) -> None:
        self.prepare(how, asked)
        run_once(self.job, self.worker)

    @precondition(lambda self: self.is_ready)
    @rule(
        point=st.sampled_from(
            [CrashPoint.AFTER_CLAIM, CrashPoint.BEFORE_INTENT, CrashPoint.AFTER_INTENT, CrashPoint.AFTER_CALL,
             CrashPoint.BEFORE_RECORD]
        )
    )  # fmt: skip
    def crash(self, point: CrashPoint) -> None:
        self.prepare("answer", "truth")
        try:
            with crash_at(point):
                run_once(self.job, self.worker)
        except AssertionError:
            return  # the call was recorded, so this attempt did not come by there

    @precondition(lambda self: self.is_ready)
    @rule(asked=st.sampled_from(["truth", "nothing"]))
    def be_overtaken(self, asked: str) -> None:
        """The worker stands still during the call; another takes the step, and then the answer comes."""

        def meanwhile() -> Any:
            self.forward(minutes=1)
            recovery.rescue_lost()
            self.prepare("answer", asked)
            if self.is_ready:
                run_once(self.job, self.worker)
            return ANSWER

        slow = StillWorker(name="slow")
        slow.start()
        self.prepare("answer", asked)
        world.after[self.tool].clear()
        world.after[self.tool].append(meanwhile)
        run_once(self.job, slow)
        slow.stop()

    def prepare(self, how: str, asked: str) -> None:
        for behaviours in (world.before[self.tool], world.after[self.tool]):
            behaviours.clear()
        world.verdicts.clear()
        world.verdicts.extend([self.verdict if asked == "truth" else CannotTell()] * 3)
        match how:
            case "not sent":
                world.before[self.tool].append(NotSent("busy"))
            case "refused":
                world.before[self.tool].append(Refused("no"))
            case "lost before":
                world.before[self.tool].append(TimeoutError("silence"))
            case "lost after":
                world.after[self.tool].append(TimeoutError("silence"))
            case _:
                world.after[self.tool].append(lambda: ANSWER)

    @rule(minutes=st.sampled_from([1, 60]))
    def rescue(self, minutes: int) -> None:
        self.forward(minutes=minutes)
        self.worker.beat()
        recovery.rescue_lost()

    @precondition(lambda self: step_of(self.job).status == "waiting")
    @rule(gives_up=st.booleans())
    def resolve(self, gives_up: bool) -> None:
        verdict: resolution.Verdict = "happened" if self.happened else "abandon" if gives_up else "absent"
        resolution.resolve(entry_of(self.job), verdict, by="ops", why="looked", result=ANSWER)

    def look(self) -> None:
        keys = {call.key for call in world.effects(self.tool)}
        assert len(keys) <= 1
        if self.tool != "notify":  # of which the outside knows the key again
            assert len(world.effects(self.tool)) <= 1
        job, entry = Job.objects.get(pk=self.job.pk), self.job.ledger.first()
        if job.status == "completed":
            assert (self.happened, job.result) == (True, ANSWER)
        if entry is not None and entry.state == "committed":
            assert self.happened
        if entry is not None and entry.state in ("refused", "failed", "reserved"):
            assert not self.happened


def test_a_call_happens_at_most_once_and_its_entry_says_what_is_so():
    run(Ledger)
