"""python -m benchmarks.peer SYSTEM setup | serve NUMBER | client: runs in a system's own environment.

A system is a module in `systems/` with these functions, of which only what it can do has to be there:

    setup()                     make tables and the like; the servers run already
    serve(number, ready)        be worker `number`, in threads or for ever; call `ready()` when jobs are taken
    submit(orders) -> handles   start jobs, as fast as the system's own client can
    wait(handles) -> results    come back when all of them have ended; each result is the number of its steps
    signal(handle)              wake a job of the shape `signal`
"""

import importlib
import json
import os
import sys
import threading
from pathlib import Path
from time import monotonic_ns, perf_counter
from typing import Any

from benchmarks.orders import Order, variable


class Client:
    """Answers the harness: one line of JSON for each line of JSON."""

    def __init__(self, system: Any) -> None:
        self.system = system
        self.handles: list[Any] = []

    def submit(self, orders: list[dict[str, Any]]) -> dict[str, Any]:
        wanted = [Order(**order) for order in orders]
        began = perf_counter()
        self.handles = self.system.submit(wanted)
        return {"submit": perf_counter() - began}

    def wait(self) -> dict[str, Any]:
        began = perf_counter()
        results = self.system.wait(self.handles)
        return {"wait": perf_counter() - began, "results": results}

    def run(self, orders: list[dict[str, Any]]) -> dict[str, Any]:
        began = perf_counter()
        submitted = self.submit(orders)
        waited = self.wait()
        return {**submitted, **waited, "seconds": perf_counter() - began}

    def signal(self) -> dict[str, Any]:
        at = monotonic_ns()
        self.system.signal(self.handles[0])
        return {"at": at}

    def hello(self) -> dict[str, Any]:
        return {}


def client(system: Any) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not an answer
    conversation = Client(system)
    for line in sys.stdin:
        asked = json.loads(line)
        answer = getattr(conversation, asked.pop("do"))(**asked)
        print(json.dumps(answer), file=answers, flush=True)


def main(name: str, role: str, *numbers: str) -> None:
    system = importlib.import_module(f"benchmarks.systems.{name}")
    match role:
        case "setup":
            system.setup()
        case "serve":
            system.serve(int(numbers[0]), Path(variable("READY")).touch)
            threading.Event().wait()  # threads may start no others once the main one has ended
        case "client":
            client(system)


if __name__ == "__main__":
    main(*sys.argv[1:])
