"""What every node kind promises, built in or not, as one suite that runs it.

    check_node_kind(KindCase({"kind": "pick", "inputs": {"among": ["red", "green"], "which": "${input}"}},
                             input=1, result="green", branch="1"))

Each promise is a function of a case; `BrokenPromise` says which one a kind does not keep, and how.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db.models import Q

from runtime import doctor, nodes, planning, ports, subjobs
from runtime.graph import GraphInvalid
from runtime.graph.kinds import outcomes
from runtime.models import Job, Step
from runtime.ports import Crashed, CrashPoint
from runtime.states import JobStatus, StepStatus
from runtime.testing.inprocess import run

MOST_WAKES = 100


class BrokenPromise(AssertionError):
    """A kind does not keep what all kinds promise."""


@dataclass(frozen=True)
class KindCase:
    """One node of a kind, and what becomes of it."""

    node: Mapping[str, Any]
    """Its config, without `id`."""
    input: Any = None
    """The job's input."""
    result: Any = None
    branch: str | None = None
    wake: Callable[[Job], Any] | None = None
    """Does what the node waits for: sends the signal, decides the approval, runs the child. Called until it ends."""
    invalid: Sequence[Mapping[str, Any]] = ()
    """Configs that must be refused at submit."""

    @property
    def kind(self) -> str:
        return str(self.node["kind"])


def check_node_kind(case: KindCase) -> None:
    """Run every promise. Raises `BrokenPromise`."""
    for promise in PROMISES:
        promise(case)


def fire_timers(job: Job) -> None:
    """Let the timers and deadlines of a job pass now: a `wake` for kinds that wait for a time."""
    for wait in job.waits.open().filter(deadline_at__isnull=False):
        wait.time_out()


# The promises


def it_is_known(case: KindCase) -> None:
    """It is registered under its name, and says in its docstring what it is."""
    node = nodes.get(case.kind)
    _expect(node.kind == case.kind, case, f"is registered as {node.kind!r}")
    module = inspect.getmodule(type(node))
    _expect(
        bool(type(node).__doc__ or (module and module.__doc__)),
        case,
        "has no docstring for `manage.py nodes`",
    )


def it_refuses_what_cannot_run(case: KindCase) -> None:
    """Faults are found at submit, with their place; looking at a config does not change it."""
    looked_at = {"id": "it", **copy.deepcopy(dict(case.node))}
    list(nodes.get(case.kind).validate(looked_at))
    _expect(looked_at == {"id": "it", **case.node}, case, "changes the config that it looks at")
    _submit(case)
    for wrong in case.invalid:
        try:
            planning.submit(None, case.input, graph=_graph({"kind": case.kind, **wrong}))
        except GraphInvalid as refused:
            places = [problem.path for problem in refused.problems]
            _expect(
                all(place.startswith("nodes[0]") for place in places), case, f"reports faults at {places}"
            )
        else:
            raise BrokenPromise(f"{case.kind}: accepts {wrong!r}")


def it_ends(case: KindCase) -> None:
    """It ends with the result and by the branch that it should, and its branch is one that edges may name."""
    step = _ended(_submit(case), case)
    _expect_end(step, case, "")
    branches = outcomes(case.kind, nodes.registered())
    _expect(
        step.branch is None or step.branch in branches,
        case,
        f"leaves by {step.branch!r}, not in its outcomes",
    )


def it_may_be_run_again(case: KindCase) -> None:
    """A worker that is lost at any point costs an attempt: the end is the same, no call gets a second key."""
    calls = _calls(_ended(_submit(case), case))
    for point in (CrashPoint.AFTER_CLAIM, CrashPoint.BEFORE_RECORD, CrashPoint.AFTER_RECORD):
        for time in (1, 2):
            job = _submit(case)
            with _crash(point, time):
                _go_on(job, case)
            _rescue(job)
            step = _ended(job, case)
            _expect_end(step, case, f" after a crash at {point}")
            _expect(
                _calls(step) == calls, case, f"calls {_calls(step)} after a crash at {point}, not {calls}"
            )


def it_holds_nothing_while_it_waits(case: KindCase) -> None:
    """A wait is a row: nothing runs, and a cancel ends it at once."""
    job = run(_submit(case))
    if job.is_finished:
        return
    running = list(job.steps.filter(status=StepStatus.RUNNING).values_list("key", flat=True))
    _expect(not running, case, f"runs {running} while it waits")
    job.cancel(by="check_node_kind")
    _expect(job.status == JobStatus.CANCELLED, case, f"leaves its job {job.status} after a cancel")
    _expect(not job.waits.open().exists(), case, "leaves a wait open after a cancel")
    _expect_sound(job, case)


