"""python -m benchmarks.load_model: what a number of workers and cores should reach, and whether they do.

    python -m benchmarks.load_model --measure              W1b at 1, 2, 4 and 8 workers, beside the prediction
    python -m benchmarks.load_model --workers 32 --cores 16 --database-cores 16 --flush-ms 0.5

A closed network with two places to queue at: the interpreters of the workers, and their calls to the database, of which
a worker makes one at a time, for as many steps as are ready by then; a call takes processor time and the flush of the
log. Solved by mean value analysis; a place with several servers is taken as one that is as many times faster plus a
wait (Seidmann). Nothing in it is fitted: the costs of a step are what a run measured.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter

from benchmarks import servers
from benchmarks.catalog import CATALOG
from benchmarks.environments import ROOT
from benchmarks.orders import CONCURRENCY
from benchmarks.rounds import measure
from benchmarks.workloads import FULL, Figures

CHECKED = (1, 2, 4, 8)
JOBS = FULL.chains


@dataclass(frozen=True)
class Costs:
    """Of one step. Milliseconds of processor time; a flush is how long a lone commit takes to reach the disk."""

    worker_ms: float
    database_ms: float
    redis_ms: float
    commits: float
    wal_bytes: float
    flush_ms: float

    @classmethod
    def of(cls, figures: Mapping[str, float], flush_ms: float) -> "Costs":
        return cls(
            figures["cpu_worker_ms"] + figures.get("cpu_server_ms", 0.0),
            figures["cpu_database_ms"],
            figures["cpu_redis_ms"],
            figures["commits"],
            figures["wal_bytes"],
            flush_ms,
        )

    @property
    def served_ms(self) -> float:
        return self.database_ms + self.redis_ms

    @property
    def call_ms(self) -> float:
        """What a step takes of a call: processor time, and its share of the flush."""
        return self.served_ms + self.commits * self.flush_ms

    @property
    def cpu_ms(self) -> float:
        return self.worker_ms + self.served_ms


@dataclass(frozen=True)
class Shape:
    """A deployment. Without `database_cores`, workers and servers share `cores`."""

    workers: int
    cores: int
    database_cores: int | None = None
    jobs: int = JOBS

    @property
    def in_flight(self) -> int:
        return min(self.jobs, self.workers * CONCURRENCY)


def limits(costs: Costs, shape: Shape, wal_mb_per_s: float = 200.0) -> dict[str, float]:
    """Steps per second that each resource alone would allow; the smallest is the one to enlarge."""
    found = {
        "interpreters": shape.workers * 1000 / costs.worker_ms,
        "calls": shape.workers * 1000 / costs.call_ms,
        "log": wal_mb_per_s * 1e6 / costs.wal_bytes,
    }
    if shape.database_cores is None:
        found["processors"] = shape.cores * 1000 / costs.cpu_ms
    else:
        found["worker processors"] = shape.cores * 1000 / costs.worker_ms
        found["database processors"] = shape.database_cores * 1000 / costs.served_ms
    return found


def steps_per_second(costs: Costs, shape: Shape) -> float:
    """Mean value analysis, under the limits of the shared processors."""
    places = [
        _faster(costs.worker_ms, min(shape.workers, shape.cores)),
        _faster(costs.call_ms, shape.workers),
    ]
    pause = sum(wait for _, wait in places)
    queues = [0.0] * len(places)
    rate = 0.0
    for customers in range(1, shape.in_flight + 1):
        stays = [demand * (1 + queue) for (demand, _), queue in zip(places, queues, strict=True)]
        rate = customers / (pause + sum(stays))
        queues = [rate * stay for stay in stays]
    return min(rate * 1000, *limits(costs, shape).values())


def _faster(demand: float, count: int) -> tuple[float, float]:
    """Several servers as one fast one and a wait."""
    return demand / count, demand * (count - 1) / count


def check(rounds: int, cores: int) -> list[tuple[int, float, float]]:
    """Workers, steps/s predicted from the costs at two workers, steps/s measured."""
    with servers.running() as running:
        flush = flush_ms(running)
        measured = {workers: _chains(running, workers, rounds) for workers in CHECKED}
    costs = Costs.of(measured[2], flush)
    print(f"Costs at two workers: {costs}")
    return [
        (workers, steps_per_second(costs, Shape(workers, cores)), figures["steps_per_s"])
        for workers, figures in measured.items()
    ]


def _chains(running: servers.Servers, workers: int, rounds: int) -> Figures:
    """Medians of some rounds."""
    rows = [
        row
        for number in range(rounds)
        for row in measure(CATALOG["aetheris"], running, ["W1b"], FULL, number, workers)
        if row.figures
    ]
    return {name: median(row.figures[name] for row in rows) for name in rows[0].figures}


def flush_ms(running: servers.Servers, times: int = 200) -> float:
    """The median of commits that write next to nothing, one after another."""
    taken = []
    with running.postgres.connect("postgres") as connection:
        for _ in range(times):
            began = perf_counter()
            connection.execute("SELECT pg_logical_emit_message(true, 'bench', 'x')")
            taken.append(perf_counter() - began)
    return median(taken) * 1000


def last_costs(flush: float) -> Costs:
    """From the newest result under .local/bench that has a W1b of ours."""
    for path in sorted(ROOT.parent.glob("*.json"), reverse=True):
        figures = json.loads(path.read_text())["summary"].get("W1b", {}).get("aetheris")
        if figures:
            print(f"Costs of {path}")
            return Costs.of({name: values["median"] for name, values in figures.items()}, flush)
    raise SystemExit("Measure first: make bench ARGS='--systems aetheris --workloads W1b'.")


def main(arguments: Sequence[str]) -> int:
    options = _parser().parse_args(arguments)
    if options.measure:
        found = check(options.rounds, options.cores)
        print("| Workers | predicted steps/s | measured | measured / predicted |\n|---|---|---|---|")
        for workers, predicted, measured in found:
            print(f"| {workers} | {predicted:,.0f} | {measured:,.0f} | {measured / predicted:.2f} |")
        return 0
    costs = last_costs(options.flush_ms)
    shape = Shape(options.workers, options.cores, options.database_cores, options.jobs)
    print(f"{steps_per_second(costs, shape):,.0f} steps/s")
    for name, limit in sorted(limits(costs, shape, options.wal_mb).items(), key=lambda each: each[1]):
        print(f"  {name}: {limit:,.0f}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load_model", description=__doc__)
    parser.add_argument("--measure", action="store_true", help="run W1b and compare")
    parser.add_argument("--rounds", type=int, default=3, help="of each number of workers")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cores", type=int, default=2, help="of the workers, or of everything")
    parser.add_argument(
        "--database-cores", type=int, help="of PostgreSQL and Redis, when they have a machine"
    )
    parser.add_argument("--jobs", type=int, default=JOBS, help="under way at the same time")
    parser.add_argument(
        "--flush-ms", type=float, default=1.0, help="how long a commit takes to reach the disk"
    )
    parser.add_argument("--wal-mb", type=float, default=200.0, help="MB/s that the disk of the log takes")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
