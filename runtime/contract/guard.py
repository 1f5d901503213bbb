"""Raises where running code reaches for the clock, chance or the outside: in the thread that asked, nowhere else.

Profiling shows every call of a C function, such as `time.time`, which audit hooks do not; audit hooks show
connections and processes, whichever library makes them. Neither sees a C function that another C function calls.
"""

from __future__ import annotations

import _thread
import datetime
import functools
import os
import random
import re
import sys
import sysconfig
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import CodeType, FrameType
from typing import Any

from django.db import connections

from runtime.contract.errors import ContractViolated
from runtime.contract.findings import Finding
from runtime.contract.rules import (
    CLOCK,
    CONCURRENCY,
    DATABASE,
    IDENTITY,
    NETWORK,
    PROCESS,
    RANDOM,
    RULES,
    SLEEP,
    Rule,
)
from runtime.contract.source import source_at

BUILTINS: dict[int, tuple[str, Rule]] = {
    **{
        id(getattr(time, name)): (f"time.{name}", CLOCK)
        for name in dir(time)
        if f"time.{name}" in RULES and RULES[f"time.{name}"] is CLOCK
    },
    id(time.sleep): ("time.sleep", SLEEP),
    id(os.urandom): ("os.urandom", RANDOM),
    **{
        id(getattr(_thread, name)): ("threading.Thread", CONCURRENCY)
        for name in ("start_new_thread", "start_joinable_thread")  # the second since Python 3.13
        if hasattr(_thread, name)
    },
}
"""C functions by identity."""

FUNCTIONS: dict[CodeType, tuple[str, Rule]] = {
    getattr(uuid, name).__code__: (f"uuid.{name}", IDENTITY)
    for name in ("uuid1", "uuid4", "uuid6", "uuid7")
    if hasattr(uuid, name)
}
"""Python functions by their code."""

AUDITED: Mapping[str, Rule] = {
    **dict.fromkeys(
        (
            *("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo"),
            *("socket.gethostbyname", "socket.gethostbyaddr", "urllib.Request", "smtplib.connect"),
            *("ftplib.connect", "imaplib.open", "poplib.connect", "telnetlib.Telnet.open"),
        ),
        NETWORK,
    ),
    **dict.fromkeys(
        ("subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn"),
        PROCESS,
    ),
}
"""Audit events."""

MEASURES = frozenset({CLOCK, RANDOM, IDENTITY})
"""Libraries take these for themselves too, for timeouts and names: there they only count in WRAPPERS."""
WRAPPERS = frozenset({
    "random", "secrets", "uuid", "datetime", "email", "pendulum", "arrow", "faker",
    "django.utils.timezone", "django.utils.crypto",
})  # fmt: skip
"""Modules that hand the clock and chance on to whoever calls them."""
UNTOLD = ("runtime", "tools", "logging", "structlog", "asyncio", "asgiref", "importlib", "_frozen_importlib")
"""Packages that may use the clock and the like on behalf of a step: their use does not reach its result."""

WRITES = re.compile(r"\s*(INSERT|UPDATE|DELETE|MERGE|TRUNCATE|CREATE|ALTER|DROP|COPY)\b", re.IGNORECASE)
LIBRARIES = tuple(
    {os.path.realpath(path) + os.sep for path in sysconfig.get_paths().values() if path}
    | {os.path.dirname(os.path.realpath(os.__file__)) + os.sep}
)

_of_thread = threading.local()


class Guard:
    """While entered, raises `ContractViolated` in this thread; `violation` keeps what the step may have caught."""

    def __init__(self, step: str) -> None:
        self.step = step
        self.violation: ContractViolated | None = None
        self._pauses = 0
        self._exit = ExitStack()

    def __enter__(self) -> Guard:
        _listen()
        for connection in connections.all():
            self._exit.enter_context(connection.execute_wrapper(self._statement))
        self._exit.callback(sys.setprofile, sys.getprofile())
        self._exit.callback(setattr, _of_thread, "guard", getattr(_of_thread, "guard", None))
        _of_thread.guard = self
        sys.setprofile(self._profile)
        return self

    def __exit__(self, *exit: object) -> None:
        sys.setprofile(None)
        self._exit.close()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What runs here is not the step's own: a tool, the recording of a value."""
        self._pauses += 1
        try:
            yield
        finally:
            self._pauses -= 1

    def audit(self, event: str, frame: FrameType | None) -> None:
        if (rule := AUDITED.get(event)) is not None:
            self._used(event, rule, frame)

    def _profile(self, frame: FrameType, event: str, function: Any) -> None:
        if self._pauses:
            return
        if event == "c_call":
            if (known := BUILTINS.get(id(function)) or _method(function)) is not None:
                self._used(*known, frame)
        elif event == "call":
            if (known := FUNCTIONS.get(frame.f_code)) is not None:
                self._used(*known, frame.f_back)
            elif frame.f_code is random.Random.seed.__code__ and frame.f_locals.get("a") is None:
                self._used("random.Random", RANDOM, frame.f_back)

    def _statement(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]
    ) -> Any:
        if WRITES.match(str(sql)):
            self._used(str(sql).split(None, 1)[0].upper(), DATABASE, sys._getframe(1))
        return execute(sql, params, many, context)

    def _used(self, name: str, rule: Rule, frame: FrameType | None) -> None:
        culprit = None if self._pauses else _own(frame, rule)
        if culprit is None:
            return
        file, line = culprit.f_code.co_filename, culprit.f_lineno
        source = source_at(file, culprit.f_globals)
        if source is not None and source.allows(rule.code, line):
            return
        finding = Finding(rule.code, file, line, f"`{name}` {rule.why}", rule.replacement)
        self.violation = self.violation or ContractViolated(self.step, [finding])
        raise self.violation


def _method(function: Any) -> tuple[str, Rule] | None:
    """A C method that is bound to what makes it a violation."""
    owner, name = getattr(function, "__self__", None), getattr(function, "__name__", "")
    if owner is random._inst:
        return f"random.{name}", RANDOM
    if isinstance(owner, type) and issubclass(owner, datetime.date) and name in ("now", "utcnow", "today"):
        return f"{owner.__module__}.{owner.__qualname__}.{name}", CLOCK
    return None


def _own(frame: FrameType | None, rule: Rule) -> FrameType | None:
    """The innermost frame of code that is no library's; None when a library stands before it for its own purpose."""
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        package = module.partition(".")[0]
        if package in UNTOLD:
            return None
        if not _is_library(frame.f_code.co_filename):
            return frame
        if rule in MEASURES and WRAPPERS.isdisjoint((module, package)):
            return None
        frame = frame.f_back
    return None


@functools.lru_cache(maxsize=4096)
def _is_library(file: str) -> bool:
    return file.startswith("<") or os.path.realpath(file).startswith(LIBRARIES)


def _listen() -> None:
    """An audit hook stays for the life of the process; it does nothing in a thread without a guard."""
    if not _hook_added:
        _hook_added.append(True)
        sys.addaudithook(_heard)


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    if event in AUDITED and (guard := getattr(_of_thread, "guard", None)) is not None:
        guard.audit(event, sys._getframe(1))


_hook_added: list[bool] = []
