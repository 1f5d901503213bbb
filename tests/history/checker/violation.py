"""What the checker can find. A rule is broken at an event of a job, or, without one, in its rows or in the run."""

from dataclasses import dataclass

RULES = {
    "format": "every line can be read",
    # the chain
    "gap": "the events of a job are numbered from 1 without a gap",
    "header": "a header is canonical, and its row says the same",
    "digest": "a digest is that of its header",
    "link": "an event names the digest before it, and its own job",
    "head": "the job's row names its last event",
    "time": "the time of a job's events never runs backwards",
    "payload": "a payload is what its event commits to, and none is missing",
    # steps
    "unknown_step": "an event is about a step that there is",
    "attempt": "attempts of a step rise by one with each claim",
    "fence": "nothing is decided by an attempt that is not the last",
    "worker": "what an attempt decides comes from the worker that claimed it",
    "step_arrow": "a step does only what its state allows",
    "completed_twice": "a step completes once",
    "parents": "a step is claimed after the parents that it needs have ended",
    "scopes": "a step that expanded goes on after its copies have ended, which begin after it expanded",
    "paused": "nothing is claimed of a job that is paused",
    "ending": "of a job that is ending nothing is claimed but what undoes it",
    "job_end": "a job ends when its steps have ended, and completes when none has failed",
    "after_end": "nothing is done for a job that has ended",
    # rows
    "row_job": "a job's row says what its events say",
    "row_step": "a step's row says what its events say",
    "row_entry": "a ledger entry's row says what its events say",
    "row_result": "a result in a row is the one in its event",
    "row_signal": "a signal's row says what its events say",
    # calls
    "entry_arrow": "a ledger entry does only what its state allows",
    "intent": "a call is started by the running attempt",
    "evidence": "how a call ended is said by the attempt that started it",
    "open_call": "a step completes when its calls are settled",
    "key": "a call has one key, and no other call has it",
    "undone": "a job that undoes what it did leaves nothing that is to be undone",
    "undo_order": "calls are undone from the last to the first",
    # the world
    "effect_twice": "what happens under a key happens once",
    "effect_missing": "what was recorded as done was done",
    "effect_unintended": "nothing happens without an intent that was recorded before",
    "effect_denied": "what was recorded as not done was not done",
    # signals and timers
    "signal_lost": "a signal that was acknowledged is consumed or in the inbox",
    "signal_twice": "a signal is consumed once",
    "signal_wait": "a signal is consumed by a step that waits for it",
    "signal_order": "signals of one name are consumed in the order in which they came",
    "signal_unbound": "no signal lies in the inbox beside a wait for it",
    "timer_early": "a timer does not fire before its time",
    "timer_twice": "a timer fires once",
    "timer_lost": "a timer fires when its time has come",
    # the run
    "job_lost": "a job that was acknowledged is there",
    "event_lost": "an event that a client has seen is there, unchanged",
    "unfinished": "at rest a job has ended, is paused, or waits",
    "unnamed_wait": "a step that waits says for what, and has one open wait",
    "subjob": "the step of a subjob completes after the subjob has ended",
    "rescue_without_fault": "without a fault no step is taken from its worker",
    "doubt_without_fault": "without a fault no call is in doubt",
    "dead_worker": "a worker that was killed does nothing more",
}


@dataclass(frozen=True)
class Violation:
    """One broken rule: where, and in a sentence."""

    rule: str
    sentence: str
    job: str = ""
    seq: int | None = None

    def __str__(self) -> str:
        place = f" event {self.seq}" if self.seq is not None else ""
        return f"{self.rule}: {f'job {self.job}{place}: ' if self.job else ''}{self.sentence}"
