/* Signals, and the waits that they end: before the wait or after it, twice, beside its deadline, a cancel and a pause.
 *
 * One turn is one atomic step here (the job's row is locked). Steps wait for one name, each after it was claimed; a
 * sender whose answer is lost sends again under the same id.
 *
 * A mutant is the same model with one of the words in `#ifdef` defined: each must break a promise.
 */

#ifndef STEPS
#define STEPS 2
#endif
#ifndef SENDERS              /* the last one has the id of the first */
#define SENDERS 3
#endif
#ifndef SWEEPERS
#define SWEEPERS 2
#endif
#define IDS (SENDERS - 1)
#ifndef MAX_ATTEMPTS
#define MAX_ATTEMPTS 2
#endif
#ifndef PAUSES
#define PAUSES 1
#endif
#define NOBODY 255

mtype = { ready, running, waiting, completed, failed, cancelled };
mtype = { absent, buffered, consumed, refused };
mtype = { nothing, signalled, timed_out };

mtype status[STEPS] = ready;
byte attempt[STEPS];
byte failures[STEPS];
mtype resume[STEPS] = nothing;
bool is_over[STEPS];         /* the deadline of the open wait has passed */
byte wakes[STEPS];           /* how often its wait ended */

mtype inbox[IDS] = absent;
byte uses[IDS];
bool acknowledged[IDS];
byte order[IDS];             /* of arrival */
byte arrived = 0;
bool ending = false;
bool paused = false;
bool has_ended = false;

#define IS_FINISHED(s) (status[s] == completed || status[s] == failed || status[s] == cancelled)

/* turn.sql, 3.: the oldest signal of the name to the oldest wait that is not over, until there is none */
inline bind() {
#ifndef A_SIGNAL_IS_NOT_MATCHED_LATER
    match()
#else
    skip
#endif
}
inline match() {
    found = 0;
    do
    :: found < STEPS && !ending ->
        if
        :: status[found] == waiting && !is_over[found] ->
            oldest = NOBODY; other = 0;
            do
            :: other < IDS ->
                if
                :: inbox[other] == buffered && (oldest == NOBODY || order[other] < order[oldest]) -> oldest = other
                :: else
                fi;
                other++
            :: else -> break
            od;
            if
            :: oldest != NOBODY ->
#ifndef A_SIGNAL_IS_NOT_MARKED_AS_CONSUMED
                inbox[oldest] = consumed;
#endif
                uses[oldest]++; wakes[found]++;
                status[found] = ready; resume[found] = signalled
            :: else
            fi
        :: else
        fi;
        found++
    :: else -> break
    od;
    found = 0; oldest = 0; other = 0
}

inline end_of_turn() {
    found = 0;
    do
    :: found < STEPS ->
        if
        :: ending && (status[found] == ready || status[found] == waiting) -> status[found] = cancelled
        :: else
        fi;
        found++
    :: else -> break
    od;
    found = 0; oldest = 1;
    do
    :: found < STEPS -> oldest = oldest && IS_FINISHED(found); found++
    :: else -> break
    od;
    has_ended = has_ended || oldest;
    found = 0; oldest = 0;
    check()
}

inline check() {
    found = 0;
    do
    :: found < IDS ->
        assert(uses[found] <= 1);
        assert(!acknowledged[found] || inbox[found] == buffered || inbox[found] == consumed && uses[found] == 1);
        other = 0;
        do  /* doctor: unbound */
        :: other < STEPS ->
            assert(!(inbox[found] == buffered && status[other] == waiting && !is_over[other] && !ending));
            other++
        :: else -> break
        od;
        found++
    :: else -> break
    od;
    found = 0; other = 0;
    do
    :: found < STEPS -> assert(wakes[found] <= 1); found++
    :: else -> break
    od;
    found = 0
}

