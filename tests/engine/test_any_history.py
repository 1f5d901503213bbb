"""Whatever happens, at whatever moment: rows and events agree, every job comes to its end, every attempt verifies."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError

from runtime import answers, doctor, holds, ports, recovery, replays, resolution
from runtime.exceptions import AetherisError, Permanent
from runtime.execution import run_step
from runtime.graph import Graph, GraphInvalid
from runtime.graph.builder import Compensate
from runtime.models import Job, LedgerEntry, Step, Wait
from runtime.models.hold import HoldKind
from runtime.ports import Crashed, CrashPoint
from runtime.resolution import OF_COMPENSATION, SETTLED
from runtime.turn import Turn
from tests.agents_app.world import World
from tests.engine.driving import StillWorker, submit
from tests.history.export import Known, judged
from tools import Absent, CannotTell, Failed, Happened, News, NotSent, Pending, Verdict

SEEDS = range(8)
THINGS = [(HoldKind.AGENT, "graph"), (HoldKind.QUEUE, "default"), (HoldKind.QUEUE, "realtime")]
UNDOING: list[Compensate | None] = ["always", "on_failure", "on_cancel", None]
ANSWER = {"reserved": "w"}


def erratic(context: Any) -> Any:
    """A step that goes by a recorded number, so that running it again does the same."""
    number = context.random()
    if number < 0.12:
        raise ValueError("for now")
    if number < 0.16:
        raise Permanent("for good")
    if number < 0.25:
        return context.tool("reserve", what="w")
    return {"$blob": "no digest"} if number < 0.3 else "x" * int(number * 500)


def any_graph(chance: random.Random, depth: int = 0) -> Graph:
    """Up to six nodes, each after some of those before it."""
    graph = Graph(compensate=chance.choice(UNDOING)) if depth == 0 else Graph()
    before: list[Any] = []
    for number in range(chance.randint(1, 6)):
        node = any_node(graph, f"n{number}", chance, depth)
        for parent in before:
            if chance.random() < (0.8 if parent is before[-1] else 0.25):
                (parent.failed if chance.random() < 0.1 else parent) >> node
        before.append(node)
    if depth == 0 and chance.random() < 0.3:
        graph.result("${input}")
    return graph


def any_node(graph: Graph, id: str, chance: random.Random, depth: int) -> Any:
    retry = {"max_attempts": chance.randint(1, 3), "on_timeout": chance.choice(["fail", "retry"])}
    keys: dict[str, Any] = {
        "queue": chance.choice(["default", "realtime"]),
        "priority": chance.choice([0, 5]),
        "join": chance.choice(["all", "all", "any"]),
    }
    kinds: list[Callable[[], Any]] = [
        lambda: graph.function(id, "do", what="erratic", timeout="60s", retry=retry, **keys),
        lambda: graph.tool(id, "reserve", what="w", retry=retry, **keys),
        lambda: graph.tool(id, chance.choice(["charge", "notify", "pay", "transfer"]), retry=retry, **keys),
        lambda: graph.tool(id, chance.choice(["payout", "ship"]), retry=retry, **keys),
        lambda: graph.approval(id, prompt="?", timeout="1h"),
        lambda: graph.wait(id, signal="go", timeout="1h", on_timeout=chance.choice(["fail", {"value": 1}])),
        lambda: graph.timer(id, "10m"),
        lambda: graph.subjob(id, chance.choice(["echo", "failing"]), input=1),
        lambda: graph.map(
            id, list(range(chance.randint(0, 3))), any_graph(chance, depth + 1), max_parallel=2
        ),
    ]
    weights = [8, 5, 2, 2, 2, 1, 1, 1, 3 if depth < 2 else 0]
    return chance.choices(kinds, weights)[0]()


class History:
    """Jobs, two workers, and everything that may happen to them."""

    def __init__(self, chance: random.Random, workers: list[StillWorker], clock: Any, boss: Any) -> None:
        self.chance, self.workers, self.clock, self.boss = chance, workers, clock, boss
        self.jobs = list(self.begun(2))
        seldom: list[Callable[[], Any]] = [
            self.retry, self.fork, self.let_rest, self.let_go_on, self.signal, self.decide, self.resolve, self.tell,
            self.cancel, self.pause, self.resume,
        ]  # fmt: skip
        self.events = [*seldom, *[self.run] * 12, *[self.crash, self.lose_an_answer, self.pass_time] * 2]

    def begun(self, count: int) -> Iterator[Job]:
        while count:
            with suppress(GraphInvalid):
                yield submit(any_graph(self.chance), {"large": "b" * 500}, timeout="2h")
                count -= 1

    def happen(self) -> None:
        with suppress(AetherisError, GraphInvalid):  # what cannot be now is refused
            self.chance.choice(self.events)()

    def job(self) -> Job:
        return self.chance.choice(list(Job.objects.order_by("pk")))

    def run(self) -> bool:
        worker = self.chance.choice(self.workers)
        worker.beat()
        ready = list(Step.objects.ready().order_by("pk").values_list("pk", flat=True))
        if ready:
            run_step(self.chance.choice(ready), worker)
        return bool(ready)

    def crash(self) -> None:
        point = self.chance.choice(list(CrashPoint))

        def hook(here: CrashPoint) -> None:
            if here is point:
                raise Crashed(point)

        ports.crash_hook = hook
        try:
            with suppress(Crashed):
                self.run()
        finally:
            ports.crash_hook = lambda here: None

    def lose_an_answer(self) -> None:
        with self.broken(self.chance.randint(1, 4), happened=self.chance.random() < 0.5):
            self.run()

    @contextmanager
    def broken(self, after: int, *, happened: bool) -> Iterator[None]:
        real, left = Turn._call, iter(range(after))

        def call(turn: Turn) -> Any:
            is_now = next(left, None) == after - 1
            answer = real(turn) if happened or not is_now else None
            if is_now:
                raise OperationalError("server closed the connection unexpectedly")
            return answer

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Turn, "_call", call)
            yield

    def pass_time(self) -> None:
        self.clock.forward(seconds=self.chance.choice([1, 20, 70, 700, 4000, 90_000]))
        self.chance.choice(self.workers).beat()
        recovery.rescue_lost()
        recovery.end_overdue()
        recovery.end_overdue_jobs()
        recovery.wake_due()
        recovery.tell_parents()
        recovery.cancel_orphans()

    def cancel(self) -> None:
        self.job().cancel()

    def pause(self) -> None:
        self.job().pause()

    def resume(self) -> None:
        self.job().resume()

    def retry(self) -> None:
        self.job().retry()

    def fork(self) -> None:
        if len(self.jobs) < 4:
            job = self.chance.choice(self.jobs)
            self.jobs.append(job.fork(self.chance.choice(job.steps.filter(scope=None).order_by("pk")).key))

    def let_rest(self) -> None:
        holds.begin(*self.chance.choice(THINGS))

    def let_go_on(self) -> None:
        holds.end(*self.chance.choice(THINGS))

    def signal(self) -> None:
        self.job().signal("go", {"large": "z" * 300})

    def decide(self) -> None:
        for wait in Wait.objects.approvals().order_by("pk")[:1]:
            wait.job.decide(wait.step_key, approve=self.chance.random() < 0.7, user=self.boss)

    def resolve(self) -> None:
        for doubt in LedgerEntry.objects.filter(state="unknown").order_by("pk")[:2]:
            verdict = self.chance.choice(list(SETTLED))
            resolution.resolve(doubt, verdict, by="ops", why="looked", result=ANSWER)
        for wait in Wait.objects.open().filter(kind="refused").order_by("pk")[:2]:
            entry = LedgerEntry.objects.get(undone_by=wait.step)
            resolution.resolve(entry, self.chance.choice(OF_COMPENSATION), by="ops", why="looked")

    def tell(self) -> None:
        later = LedgerEntry.objects.filter(name__in=["payout", "ship"], state__in=answers.OPEN)
        for entry in later.order_by("pk")[:1]:
            failed = Failed("no", retry=self.chance.random() < 0.5)
            ended: answers.Ended = failed if self.chance.random() < 0.5 else Happened({"p": 2})
            answers.tell(entry, ended, source="webhook")

    def end(self) -> None:
        """Nothing rests any more, and everybody who is asked answers."""
        for kind, name in THINGS:
            with suppress(AetherisError):
                holds.end(kind, name)
        for job in Job.objects.unfinished():
            job.resume()
        while Job.objects.unfinished().exists():
            while self.run():
                pass
            for act in (self.pass_time, self.decide, self.resolve, self.tell):
                with suppress(AetherisError):
                    act()


def erratic_outside(outside: World, chance: random.Random) -> None:
    def answer() -> Any:
        number = chance.random()
        if number < 0.2:
            raise NotSent("busy") if number < 0.1 else TimeoutError("silence")
        return ANSWER

    later = Pending("po-7", poll_after=timedelta(minutes=3))
    verdicts: list[Verdict] = [
        Happened(ANSWER),
        Absent(),
        Absent(fencing=True),
        CannotTell(),
        later,
        Failed("no", retry=True),
    ]
    news: list[News] = [
        Happened({"p": 1}),
        Pending(poll_after=timedelta(minutes=5)),
        Failed("no"),
        Failed("no", retry=True),
    ]
    for tool in ("reserve", "release", "charge", "notify", "pay", "transfer"):
        outside.after[tool].extend([answer] * 500)
    outside.verdicts.extend(chance.choices(verdicts, k=500))
    outside.polls.extend(chance.choices(news, k=500))


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_happens_the_rows_follow_from_the_events_and_jobs_end(
    seed, worker, other, outside, clock, settings, boss, monkeypatch
):
    settings.AETHERIS = {**settings.AETHERIS, "INLINE_VALUE_BYTES": 200, "BACKOFF_SECONDS": 1.0}
    chance = random.Random(seed)
    monkeypatch.setattr(ports, "token_bytes", chance.randbytes)
    outside.doings["erratic"] = erratic
    erratic_outside(outside, chance)
    history = History(chance, [worker, other], clock, boss)
    for number in range(60):
        history.happen()
        if number % 6 == 0:
            assert doctor.examine(list(Job.objects.values_list("pk", flat=True))) == []
    history.end()
    for job in Job.objects.all():
        found = replays.verify(job)
        assert found.is_good, found.divergence
    # Tools, their `verify` and people say anything here, so an effect may come of each start of a call.
    effects = [{"key": call.key} for call in outside.calls]
    tools = dict.fromkeys((call.tool for call in outside.calls), "requests")
    assert judged(Known(at_rest=True, truthful=False, tools=tools, effects=effects)) == []