def it_can_be_cancelled_before_it_begins(case: KindCase) -> None:
    """A cancelled job runs none of it."""
    job = _submit(case)
    job.cancel(by="check_node_kind")
    run(job)
    _expect(job.steps.get(key="it").attempt == 0, case, "runs in a cancelled job")


def it_can_be_paused(case: KindCase) -> None:
    """Nothing of it begins in a paused job, and all of it afterwards."""
    job = _submit(case)
    job.pause()
    run(job)
    _expect(job.steps.get(key="it").attempt == 0, case, "runs in a paused job")
    job.resume()
    _expect_end(_ended(job, case), case, " after a pause")


def it_works_in_every_copy_of_a_map(case: KindCase) -> None:
    """Keys, calls and waits of one copy have nothing to do with those of another."""
    body = _graph(dict(case.node))
    graph = {"nodes": [{"id": "each", "kind": "map", "items": [1, 2], "graph": body}]}
    job = planning.submit(None, case.input, graph=graph)
    _go_on(job, case)
    _expect(
        job.result == [case.result] * 2, case, f"gives {job.result!r} in a map: {job.error or job.status}"
    )
    _expect_sound(job, case)


PROMISES: tuple[Callable[[KindCase], None], ...] = (
    it_is_known,
    it_refuses_what_cannot_run,
    it_ends,
    it_may_be_run_again,
    it_holds_nothing_while_it_waits,
    it_can_be_cancelled_before_it_begins,
    it_can_be_paused,
    it_works_in_every_copy_of_a_map,
)


# How they are looked at


def _graph(node: Mapping[str, Any]) -> dict[str, Any]:
    return {"nodes": [{"id": "it", **node}]}


def _submit(case: KindCase) -> Job:
    return planning.submit(None, case.input, graph=_graph(case.node))


def _go_on(job: Job, case: KindCase) -> None:
    """Run and wake until the job has ended."""
    for _ in range(MOST_WAKES):
        run(job)
        if job.is_finished:
            return
        if case.wake is None:
            raise BrokenPromise(f"{case.kind}: does not end, and the case says nothing that would wake it")
        case.wake(job)
    raise BrokenPromise(f"{case.kind}: has not ended after {MOST_WAKES} wakes")


def _ended(job: Job, case: KindCase) -> Step:
    _go_on(job, case)
    _expect_sound(job, case)
    return Step.objects.get(job=job, key="it")


def _calls(step: Step) -> list[str]:
    """The calls of a job, however often each was tried."""
    entries = step.job.ledger.order_by("step__key", "call", "generation")
    return [f"{key}.{call}" for key, call in entries.values_list("step__key", "call")]


@contextmanager
def _crash(point: CrashPoint, time: int) -> Iterator[None]:
    """The worker is gone when it comes to `point` for the `time`-th time, if it does."""
    reached = 0

    def hook(here: CrashPoint) -> None:
        nonlocal reached
        reached += here is point
        if here is point and reached == time:
            raise Crashed(point)

    before, ports.crash_hook = ports.crash_hook, hook
    try:
        yield
    except Crashed:
        return
    finally:
        ports.crash_hook = before


def _rescue(job: Job) -> None:
    """What the sweep does for the lost worker's steps, also in subjobs, and for ends that it told nobody of."""
    for step in Step.objects.filter(Q(job=job) | Q(job__parent_step__job=job), status=StepStatus.RUNNING):
        step.rescue()
    for ended in Job.objects.unreported().filter(parent_step__job=job):
        subjobs.report(ended)


def _expect_end(step: Step, case: KindCase, when: str) -> None:
    _expect(step.status == StepStatus.COMPLETED, case, f"is {step.status}{when}: {step.error}")
    _expect(step.result == case.result, case, f"gives {step.result!r}{when}, not {case.result!r}")
    _expect(step.branch == case.branch, case, f"leaves by {step.branch!r}{when}, not by {case.branch!r}")


def _expect_sound(job: Job, case: KindCase) -> None:
    findings = doctor.examine([job.pk])
    _expect(not findings, case, f"leaves its job unsound: {[finding.message for finding in findings]}")


def _expect(kept: bool, case: KindCase, told: str) -> None:
    if not kept:
        raise BrokenPromise(f"{case.kind}: {told}")
