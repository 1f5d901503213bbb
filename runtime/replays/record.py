"""What a job's events say of its steps: every attempt that the step itself ended, and what it had been given.

Attempts that were lost, timed out, handed back, or ended in a retry were not decided by the step's code alone and
are not run again; what they recorded is there for the attempts after them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from runtime import blobs
from runtime.models import Event, EventPart, Job, Step
from runtime.replays.report import Withheld

PAGE = 1000
EffectKey = tuple[str, str, int]
"""Kind (call or value), name, ordinal."""
CALL, VALUE = "call", "value"


@dataclass
class Effect:
    """A call or a recorded value, as it stood when an attempt ended. Events are named by their numbers."""

    key: EffectKey
    attempt: int
    """That drew the value, or started the call last."""
    event: int
    """With the value, or with the arguments of the call."""
    position: int = 0
    """Of a value among those of its event; of a call its generation."""
    callee: str = ""
    state: str = "committed"
    answer: int = 0
    """The event that says what came of the call."""

    def __str__(self) -> str:
        return f"{self.key[0]} {self.key[1]}"


@dataclass(frozen=True)
class Resume:
    outcome: str
    signal: int | None = None
    """The event that brought the payload."""


@dataclass(frozen=True)
class Attempt:
    """One run of a step's code, from its claim to the end that it chose."""

    step: str
    number: int
    claimed: int
    ended: int
    ending: str
    """The type of the event that recorded the end."""
    data: dict[str, Any]
    resume: Resume | None
    effects: list[Effect]
    plan: dict[str, Any] | None
    """Of the graph that the attempt added, where it added one."""


@dataclass
class _Line:
    """A step, as far as the events have told."""

    attempt: int = 0
    claimed: int = 0
    resume: Resume | None = None
    has_expanded: bool = False
    keeps: bool = False
    """It waits because of a call or of its code: what had woken it before stays."""
    plan: dict[str, Any] | None = None
    last: str = ""
    effects: dict[EffectKey, Effect] = field(default_factory=dict)


