"""Process chaos with a seed; with --redis the storms in which Redis is nothing. One line a run; 1 on violations."""

import argparse
import os
import sys

import django

from runtime.stack.places import Places


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=400)
    parser.add_argument("--faults", type=int, help="a quarter of the jobs unless given")
    parser.add_argument("--redis", action="store_true", help="each storm with so many jobs")
    parser.add_argument(
        "--recovery", type=int, metavar="KILLS", help="kill so many workers, one after another"
    )
    parser.add_argument("--guard-off", metavar="GUARD", help="the trial of one guard, without it")
    options = parser.parse_args(arguments)
    places = Places(instance="chaos")
    os.environ |= {"DATABASE_URL": places.database_url, "REDIS_URL": places.redis_url}
    os.environ |= {"AETHERIS_APPS": "tests.processes.outside", "AETHERIS_LOG_LEVEL": "ERROR"}
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aetheris_project.settings")
    django.setup()
    return run(places, options)


def run(places: Places, options: argparse.Namespace) -> int:
    from tests.chaos import recovery, trials
    from tests.chaos.ground import ground  # these need Django
    from tests.chaos.run import Chaos
    from tests.chaos.storms import STORMS, Storm

    broken = False
    if options.guard_off:
        with ground(places, trials.APP, **{trials.GUARD_OFF: options.guard_off}) as found:
            verdict = trials.run(
                found, places.local / "history.jsonl", options.guard_off, seed=options.seed, is_off=True
            )
            print(*verdict.violations, verdict, sep="\n", flush=True)
            return int(not verdict.violations)
    with ground(places) as found:
        if options.recovery:
            return int(not recovery.measure(found, options.recovery))
        history = places.local / "history.jsonl"
        faults = options.jobs // 4 if options.faults is None else options.faults
        runs = (
            [Storm(found, history, name, seed=options.seed, jobs=options.jobs) for name in STORMS]
            if options.redis
            else [Chaos(found, history, seed=options.seed, jobs=options.jobs, faults=faults)]
        )
        for each in runs:
            verdict = each.run()
            print(*verdict.violations, verdict, sep="\n", flush=True)
            broken = broken or bool(verdict.violations)
    if broken:
        print(f"The last history: {history}. The logs: {places.logs}.")
    return int(broken)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
