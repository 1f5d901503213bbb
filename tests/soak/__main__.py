"""python -m tests.soak --jobs 10000: load without faults, one line at the end. Exits 1 on violations."""

import argparse
import logging
import math
import os
import sys

import django

from runtime.stack.places import Places


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="make soak ARGS=…", description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=math.inf, help="submit no longer than this")
    options = parser.parse_args(arguments)
    places = Places(instance="soak")
    os.environ |= {"DATABASE_URL": places.database_url, "REDIS_URL": places.redis_url}
    os.environ |= {"AETHERIS_APPS": "tests.processes.outside", "AETHERIS_LOG_LEVEL": "WARNING"}
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aetheris_project.settings")
    django.setup()
    logging.getLogger("httpx").setLevel(logging.WARNING)

    from examples.local_service.http import Server  # these need Django
    from examples.payments.service import PaymentService
    from runtime.stack.clean import clean
    from runtime.stack.programs import Shape
    from runtime.stack.supervisor import Supervisor
    from tests.faults.stack import client_of
    from tests.processes.outside import agents  # noqa: F401 - what is submitted here has to be known here
    from tests.soak.run import run

    clean(places)
    world = places.local.parent / "soak-effects.jsonl"
    world.unlink(missing_ok=True)
    payments = PaymentService(world)
    with Server(payments) as server:
        told = {"AETHERIS_APPS": "tests.processes.outside", "WITNESS_URL": server.url}
        shape = Shape(port=0, heavy=0, beat=False)
        with Supervisor(places, shape, extra_environment=told, use_given_servers=False) as stack:
            stack.wait_ready(everything=True)
            with client_of(places):
                verdict = run(stack, payments, options.jobs, options.seconds)
    for violation in verdict.violations[:50]:
        print(violation)
    print(verdict)
    return int(bool(verdict.violations))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
