"""Coroutine steps: the event loop runs in the step's thread, and what the step asks of its context happens beside it.

Inside a running loop neither a database connection nor another loop may be used. So a method of the context
that a coroutine calls moves to a thread of the step's own, and the loop waits for it: a step is one line of work.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from django.db import connection

if TYPE_CHECKING:
    from runtime.context import Context

P = ParamSpec("P")
R = TypeVar("R")


def awaited(result: Any, context: Context) -> Any:
    """What a plain or coroutine function answered."""
    if not inspect.isawaitable(result):
        return result
    try:
        return asyncio.run(_awaited(result))
    finally:
        context.aside.close()


async def _awaited(result: Any) -> Any:
    return await result


class Aside:
    """The thread beside the loop. It exists only for steps that need it."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None

    def run(self, function: Callable[[], R]) -> R:
        self._pool = self._pool or ThreadPoolExecutor(1, thread_name_prefix="aetheris-aside")
        return self._pool.submit(copy_context().run, function).result()

    def close(self) -> None:
        if self._pool is not None:
            self._pool.submit(lambda: connection.close()).result()  # that thread's own
            self._pool.shutdown()
            self._pool = None


def beside_the_loop(method: Callable[Concatenate[Context, P], R]) -> Callable[Concatenate[Context, P], R]:
    """A method of the context that a coroutine may call like any other."""

    @wraps(method)
    def called(context: Context, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass  # and out of this block: an error of the method must not name this one as its context
        else:
            return context.aside.run(lambda: method(context, *args, **kwargs))
        return method(context, *args, **kwargs)

    return called
