"""What is measured: W1 to W8. Each takes a running fleet and gives figures; each checks that every step ran once.

Seconds and milliseconds are wall time as the client or the witness saw it. `cpu_…_ms` is processor time for each
step, by group of processes; `cpu_ms` adds up all but the client's.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from statistics import median, quantiles

from benchmarks import usage
from benchmarks.fleet import Fleet
from benchmarks.orders import CONCURRENCY, Order
from benchmarks.witness import Line

Figures = dict[str, float]
PATIENCE = 20.0
"""Seconds that a system has for going on after a kill."""
PARKED_AFTER = 0.3
_numbers = count()


@dataclass(frozen=True)
class Sizes:
    """How much of everything. Jobs of W1, W1t, W1b and W6 are divided for slow systems."""

    chains: int
    length: int
    latencies: int
    width: int
    growth: tuple[int, ...]
    recovery: int
    backlog: int
    signals: int
    rest_seconds: float


FULL = Sizes(100, 10, 20, 100, (100, 1000, 5000), 20, 2000, 20, 10)
QUICK = Sizes(50, 10, 10, 50, (100, 500), 20, 300, 5, 5)
TINY = Sizes(2, 3, 2, 3, (3, 5), 5, 3, 1, 0.5)


class NotOnce(AssertionError):
    """A step was left out or ran twice: such a run says nothing about speed."""


class NotRecovered(Exception):
    def __init__(self) -> None:
        super().__init__(f"not within {PATIENCE:.0f} s")


def chain(fleet: Fleet, sizes: Sizes) -> Figures:
    """W1: jobs of sequential steps, submitted by one client; from before the first submit to the last end."""
    return _many(fleet, "chain", _share(fleet, sizes.chains), sizes.length)


def tools(fleet: Fleet, sizes: Sizes) -> Figures:
    """W1t: the same with steps that call a tool, the ledger on."""
    return _many(fleet, "tools", _share(fleet, sizes.chains), sizes.length)


def latency(fleet: Fleet, sizes: Sizes) -> Figures:
    """W2: one job on an idle system, from before the submit to when the client has the result."""
    taken = []
    for _ in range(sizes.latencies):
        orders = orders_of("chain", sizes.length)
        answer = fleet.run(orders)
        _check(fleet, orders, answer["results"])
        taken.append(answer["seconds"] * 1000)
    return _spread(taken) | {"p50_per_step_ms": median(taken) / sizes.length}


def fan(fleet: Fleet, sizes: Sizes) -> Figures:
    """W3: steps side by side and one that joins them."""
    orders = orders_of("fan", sizes.width)
    with Meter(fleet) as meter:
        answer = fleet.run(orders)
    _check(fleet, orders, answer["results"])
    return {"wall_ms": answer["seconds"] * 1000} | meter.per(sizes.width + 1)


def growth(fleet: Fleet, sizes: Sizes) -> Figures:
    """W4: one long job; the time between its first and its last step, for each step."""
    figures = {}
    lengths = [length for length in sizes.growth if length <= fleet.system.longest]
    for length in lengths:
        orders = orders_of("chain", length)
        answer = fleet.run(orders)
        lines = _check(fleet, orders, answer["results"])
        figures[f"ms_per_step_{length}"] = (lines[-1].at - lines[0].at) / 1e6 / (length - 1)
    first, last = lengths[0], lengths[-1]
    figures["last_over_first"] = figures[f"ms_per_step_{last}"] / figures[f"ms_per_step_{first}"]
    return figures


def recovery(fleet: Fleet, sizes: Sizes) -> Figures:
    """W5: kill -9 of the worker in the middle of a job; the process is started again at once, as a supervisor would."""
    orders = orders_of("slow", sizes.recovery)
    fleet.submit(orders)
    seen: list[Line] = []
    _until(lambda: len(_more(fleet, orders, seen)) > sizes.recovery // 2, 60)
    pid = seen[-1].pid
    victim = next(worker for worker in fleet.workers if pid in {p.pid for p in usage.tree([worker.process])})
    killed_at = time.monotonic_ns()
    victim.kill()
    victim.restart()
    if not _until(lambda: any(line.at > killed_at for line in _more(fleet, orders, seen)), PATIENCE):
        raise NotRecovered
    next_at = min(line.at for line in seen if line.at > killed_at)
    results = fleet.wait()["results"]
    _more(fleet, orders, seen)
    times = Counter(line.step for line in seen)
    if set(times) != set(range(sizes.recovery)) or results != [sizes.recovery]:
        raise NotOnce(f"{times}, {results}")
    return {"seconds": (next_at - killed_at) / 1e9, "repeated": len(seen) - len(times)}


def backlog(fleet: Fleet, sizes: Sizes) -> Figures:
    """W6: jobs of one step that lie ready: the workers stand still while they are submitted, and then go."""
    jobs = _share(fleet, sizes.backlog)
    figures = _drained(fleet, jobs, 1)
    return {"jobs_per_s": figures.pop("steps_per_s")} | figures


def ready_chains(fleet: Fleet, sizes: Sizes) -> Figures:
    """W1b: W1 with the jobs there before the workers go, so that no submit is in the figures."""
    return _drained(fleet, _share(fleet, sizes.chains), sizes.length)


def signal(fleet: Fleet, sizes: Sizes) -> Figures:
    """W7: from before the client sends a signal to when the next step has begun."""
    taken = []
    for _ in range(sizes.signals):
        orders = orders_of("signal", 2)
        seen: list[Line] = []
        fleet.submit(orders)
        if not _until(lambda orders=orders, seen=seen: _more(fleet, orders, seen), 30):  # type: ignore[misc]
            raise NotOnce("the step before the wait did not run")
        time.sleep(PARKED_AFTER)
        sent_at = fleet.client.ask("signal")["at"]
        results = fleet.wait()["results"]
        _more(fleet, orders, seen)
        assert_once(orders, results, seen)
        taken.append((seen[-1].at - sent_at) / 1e6)
    return _spread(taken)


def rest(fleet: Fleet, sizes: Sizes) -> Figures:
    """W8: memory and processor time when nothing is asked of it."""
    before = usage.by_group(fleet.groups)
    time.sleep(sizes.rest_seconds)
    spent = usage.by_group(fleet.groups)
    figures = {
        f"cpu_{name}_percent": (spent[name] - before[name]) / sizes.rest_seconds * 100
        for name in spent
        if name != "client"
    }
    figures["worker_mb"] = median(usage.resident_megabytes(worker.process) for worker in fleet.workers)
    figures["worker_percent"] = figures["cpu_worker_percent"] / len(fleet.workers)
    for name in ("server", "database", "redis"):
        if name in fleet.groups:
            figures[f"{name}_mb"] = usage.megabytes(fleet.groups[name])
    return figures


WORKLOADS: dict[str, Callable[[Fleet, Sizes], Figures]] = {
    "W1": chain,
    "W1t": tools,
    "W1b": ready_chains,
    "W2": latency,
    "W3": fan,
    "W4": growth,
    "W6": backlog,
    "W7": signal,
    "W8": rest,
    "W5": recovery,  # last: it leaves the others a worker that has just begun
}
HEADLINES: dict[str, tuple[str, str, bool]] = {
    "W1": ("steps_per_s", "steps/s", True),
    "W1t": ("steps_per_s", "steps/s", True),
    "W1b": ("steps_per_s", "steps/s", True),
    "W2": ("p50_ms", "ms", False),
    "W3": ("wall_ms", "ms", False),
    "W4": ("", "ms per step", False),  # the longest job of the run
    "W5": ("seconds", "s", False),
    "W6": ("jobs_per_s", "jobs/s", True),
    "W7": ("p50_ms", "ms", False),
    "W8": ("worker_mb", "MB", False),
}
"""The figure that stands for a workload, its unit, and whether more is better."""


def warm_up(fleet: Fleet) -> None:
    """So many jobs that every place of every worker has had some: connections are open, code and plans are there."""
    for shape in ("chain", "tools"):
        orders = orders_of(shape, 3, 2 * len(fleet.workers) * CONCURRENCY)
        _check(fleet, orders, fleet.run(orders)["results"])


class Meter:
    """What was spent between the beginning and the end of a block."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet

    def __enter__(self) -> "Meter":
        self.position = self.fleet.servers.position()
        self.before = usage.by_group(self.fleet.groups)
        return self

    def __exit__(self, *ending: object) -> None:
        after = usage.by_group(self.fleet.groups)
        self.spent = {name: after[name] - self.before[name] for name in after}
        self.written = self.fleet.servers.written_since(self.position)

    def per(self, steps: int) -> Figures:
        figures = {f"cpu_{name}_ms": seconds * 1000 / steps for name, seconds in self.spent.items()}
        figures["cpu_ms"] = sum(ms for name, ms in figures.items() if name != "cpu_client_ms")
        figures["commits"] = self.written.commits / steps
        figures["wal_bytes"] = self.written.bytes / steps
        return figures