proctype worker() {
    byte me = 0;
    byte mine = 0;
    mtype seen = nothing;
    byte found = 0; byte oldest = 0; byte other = 0;
end:
    if
    :: d_step { status[0] == ready && !paused && !ending -> me = 0 }
    :: d_step { status[1] == ready && !paused && !ending -> me = 1 }
    fi;
    if
    :: d_step { status[me] == ready && !paused && !ending ->
        status[me] = running; attempt[me]++; mine = attempt[me]; seen = resume[me] }
    :: d_step { !(status[me] == ready && !paused && !ending) -> me = 0 } goto end
    fi;
    if
    /* Step.park: the turn that opens the wait looks into the inbox */
    :: d_step { seen == nothing && status[me] == running && attempt[me] == mine ->
        if
        :: ending -> status[me] = cancelled
        :: else ->
            status[me] = waiting; is_over[me] = false;
#ifndef PARKED_WITHOUT_A_LOOK_INTO_THE_INBOX
            bind()
#endif
        fi;
        end_of_turn(); me = 0; mine = 0; seen = nothing }
    :: d_step { seen != nothing && status[me] == running && attempt[me] == mine ->
        status[me] = completed; end_of_turn(); me = 0; mine = 0; seen = nothing }
    :: d_step { !(status[me] == running && attempt[me] == mine) -> me = 0; mine = 0; seen = nothing }
    fi;
    goto end
}

/* recovery: lost workers, and waits that are due. What it found may have moved on when its turn comes. */
proctype sweeper() {
    byte me = 0;
    byte mine = 0;
    byte found = 0; byte oldest = 0; byte other = 0;
end:
    if
    :: d_step { status[0] == waiting && is_over[0] -> me = 0 }
    :: d_step { status[1] == waiting && is_over[1] -> me = 1 }
    :: d_step { status[0] == running && failures[0] + 1 < MAX_ATTEMPTS -> me = 0; mine = attempt[0] }
    :: d_step { status[1] == running && failures[1] + 1 < MAX_ATTEMPTS -> me = 1; mine = attempt[1] }
    fi;
    if
#ifdef A_DEADLINE_FIRES_WITHOUT_A_GUARD
    :: d_step { mine == 0 && !IS_FINISHED(me) ->
#else
    :: d_step { mine == 0 && status[me] == waiting ->
#endif
        wakes[me]++; status[me] = ready; resume[me] = timed_out; end_of_turn() }
    :: d_step { mine > 0 && status[me] == running && attempt[me] == mine ->
        failures[me]++; status[me] = ready; end_of_turn() }
    :: d_step { mine > 0 && !(status[me] == running && attempt[me] == mine) -> skip }
    :: d_step { mine == 0 && status[me] != waiting -> skip }
    fi;
    d_step { me = 0; mine = 0 };
    goto end
}

/* signals.deliver; whose answer was lost, it delivers again under the same id */
proctype sender(byte id) {
    byte tries = 0;
    byte found = 0; byte oldest = 0; byte other = 0;
again:
    atomic {
        tries++;
        if
#ifdef THE_INBOX_DOES_NOT_KNOW_DUPLICATES
        :: !ending && !has_ended ->
#else
        :: !ending && !has_ended && inbox[id] == absent ->
#endif
            d_step {
                inbox[id] = buffered; arrived++; order[id] = arrived;
                bind();
                end_of_turn() }
#ifdef AN_ENDED_JOB_TAKES_SIGNALS
        :: (ending || has_ended) && inbox[id] == absent -> inbox[id] = refused; acknowledged[id] = true
#else
        :: (ending || has_ended) && inbox[id] == absent -> inbox[id] = refused
#endif
        :: inbox[id] != absent
        fi
    };
    if
    :: tries < 2 -> goto again                       /* the answer was lost */
    :: acknowledged[id] = (inbox[id] != refused || acknowledged[id])
    fi
}

/* Time passes; a person cancels, or pauses and resumes. */
proctype others() {
    bool was_cancelled = false;
    byte pauses = 0;
    byte found = 0; byte oldest = 0; byte other = 0;
end:
    do
    :: d_step { status[0] == waiting && !is_over[0] -> is_over[0] = true }
    :: d_step { status[1] == waiting && !is_over[1] -> is_over[1] = true }
    :: d_step { !was_cancelled && !has_ended -> was_cancelled = true; ending = true; end_of_turn() }
    :: d_step { !paused && pauses < PAUSES && !has_ended -> paused = true; pauses++ }
    :: d_step { paused -> paused = false }
    od
}

init {
    byte number = 0;
    atomic {
        run worker(); run worker();
        do
        :: number < SWEEPERS -> run sweeper(); number++
        :: else -> break
        od;
        number = 0;
        do
        :: number < SENDERS -> run sender(number % IDS); number++
        :: else -> break
        od;
        run others()
    };
    timeout -> assert(has_ended)
}
