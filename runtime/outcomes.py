"""What running a step can end in. Every ending is a value, so that recording it is one switch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from runtime.graph import Graph, TaskGraph

JSON = Any


@dataclass(frozen=True, slots=True)
class Completed:
    """The step's result, and the branch that edges with `when` compare with."""

    result: JSON = None
    branch: str | None = None
    spawn: Graph | Mapping[str, Any] | TaskGraph | None = None
    """Steps to add to the job; they are recorded with this step, and the job ends when they have ended too."""


@dataclass(frozen=True, slots=True)
class Retry:
    """An error that may pass: the step runs again after `after`, while attempts remain."""

    error: dict[str, Any]
    after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """An error that trying again cannot mend."""

    error: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Waiting:
    """The step waits for the outside and holds nothing: no thread, no message, no lease.

    `kind` is signal, approval, subjob, timer, call or unknown; `name` is what wakes it. When `timeout` has passed, or
    `until` has come, the step is resumed with the outcome `timed_out` and says itself what that means.
    """

    kind: str
    name: str
    timeout: timedelta | None = None
    until: datetime | None = None
    """A moment instead of a duration."""
    prompt: str = ""
    schema: dict[str, Any] = field(default_factory=dict)
    approvers: dict[str, Any] = field(default_factory=dict)
    for_call: str = ""
    """The call that a decision is about, where it is not the step itself; set by the runtime."""
    event: str | None = None
    """Recorded with the wait, such as `approval_requested`."""


@dataclass(frozen=True, slots=True)
class Later:
    """A call of the step must wait for its turn: it runs again after `after`, and this was no failure."""

    why: str
    after: timedelta


@dataclass(frozen=True, slots=True)
class CancelJob:
    """The step asks for the end of its whole job, for instance when nobody answered in time."""

    reason: str


@dataclass(frozen=True)
class Expand:
    """The step runs a sub-graph, once for each of `bindings`, and is resumed when its scopes have ended.

    `bindings` are the names that a copy's expressions may use beside node ids. `indexed` copies are keyed
    `step[3].node`, the only copy of a plan `step.node`. More than `tolerate` failed copies, or `enough`
    completed ones, end the others.
    """

    graph: TaskGraph
    bindings: list[dict[str, Any]]
    indexed: bool = True
    max_parallel: int | None = None
    tolerate: int | None = 0
    enough: int | None = None


Outcome = Completed | Retry | Failed | Waiting | Later | CancelJob | Expand
