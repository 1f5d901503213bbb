"""What a step tells of itself while it works: notes and progress, for people and pages, never for replay.

Telling costs the step nothing: it never blocks, never raises, and holds a bounded amount of memory. What was told
rides, in its order, in the next durable write that the step makes anyway; what there is no room for is dropped,
oldest first, and counted.
"""

from __future__ import annotations

import json
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import structlog

from runtime import strict_json
from runtime.conf import settings
from runtime.turn import Turn, part

if TYPE_CHECKING:
    from runtime.models import Step

logger = structlog.get_logger(__name__)

LONGEST_NAME = 100
MAX_DEPTH = 32


@dataclass(frozen=True, slots=True)
class Told:
    """One thing told: a copy, so that what the step changes later does not change it."""

    type: str
    data: dict[str, Any]
    text: str
    """The payload as JSON."""
    moment: float


class Narrative:
    """What one attempt of one step has told and not written yet."""

    dropped_in_process: ClassVar[int] = 0
    """Metric: what this process has dropped since it started."""

    def __init__(self, step: Step) -> None:
        self.step = step
        self.dropped = 0
        """What this attempt has dropped."""
        self._told: deque[Told] = deque()
        self._bytes = 0
        self._unreported = 0
        self._reason = ""

    def __len__(self) -> int:
        return len(self._told)

    def note(self, name: str, payload: Any = None) -> None:
        self._take("note_added", name, {"name": name}, payload)

    def progress(self, fraction: float, text: str = "") -> None:
        try:
            percent = round(min(max(fraction, 0.0), 1.0) * 100)
        except (TypeError, ValueError) as error:
            self._drop(f"progress {fraction!r}: {error}")
        else:
            self._take("progress_reported", text, {"percent": percent}, {"fraction": fraction, "text": text})

    def ride(self, turn: Turn) -> None:
        """Put everything told into a turn that is about to be sent."""
        gap, now = self._unreported, time.monotonic()
        while self._told:
            told = self._told.popleft()
            data = {**told.data, "ms_before": max(0, int((now - told.moment) * 1000))}
            if gap:
                data, gap = {**data, "dropped": gap}, 0
            try:
                parts = [part("narrative", json.loads(told.text))]
                turn.event(told.type, step=self.step.key, attempt=self.step.attempt, data=data, parts=parts)
            except Exception as error:  # the step's own record in this turn must not be lost with it
                self._drop(f"{told.type}: {error}")
        self._bytes = 0
        self._report()

    def _take(self, type: str, name: Any, data: dict[str, Any], payload: Any) -> None:
        most = settings().narrative_bytes
        try:
            strict_json.check([name, payload], "narrative", max_bytes=most, max_depth=MAX_DEPTH)
            if not isinstance(name, str) or type == "note_added" and not 0 < len(name) <= LONGEST_NAME:
                raise ValueError(f"a name has 1 to {LONGEST_NAME} characters")
            text = json.dumps(payload, ensure_ascii=False)
        except Exception as error:  # whatever a payload does when it is looked at, the step goes on
            self._drop(f"{type}: {error}")
            return
        self._told.append(Told(type, data, text, time.monotonic()))
        self._bytes += len(text)
        while len(self._told) > settings().narrative_events or self._bytes > most:
            self._bytes -= len(self._told.popleft().text)
            self._drop("no room until the next durable write")

    def _drop(self, reason: str) -> None:
        self.dropped += 1
        self._unreported += 1
        self._reason = reason
        Narrative.dropped_in_process += 1

    def _report(self) -> None:
        if self._unreported:
            logger.warning(
                "narrative_dropped",
                job=str(self.step.job_id),
                step=self.step.key,
                dropped=self._unreported,
                reason=self._reason[:500],
            )
            self._unreported = 0
