"""Its server with the settings it comes with (24 partitions, one node, its log on disk) and two services of the Python
SDK, one in each worker process, to which the client gives jobs in turn: over one address all calls would go through one
connection to one of them. Calls come in by HTTP with an idempotency key, which is what one needs to ask for a result
later."""

import asyncio
import http.client
import json
import socket
import threading
import time
import urllib.request
from collections.abc import Callable
from functools import cache
from itertools import count
from typing import Any

import restate
from hypercorn.asyncio import serve as serve_http
from hypercorn.config import Config

from benchmarks import witness
from benchmarks.orders import SLOW_SECONDS, WORKERS, Order, home, variable

numbers = count()


async def note(job: str, step: int) -> int:
    return witness.note(job, step)


async def chain(context: restate.Context, order: dict[str, Any]) -> int:
    step = 0
    for _ in range(order["size"]):
        step = await context.run_typed("note", note, job=order["name"], step=step)
    return step


async def slow(context: restate.Context, order: dict[str, Any]) -> int:
    async def slowly(step: int) -> int:
        following = await note(order["name"], step)
        await asyncio.sleep(SLOW_SECONDS)
        return following

    step = 0
    for _ in range(order["size"]):
        step = await context.run_typed("slow", slowly, step=step)
    return step


async def fan(context: restate.Context, order: dict[str, Any]) -> int:
    name, size = order["name"], order["size"]
    parts = [context.run_typed("note", note, job=name, step=number) for number in range(size)]
    await restate.gather(*parts)
    return await context.run_typed("join", note, job=name, step=size)


async def run(context: restate.WorkflowContext, order: dict[str, Any]) -> int:
    step = await context.run_typed("before", note, job=order["name"], step=0)
    await context.promise("go").value()
    return await context.run_typed("after", note, job=order["name"], step=step)


async def go(context: restate.WorkflowSharedContext) -> None:
    await context.promise("go").resolve("go")


def services(number: int) -> list[Any]:
    jobs = restate.Service(f"Jobs{number}")
    for name, handler in {"chain": chain, "tools": chain, "slow": slow, "fan": fan}.items():
        jobs.handler(name)(handler)
    signals = restate.Workflow(f"Signals{number}")
    signals.main()(run)
    signals.handler()(go)
    return [jobs, signals]


def setup() -> None:
    """The server keeps everything itself."""


def serve(number: int, ready: Callable[[], None]) -> None:
    port = kept_port(number)
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    threading.Thread(target=register, args=[port, ready], daemon=True).start()
    asyncio.run(serve_http(restate.app(services(number)), config))


def kept_port(number: int) -> int:
    """A worker that is started again is found where it was."""
    file = home() / f"port-{number}"
    if not file.exists():
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            file.write_text(str(probe.getsockname()[1]))
    return int(file.read_text())


def register(port: int, ready: Callable[[], None]) -> None:
    body = json.dumps({"uri": f"http://127.0.0.1:{port}", "force": True}).encode()
    address = f"http://127.0.0.1:{variable('ADMIN_PORT')}/deployments"
    for _ in range(200):
        try:
            request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
            urllib.request.urlopen(request, timeout=10).close()
        except OSError:
            time.sleep(0.1)  # the server or our own port does not answer yet
        else:
            ready()
            return


@cache
def ingress() -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", int(variable("PORT")), timeout=600)


def ask(method: str, path: str, body: Any = None, **headers: str) -> Any:
    content = None if body is None else json.dumps(body)
    if content is not None:
        headers["content-type"] = "application/json"
    ingress().request(method, path, content, headers)
    answer = ingress().getresponse()
    text = answer.read()
    if answer.status >= 300:
        raise RuntimeError(f"{method} {path} answered {answer.status}: {text!r}")
    return json.loads(text) if text else None


def submit(orders: list[Order]) -> list[tuple[str, str]]:
    handles = []
    for order in orders:
        number = next(numbers) % WORKERS
        if order.shape == "signal":
            service = f"Signals{number}/{order.name}"
            answer = ask("POST", f"/{service}/run/send", vars(order))
        else:
            service = f"Jobs{number}"
            answer = ask(
                "POST", f"/{service}/{order.shape}/send", vars(order), **{"idempotency-key": order.name}
            )
        handles.append((answer["invocationId"], service))
    return handles


def wait(handles: list[tuple[str, str]]) -> list[int]:
    return [ask("GET", f"/restate/invocation/{id}/attach") for id, _ in handles]


def signal(handle: tuple[str, str]) -> None:
    ask("POST", f"/{handle[1]}/go")
