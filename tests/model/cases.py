"""What is checked on each push, and what `make model` checks beside it, with more workers, crashes and lost answers."""

from typing import NamedTuple


class Case(NamedTuple):
    model: str
    defines: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join((self.model, *self.defines))


def case(text: str) -> Case:
    model, *defines = text.split()
    return Case(model, tuple(defines))


MODELS = [
    case("ledger TOOL=PLAIN"),
    case("ledger TOOL=IDEMPOTENT"),
    case("ledger TOOL=VERIFY CRASHES=0"),
    case("ledger TOOL=FENCING CRASHES=0"),
    case("ledger TOOL=ASYNC CRASHES=0 CANCELS=0 MAX_ATTEMPTS=2"),
    case("join WORKERS=2 NEEDED=0"),
    case("join WORKERS=2 NEEDED=1 MAX_ATTEMPTS=1"),
    case("join WORKERS=2 NEEDED=2 MAX_ATTEMPTS=1"),
    case("signals SWEEPERS=1 PAUSES=0 MAX_ATTEMPTS=1"),
    case("signals SWEEPERS=2 PAUSES=1 SENDERS=2 MAX_ATTEMPTS=1"),
]

LONG = [
    case("ledger TOOL=PLAIN LOST=2"),
    case("ledger TOOL=IDEMPOTENT LOST=2"),
    case("ledger TOOL=VERIFY"),
    case("ledger TOOL=VERIFY LOST=2"),
    case("ledger TOOL=FENCING"),
    case("ledger TOOL=ASYNC CRASHES=0"),
    case("ledger TOOL=ASYNC"),
    case("ledger TOOL=PLAIN WORKERS=3"),
    case("join WORKERS=2 NEEDED=1"),
    case("join WORKERS=2 NEEDED=2"),
    case("join WORKERS=3 NEEDED=0"),
    case("signals SWEEPERS=1 PAUSES=0"),
    case("signals SWEEPERS=1"),
    case("signals SWEEPERS=2"),
]

_SMALL = "CRASHES=0"
MUTANTS = [
    *(
        case(f"ledger TOOL={tool} {_SMALL} {word}")
        for tool, word in (
            ("PLAIN", "FENCE_IS_NOT_CHECKED"),
            ("PLAIN", "STARTER_IS_NOT_CHECKED"),
            ("VERIFY", "STARTER_IS_NOT_CHECKED"),
            ("PLAIN", "STARTED_AGAIN_WITHOUT_THE_FENCE"),
            ("PLAIN", "CALLED_BEFORE_THE_INTENT"),
            ("PLAIN", "LOST_ANSWER_IS_TAKEN_FOR_YES"),
            ("PLAIN", "SILENCE_IS_TAKEN_FOR_SUCCESS"),
            ("PLAIN", "SILENCE_IS_TAKEN_FOR_REFUSAL"),
            ("PLAIN", "A_LOST_CALL_IS_MADE_AGAIN"),
            ("PLAIN", "ANY_CALL_IS_REPEATED"),
            ("PLAIN", "COMPLETED_OVER_A_DOUBT"),
            ("PLAIN", "OPEN_CALLS_ARE_LEFT"),
            ("PLAIN", "PARKED_WITHOUT_A_LOOK"),
            ("PLAIN", "LATE_TRUTH_WAKES_NOBODY"),
            ("IDEMPOTENT", "A_REFUSED_REPEAT_IS_BELIEVED"),
            ("IDEMPOTENT", "EACH_ATTEMPT_HAS_A_KEY"),
            ("VERIFY", "ABSENCE_IS_BELIEVED_AT_ONCE"),
            ("VERIFY", "ABSENCE_SPEAKS_OF_LATER_CALLS"),
            ("VERIFY", "WHAT_WAS_ASKED_WAKES_NOBODY"),
            ("ASYNC", "LATE_ACCEPTANCE_IS_LEFT"),
        )
    ),
    *(
        case(f"join WORKERS=2 NEEDED={needed} {word}")
        for needed, word in (
            (0, "THE_JOB_IS_NOT_LOCKED"),
            (0, "THE_ATTEMPT_IS_NOT_CHECKED"),
            (1, "A_RELEASED_CHILD_IS_RELEASED_AGAIN"),
            (0, "DEAD_STEPS_ARE_NOT_SKIPPED"),
            (0, "WHAT_IS_READY_OUTLIVES_THE_CANCEL"),
            (0, "THE_LAST_TO_END_IT_WINS"),
        )
    ),
    *(
        case(f"signals PAUSES=0 MAX_ATTEMPTS=1 SWEEPERS={sweepers} SENDERS={senders} {word}")
        for sweepers, senders, word in (
            (1, 3, "A_SIGNAL_IS_NOT_MATCHED_LATER"),
            (1, 3, "A_SIGNAL_IS_NOT_MARKED_AS_CONSUMED"),
            (1, 3, "PARKED_WITHOUT_A_LOOK_INTO_THE_INBOX"),
            (2, 2, "A_DEADLINE_FIRES_WITHOUT_A_GUARD"),
            (1, 3, "THE_INBOX_DOES_NOT_KNOW_DUPLICATES"),
            (1, 3, "AN_ENDED_JOB_TAKES_SIGNALS"),
        )
    ),
]
