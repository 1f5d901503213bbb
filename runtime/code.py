"""The code of a job's steps: what the job began with, what this process has, and what to do where they differ.

A job's graph is recorded with it, so what a deployment can change under it is its step functions. Each has a digest
over its source and that of the helpers it names in its own package; a job keeps those that it began with.
"""

from __future__ import annotations

import ast
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

import structlog

from runtime import agents
from runtime.conf import settings
from runtime.contract.source import plain_function, source_of
from runtime.outcomes import Waiting

if TYPE_CHECKING:
    from runtime.context import Context
    from runtime.graph import TaskGraph
    from runtime.models import Job, Step

logger = structlog.get_logger(__name__)

LENGTH = 16
LONGEST_LOOK = 600.0

changed_in_process: Counter[str] = Counter()
"""Metric: steps that met changed code since this process started, by what was done about it."""


def of_graph(graph: TaskGraph) -> dict[str, str]:
    """The step functions that a graph names, and their digests here."""
    found = {name: digest_here(name) for name in graph.functions}
    return {name: digest for name, digest in found.items() if digest is not None}


def digest_here(name: str) -> str | None:
    """None where no such function is registered in this process."""
    found = agents.functions_here().get(name)
    return found.digest if found is not None else None


def held(job: Job, step: Step, context: Context) -> Waiting | None:
    """The wait of a step that must not run under the code that is here; None if it may run."""
    name = step.config.get("function")
    began = job.code.get(name) if name is not None else None
    if began is None or (here := digest_here(name)) == began:
        return None
    policy = agents.on_code_change(job.agent, job.agent_version)
    changed_in_process[policy] += 1
    if policy == "block":
        logger.warning("step_held", job=str(job.pk), step=step.key, function=name, began=began, here=here)
        return _wait(step, name, began, here)
    if policy == "warn":
        logger.warning("code_changed", job=str(job.pk), step=step.key, function=name, began=began, here=here)
        context.emit("code_changed", {"function": name, "began": began, "here": here})
    return None


def _wait(step: Step, function: str, began: str, here: str | None) -> Waiting:
    """Any worker looks again after a while: perhaps one that has the code that the job began with."""
    why = f"has another one ({here})" if here else "has none of that name"
    return Waiting(
        kind="code",
        name=f"{function}@{began}",
        timeout=timedelta(
            seconds=min(LONGEST_LOOK, settings().code_look_seconds * 2 ** min(step.attempt, 12))
        ),
        prompt=f"The job began with function {function!r} of digest {began}; a worker that would have run it {why}. "
        "It goes on where a worker has that code, or with `manage.py adopt`.",
    )


# Digests


def digest(function: Callable[..., Any]) -> str:
    """Over what a function does: comments, blank lines and docstrings do not count."""
    told = hashlib.sha256()
    for text in sorted(_texts(function)):
        told.update(text.encode() + b"\0")
    return told.hexdigest()[:LENGTH]


def _texts(function: Callable[..., Any]) -> Iterator[str]:
    """The source of a function and of the functions of the same package that it leads to."""
    first = plain_function(function)
    if first is None:
        yield repr(function)
        return
    package = first.__module__.partition(".")[0]
    seen, waiting = {first.__code__}, [first]
    while waiting:
        one = waiting.pop()
        yield f"{one.__module__}.{one.__qualname__}\n{_text(one)}"
        for name in _names(one.__code__):
            other = plain_function(one.__globals__[name]) if callable(one.__globals__.get(name)) else None
            if other and other.__code__ not in seen and other.__module__.partition(".")[0] == package:
                seen.add(other.__code__)
                waiting.append(other)


def _text(function: FunctionType) -> str:
    source = source_of(function)
    node = source.function(function.__code__) if source is not None else None
    if node is None:  # no source to read, as in a shell
        code = function.__code__
        return f"{code.co_code.hex()} {code.co_names} {[c for c in code.co_consts if not isinstance(c, CodeType)]}"
    if isinstance(node, ast.Lambda):
        return ast.unparse(node)
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return "\n".join([ast.unparse(node.args), *map(ast.unparse, body)])


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