class Record:
    """A job's history, read in order and in pages."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.outputs: dict[str, int] = {}
        """Step → the event with its result, of the events that were read so far."""
        self.graphs: dict[str, int] = {}
        """Digest of a graph → the event that recorded it."""
        self._copied: dict[str, Any] | None = None
        waits = job.waits.exclude(for_call="").values_list("step_key", "attempt")
        self._for_calls = set(waits)
        """Step and attempt that waited until somebody allowed a call."""
        self._lines: dict[str, _Line] = {}
        self._digests: dict[str, int] = {}
        self._signals: dict[str, int] = {}

    def attempts(self) -> Iterator[Attempt]:
        for event in self._events():
            header = event.as_header()
            ended = self._apply(header, bytes(event.digest).hex())
            if ended is not None:
                yield ended

    def value(self, seq: int, name: str) -> Any:
        """The payload of an event. Raises `Withheld` where it was erased."""
        rows = EventPart.objects.filter(job=self.job, seq=seq, name=name).values_list("value", flat=True)
        for value in rows:
            return blobs.whole(self.job.tenant, value)
        raise Withheld(seq, name)

    def values(self, seqs: Iterable[int]) -> dict[tuple[int, str], Any]:
        """The payloads of several events, by event and name."""
        rows = EventPart.objects.filter(job=self.job, seq__in=set(seqs))
        found = {(seq, name): value for seq, name, value in rows.values_list("seq", "name", "value")}
        return blobs.all_whole(self.job.tenant, found)

    def results(self, keys: Iterable[str], before: int) -> dict[str, Any]:
        """What steps had answered before an event; None where they had not."""
        events = {key: self.outputs[key] for key in keys if self.outputs.get(key, before) < before}
        values = self.values(events.values())
        found = {key: _needed(values, seq, "output") for key, seq in events.items()}
        copied = self._copied or {}
        return {key: found.get(key, copied.get(key)) for key in keys}

    def _events(self) -> Iterator[Event]:
        last = 0
        while page := list(
            self.job.events.filter(seq__gt=last).order_by("seq").only("seq", "header", "digest")[:PAGE]
        ):
            yield from page
            last = page[-1].seq

    def _apply(self, header: dict[str, Any], digest: str) -> Attempt | None:
        kind = header["type"]
        self._note(header, digest)
        if "step" not in header:
            return self._operated(header)
        line = self._lines.setdefault(header["step"], _Line())
        if "entry" in header["data"]:
            self._called(line, header)
        if handler := _HANDLERS.get(kind):
            handler(self, line, header)
        if not self._is_ending(header):
            return None
        line.last = kind
        line.keeps = kind == "step_parked" and not self._is_decided(header)
        ended = self._ended(line, header) if self._is_decided(header) else None
        line.plan = None
        return ended

    def _note(self, header: dict[str, Any], digest: str) -> None:
        if header["type"] == "signal_consumed":
            self._signals[digest] = self._digests[header["causes"][0]]
        elif not header["type"].startswith(("step_", "tool_", "model_", "effect_")):
            self._digests[digest] = header["seq"]
        if header["type"] == "job_forked":
            copied = [key for key, *_ in header["data"]["copied"]]
            rows = Step.objects.filter(job=self.job, key__in=copied)
            self._copied = blobs.all_whole(self.job.tenant, dict(rows.values_list("key", "result")))
        elif header["type"] == "job_reopened":
            self._reopen()
        elif header["type"] == "plan_recorded":
            self.graphs.setdefault(header["data"]["graph_digest"], header["seq"])

    def _operated(self, header: dict[str, Any]) -> Attempt | None:
        """A step may ask for the end of its whole job."""
        data = header["data"]
        if header["type"] != "operator_acted" or data.get("verb") != "cancel" or "step" not in data:
            return None
        return self._ended(self._lines[data["step"]], {**header, "step": data["step"]})

    def _reopen(self) -> None:
        for line in self._lines.values():
            if line.last in ("step_failed", "step_cancelled"):
                if line.has_expanded:
                    line.resume = Resume("expanded")
                elif line.last == "step_failed" and line.resume and line.resume.outcome == "timed_out":
                    line.resume = None

    # What events of a step tell

    def _claimed(self, line: _Line, header: dict[str, Any]) -> None:
        line.attempt, line.claimed = header["attempt"], header["seq"]

    def _resumed(self, line: _Line, header: dict[str, Any]) -> None:
        outcome = header["data"]["outcome"]
        if line.keeps:
            return
        signal = self._signals[header["causes"][0]] if outcome == "signalled" else None
        line.resume = Resume(outcome, signal)

    def _completed(self, line: _Line, header: dict[str, Any]) -> None:
        self.outputs[header["step"]] = header["seq"]

    def _planned(self, line: _Line, header: dict[str, Any]) -> None:
        line.plan = header["data"]
        line.has_expanded = line.has_expanded or "scopes" in header["data"]

    def _drawn(self, line: _Line, header: dict[str, Any]) -> None:
        for position, told in enumerate(header["data"]["effects"]):
            name, _, ordinal = told.rpartition("#")
            key = (VALUE, name, int(ordinal))
            line.effects.setdefault(key, Effect(key, header["attempt"], header["seq"], position))

    def _called(self, line: _Line, header: dict[str, Any]) -> None:
        """Of several generations of a call the last one counts."""
        data, key = header["data"], (CALL, header["data"]["call"], 0)
        if data["entry"] in ("started", "reserved"):
            self._begun(line, header, data["generation"], data["entry"])
        elif key in line.effects and data["generation"] == line.effects[key].position:
            line.effects[key].state, line.effects[key].answer = data["entry"], header["seq"]

    def _denied(self, line: _Line, header: dict[str, Any]) -> None:
        self._begun(line, header, 0, "denied")

    def _begun(self, line: _Line, header: dict[str, Any], generation: int, state: str) -> None:
        key = (CALL, header["data"]["call"], 0)
        line.effects.pop(key, None)  # made anew, its place is where it was made last
        line.effects[key] = Effect(
            key, header["attempt"], header["seq"], generation, header["data"]["name"], state
        )

    def _is_ending(self, header: dict[str, Any]) -> bool:
        kind = header["type"]
        return kind in ENDINGS or kind in ("step_retried", "step_rescued", "step_timed_out", "step_cancelled")

    def _is_decided(self, header: dict[str, Any]) -> bool:
        """Whether the step's own code chose this end. What the sweep ends has no worker."""
        return (
            header["type"] in ENDINGS
            and "worker" in header
            and header["data"].get("wait") not in ("unknown", "call", "code")
            and (
                header["type"] != "step_parked" or (header["step"], header["attempt"]) not in self._for_calls
            )
        )

    def _ended(self, line: _Line, header: dict[str, Any]) -> Attempt:
        resume = line.resume
        if header["type"] == "step_parked":
            line.resume = None
        return Attempt(
            header["step"],
            line.attempt,
            line.claimed,
            header["seq"],
            header["type"],
            header["data"],
            resume,
            [replace(effect) for effect in line.effects.values()],
            line.plan,
        )


ENDINGS = ("step_completed", "step_failed", "step_parked")

_HANDLERS: dict[str, Callable[[Record, _Line, dict[str, Any]], None]] = {
    "step_claimed": Record._claimed,
    "step_resumed": Record._resumed,
    "step_completed": Record._completed,
    "plan_recorded": Record._planned,
    "effect_recorded": Record._drawn,
    "tool_denied": Record._denied,
}


def _needed(values: dict[tuple[int, str], Any], seq: int, name: str) -> Any:
    try:
        return values[seq, name]
    except KeyError:
        raise Withheld(seq, name) from None
