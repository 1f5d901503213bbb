"""Faults on request: what can go wrong between a caller and the outside, and when.

`before` is before the effect, `after` is after it; the difference is the one a caller cannot see. A fault
comes from `POST /faults`, from the header `X-Fault: late-3`, or from the service (an order named
`1001.late-3`).
"""

import re
from dataclasses import asdict, dataclass, fields, replace
from threading import Event, Lock
from typing import Any

from examples.local_service.http import Answer, Hangup, Rejected, Request

DEFAULT_POINT = {
    "fail": "before",
    "hang": "before",
    "refuse": "before",
    "busy": "before",
    "late": "after",
    "reset": "after",
    "truncate": "after",
}
DEFAULT_SECONDS = {"hang": 3600.0, "late": 5.0, "busy": 1.0}
STATUS = {"fail": 500, "refuse": 422, "busy": 429}
SHORT_FORM = re.compile(rf"({'|'.join(DEFAULT_POINT)})(?:-(before|after))?(?:-(\d+(?:\.\d+)?))?")


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong. `times` None means every time; `order` and `path` None mean any."""

    kind: str
    at: str = ""
    seconds: float = 0.0
    status: int = 0
    times: int | None = 1
    order: str | None = None
    path: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in DEFAULT_POINT:
            raise Rejected(422, f"Unknown fault {self.kind!r}; there are {', '.join(DEFAULT_POINT)}.")
        object.__setattr__(self, "at", self.at or DEFAULT_POINT[self.kind])
        object.__setattr__(self, "seconds", self.seconds or DEFAULT_SECONDS.get(self.kind, 0.0))
        object.__setattr__(self, "status", self.status or STATUS.get(self.kind, 0))

    @classmethod
    def from_fields(cls, values: dict[str, Any]) -> "Fault":
        """A fault from a JSON object, or 422."""
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown or "kind" not in values:
            names = ", ".join(field.name for field in fields(cls))
            raise Rejected(422, f"A fault has a kind and none but these: {names}.")
        for name in ("seconds", "status", "times"):
            if not isinstance(values.get(name, 0), int | float | None):
                raise Rejected(422, f"A fault's {name!r} is a number.")
        return cls(**values)

    @classmethod
    def from_text(cls, text: str) -> "Fault | None":
        """A fault in its short form: `late`, `late-3`, `fail-after`, `late-before-0.5`."""
        match = SHORT_FORM.fullmatch(text)
        return match and cls(match[1], at=match[2] or "", seconds=float(match[3] or 0))

    def fits(self, path: str, order: str | None) -> bool:
        return self.path in (None, path) and self.order in (None, order)


class Faults:
    """The faults that are waiting for a request. A request meets at most one."""

    def __init__(self, stopping: Event) -> None:
        self._stopping = stopping
        self._lock = Lock()
        self._waiting: list[Fault] = []

    def add(self, request: Request) -> Answer:
        """`POST /faults`"""
        fault = Fault.from_fields(request.fields())
        with self._lock:
            self._waiting.append(fault)
        return Answer(asdict(fault), 201)

    def list(self, request: Request) -> Answer:
        """`GET /faults`"""
        return Answer({"faults": [asdict(fault) for fault in self._waiting]})

    def clear(self, request: Request) -> Answer:
        """`DELETE /faults`"""
        with self._lock:
            self._waiting.clear()
        return Answer({"faults": []})

    def meet(self, request: Request, order: str | None = None) -> "Fault | None":
        """The fault this request meets, used up by one."""
        with self._lock:
            for place, fault in enumerate(self._waiting):
                if fault.fits(request.path, order):
                    self._use(place, fault)
                    return fault
        return Fault.from_text(request.headers.get("x-fault", ""))

    def _use(self, place: int, fault: Fault) -> None:
        if fault.times is not None:
            left = [replace(fault, times=fault.times - 1)] if fault.times > 1 else []
            self._waiting[place : place + 1] = left

    def strike(self, fault: Fault | None, at: str) -> None:
        """Do what the fault does at this point; returns when there is nothing left to do."""
        if fault is None or fault.at != at:
            return
        match fault.kind:
            case "fail" | "refuse":
                raise Rejected(fault.status, f"Told to answer {fault.status} {at} the effect.")
            case "busy":
                raise Rejected(fault.status, "Told to be busy.", Retry_After=f"{fault.seconds:g}")
            case "late":
                self._wait(fault.seconds)
            case "hang":
                self._wait(fault.seconds)
                raise Hangup
            case "reset":
                raise Hangup

    def _wait(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            raise Hangup