def _many(fleet: Fleet, shape: str, jobs: int, length: int) -> Figures:
    orders = orders_of(shape, length, jobs)
    with Meter(fleet) as meter:
        answer = fleet.run(orders)
    _check(fleet, orders, answer["results"])
    return {
        "steps_per_s": jobs * length / answer["seconds"],
        "wall_s": answer["seconds"],
        "submit_ms": answer["submit"] * 1000 / jobs,
    } | meter.per(jobs * length)


def _drained(fleet: Fleet, jobs: int, length: int) -> Figures:
    orders = orders_of("chain", length, jobs)
    for worker in fleet.workers:
        worker.pause()
    submitted = fleet.submit(orders)
    with Meter(fleet) as meter:
        for worker in fleet.workers:
            worker.resume()
        waited = fleet.wait()
    _check(fleet, orders, waited["results"])
    return {
        "steps_per_s": jobs * length / waited["wait"],
        "submit_ms": submitted["submit"] * 1000 / jobs,
    } | meter.per(jobs * length)


def _share(fleet: Fleet, jobs: int) -> int:
    return max(jobs // fleet.system.divide, 2)


def orders_of(shape: str, size: int, jobs: int = 1) -> list[Order]:
    return [Order(f"{shape}-{next(_numbers)}", shape, size) for _ in range(jobs)]


def _check(fleet: Fleet, orders: list[Order], results: list[int]) -> list[Line]:
    lines = list(_of(orders, fleet.witness.new()))
    assert_once(orders, results, lines)
    return lines


def assert_once(orders: list[Order], results: list[int], lines: list[Line]) -> None:
    ran = Counter((line.job, line.step) for line in lines)
    wanted = Counter((order.name, step) for order in orders for step in range(order.steps))
    if ran != wanted:
        raise NotOnce(
            f"left out: {list((wanted - ran).items())[:5]}; too often: {list((ran - wanted).items())[:5]}"
        )
    if results != [order.steps for order in orders]:
        raise NotOnce(f"results that do not fit: {results[:5]}")


def _more(fleet: Fleet, orders: list[Order], seen: list[Line]) -> list[Line]:
    seen += _of(orders, fleet.witness.new())
    return seen


def _of(orders: list[Order], lines: Iterator[Line]) -> Iterator[Line]:
    names = {order.name for order in orders}
    return (line for line in lines if line.job in names)


def _until(met: Callable[[], object], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not met():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def _spread(milliseconds: list[float]) -> Figures:
    ordered = sorted(milliseconds)
    p95 = quantiles(ordered, n=20)[-1] if len(ordered) > 1 else ordered[0]
    return {"p50_ms": median(ordered), "p95_ms": min(p95, ordered[-1])}
