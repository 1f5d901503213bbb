"""python -m aetheris_project.run worker|beat: what `celery worker` and `celery beat` do, in two thirds of the time.

Celery's own command line loads an interactive shell first. On a small machine that is half of what a newcomer
waits for, and of the time until a killed worker is back.
"""

import argparse
import socket
import sys
import warnings
from collections.abc import Sequence

from aetheris_project.celery import app


def worker(name: str, pool: str, concurrency: int, queues: Sequence[str]) -> int:
    """Run one worker to its end; its exit code."""
    warnings.filterwarnings("ignore", "You're running the worker with superuser privileges")
    process = app.Worker(
        hostname=f"{name}@{socket.gethostname()}",
        pool=pool,
        concurrency=concurrency,
        queues=list(queues),
        loglevel="INFO",
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    )
    process.start()
    return int(process.exitcode or 0)


def beat() -> int:
    """Run the schedules until told to stop."""
    app.Beat(loglevel="INFO", quiet=True).run()
    return 0


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m aetheris_project.run", description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    chosen = kinds.add_parser("worker")
    chosen.add_argument("--name", required=True)
    chosen.add_argument("--pool", choices=["threads", "prefork", "solo"], default="threads")
    chosen.add_argument("--concurrency", type=int, default=16)
    chosen.add_argument("--queues", default="realtime,default,background")
    kinds.add_parser("beat")
    options = parser.parse_args(arguments)
    if options.kind == "beat":
        return beat()
    return worker(options.name, options.pool, options.concurrency, options.queues.split(","))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
