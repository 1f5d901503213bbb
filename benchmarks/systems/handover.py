"""How systems without workers of their own come by jobs: two lists in Valkey, the cheapest thing that works."""

import json
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

import redis

from benchmarks.orders import CONCURRENCY, Order, variable


@cache
def valkey() -> "redis.Redis":
    return redis.Redis.from_url(variable("REDIS_URL"), socket_timeout=None)


def serve(perform: Callable[[Order, bool], Any], ready: Callable[[], None]) -> None:
    """Threads that take jobs; `perform` answers None for one that waits, and is told when it goes on."""

    def work() -> None:
        while True:
            _, given = valkey().brpop("orders")
            order, resumed = json.loads(given)
            result = perform(Order(**order), resumed)
            if result is not None:
                valkey().lpush(f"done:{order['name']}", json.dumps(result))

    for _ in range(CONCURRENCY):
        threading.Thread(target=work).start()
    ready()


def submit(orders: list[Order]) -> list[dict[str, Any]]:
    for order in orders:
        valkey().lpush("orders", json.dumps([vars(order), False]))
    return [vars(order) for order in orders]


def wait(handles: list[dict[str, Any]]) -> list[Any]:
    return [json.loads(valkey().brpop(f"done:{handle['name']}")[1]) for handle in handles]


def signal(handle: dict[str, Any]) -> None:
    valkey().lpush("orders", json.dumps([handle, True]))
