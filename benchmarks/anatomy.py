"""python -m benchmarks.anatomy: where the time of a step goes, statement by statement.

Runs chains of ten steps in one process, on servers of its own, and prints what PostgreSQL spent in each statement of
the gate (pg_stat_statements, which leaves out what it takes to begin and end a statement) and which functions the
worker spent its time in (cProfile). Both watch closely, so the sums are dearer than a benchmark's; what counts is how
they are divided. `tools_10` as an argument shows calls of tools.
"""

import cProfile
import os
import pstats
import re
import sys
from collections.abc import Sequence
from io import StringIO
from typing import Any

import django
from django.core.management import call_command

from benchmarks import servers
from benchmarks.catalog import CATALOG

DATABASE = "bench_anatomy"
WARM, JOBS = 10, 100
STEPS = JOBS * 10
STATEMENTS = """
SELECT round((total_exec_time * 1000 / %s)::numeric, 1), round(calls::numeric / %s, 2), query
FROM pg_stat_statements WHERE toplevel IS DISTINCT FROM true OR query LIKE '%%aetheris_turn%%'
ORDER BY total_exec_time DESC LIMIT 14
"""


def main(arguments: Sequence[str]) -> int:
    shape = arguments[0] if arguments else "chain_10"
    with servers.running() as running:
        watch_statements(running)
        prepare(running)
        profile = run(shape)
        print(f"\n## PostgreSQL, µs of a step ({shape})\n\n| µs | times | statement |\n|---|---|---|")
        for spent, times, query in statements(running):
            print(f"| {spent} | {times} | `{brief(query)}` |")
        print(f"\n## The worker, by function ({shape}; seconds for {STEPS} steps)\n\n```text")
        print(functions(profile))
        print("```")
    return 0


def watch_statements(running: servers.Servers) -> None:
    with running.postgres.connect("postgres") as connection:
        connection.execute("ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'")
        connection.execute("ALTER SYSTEM SET pg_stat_statements.track = 'all'")
    running.postgres.stop()
    running.postgres.start()
    with running.postgres.connect("postgres") as connection:  # for this run only
        connection.execute("ALTER SYSTEM RESET ALL")


def prepare(running: servers.Servers) -> None:
    running.clear(DATABASE)
    os.environ.update(CATALOG["aetheris"].variables)
    os.environ.update(
        DATABASE_URL=running.url(DATABASE),
        REDIS_URL=running.redis_url,
        AETHERIS_LOG_LEVEL="WARNING",
        BENCH_WITNESS=os.devnull,
    )
    django.setup()
    call_command("migrate", interactive=False, verbosity=0)


def run(shape: str) -> cProfile.Profile:
    from django.db import connection

    from runtime.execution import run_step
    from runtime.incarnation import Incarnation
    from runtime.models import Job, Step

    def firsts(count: int) -> list[int]:
        jobs = [Job.objects.submit(shape, {"name": f"anatomy-{number}"}).pk for number in range(count)]
        return list(Step.objects.ready().filter(job__in=jobs).values_list("pk", flat=True))

    worker = Incarnation()
    worker.start()
    for step in firsts(WARM):
        run_step(step, worker)
    ready = firsts(JOBS)
    with connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION pg_stat_statements")
        cursor.execute("SELECT pg_stat_statements_reset()")
    profile = cProfile.Profile()
    profile.enable()
    for step in ready:
        run_step(step, worker)
    profile.disable()
    worker.stop()
    return profile


def statements(running: servers.Servers) -> list[tuple[Any, ...]]:
    with running.postgres.connect(DATABASE) as connection:
        return connection.execute(STATEMENTS % (STEPS, STEPS)).fetchall()


def brief(query: str) -> str:
    return re.sub(r"\s+", " ", query).replace("|", "¦")[:100]


def functions(profile: cProfile.Profile) -> str:
    text = StringIO()
    pstats.Stats(profile, stream=text).strip_dirs().sort_stats("tottime").print_stats(20)
    return text.getvalue().strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
