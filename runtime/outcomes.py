"""What running a step can end in. Every ending is a value, so that recording it is one switch."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

JSON = Any


@dataclass(frozen=True, slots=True)
class Completed:
    """The step's result, and the branch that edges with `when` compare with."""

    result: JSON = None
    branch: str | None = None


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

    `kind` is signal, approval, timer or unknown; `name` is what wakes it. `on_timeout` is what the step
    is resumed with when `timeout` has passed.
    """

    kind: str
    name: str
    timeout: timedelta | None = None
    prompt: str = ""
    schema: dict[str, Any] = field(default_factory=dict)
    approvers: dict[str, Any] = field(default_factory=dict)
    event: str | None = None


@dataclass(frozen=True, slots=True)
class CancelJob:
    """The step asks for the end of its whole job, for instance when nobody answered in time."""

    reason: str


Outcome = Completed | Retry | Failed | Waiting | CancelJob
