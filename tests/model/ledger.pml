/* One call of one step, through the ledger: claim, fence, intent, call, settlement, doubt, late truth, rescue.
 *
 * What is one atomic step here is one transaction there: a call of aetheris_turn (runtime/sql/turn.sql) under the lock
 * of the job's row, or one exchange with the outside. Between any two of them a worker may be lost, may stand still
 * for as long as it likes, and its step may be taken from it and given to another.
 *
 * TOOL is what the tool declares. PLAIN: nothing. IDEMPOTENT: the outside knows the key again. VERIFY: it can be asked.
 * FENCING: asked for a key that it does not know, it closes it. ASYNC: it takes the call and ends it later.
 *
 * A mutant is the same model with one of the words in `#ifdef` defined: each must break a promise.
 */

#ifndef TOOL
#define TOOL PLAIN
#endif
#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef LOST
#define LOST 1
#endif
#ifndef CANCELS
#define CANCELS 1
#endif
#ifndef MAX_ATTEMPTS
#define MAX_ATTEMPTS 3
#endif
#define KEYS 4

#define PLAIN 0
#define IDEMPOTENT 1
#define VERIFY 2
#define FENCING 3
#define ASYNC 4
#define CAN_BE_ASKED (TOOL >= VERIFY)

mtype = { ready, running, waiting, completed, failed, cancelled };
mtype = { none, started, accepted, committed, refused, unknown, abandoned, spent };
mtype = { nothing, ok, no, silence, pending };
mtype = { idle, working, happened, absent, unclear };

/* The rows. The entry is that of the newest generation; those before it are spent. */
mtype step = ready;
byte attempt = 0;
byte failures = 0;
bool for_call = false;       /* what a waiting step waits for: the end of an accepted call, or else a doubt */
bool ending = false;
mtype entry = none;
byte starter = 0;            /* the attempt that made the call */
byte owner = 0;              /* and its worker */
byte key = 0;                /* the generation */
byte told = 0;               /* of how many generations the step has heard that they came to nothing */
bool was_accepted = false;
bool time_is_over = false;   /* for sending what was started last: by the age of the row */

/* The outside. */
byte effects[KEYS];
byte requests[KEYS];
bool closed[KEYS];
mtype work[KEYS] = idle;
byte in_flight = 0;          /* a request that nobody waits for any more: its key + 1 */

/* The workers' own clocks, and what may go wrong. */
bool over[WORKERS];
byte crashes = 0;
byte lost = 0;
byte polls = 0;
bool did_ask = false;        /* a person said that the call did not happen, so it may be made once more */

#define IS_FINISHED (step == completed || step == failed || step == cancelled)
#define IS_OURS (step == running && attempt == mine)
#define IS_MINE (starter == mine && key == my_key)

#ifdef FENCE_IS_NOT_CHECKED
#define FENCE true
#else
#define FENCE IS_OURS
#endif
#ifdef STARTER_IS_NOT_CHECKED
#define EVIDENCE (key == my_key)
#else
#define EVIDENCE IS_MINE
#endif

#define IS_REFUSED_OR_MAY_BE_REPEATED (key == my_key && (entry == refused || entry == unknown && (TOOL == IDEMPOTENT || TOOL == PLAIN)))
#ifdef STARTED_AGAIN_WITHOUT_THE_FENCE
#define MAY_START_AGAIN IS_REFUSED_OR_MAY_BE_REPEATED
#else
#ifdef A_LOST_CALL_IS_MADE_AGAIN
#define MAY_START_AGAIN (FENCE && (IS_REFUSED_OR_MAY_BE_REPEATED || entry == started))
#else
#define MAY_START_AGAIN (FENCE && IS_REFUSED_OR_MAY_BE_REPEATED)
#endif
#endif

/* What was asked is an answer about the calls that were made until then, and about none that was made since. */
#ifdef ABSENCE_SPEAKS_OF_LATER_CALLS
#define IS_SAME_DOUBT (entry == unknown && key == my_key)
#else
#define IS_SAME_DOUBT (entry == unknown && key == my_key && starter == seen_starter)
#endif

/* The outside gets a request under a key. */
inline arrive(k) {
    if
    :: closed[k]
    :: !closed[k] && TOOL == ASYNC && work[k] == idle -> work[k] = working
    :: !closed[k] && TOOL == ASYNC && work[k] != idle
    :: !closed[k] && TOOL == IDEMPOTENT && effects[k] > 0
    :: !closed[k] && TOOL != ASYNC && !(TOOL == IDEMPOTENT && effects[k] > 0) -> effects[k]++
    fi;
    requests[k]++
}

/* turn.sql, `IF closing`: what an ended step leaves open may or may not have happened. */
inline close_calls() {
#ifndef OPEN_CALLS_ARE_LEFT
    if
    :: entry == started || entry == accepted -> entry = unknown
    :: else
    fi
#else
    skip
#endif
}

inline go_ready() {
    if
    :: ending -> step = cancelled; close_calls()
    :: else -> step = ready
    fi
}

inline fail() { step = failed; close_calls() }

/* Turn.retry, Turn.rescue, Turn.fail */
inline retry_or_fail() {
    failures++;
    if
    :: failures >= MAX_ATTEMPTS -> fail()
    :: else -> go_ready()
    fi
}

/* settlements.alone, answers.tell, resolution.resolve: a settled doubt wakes the step that waits for it. */
inline wake() {
    if
    :: step == waiting -> go_ready()
    :: else
    fi
}

/* Invocation.settle_now: also of an attempt that has lost its step, whose successor may wait in doubt by now. */
inline wake_after_asking() {
#ifndef WHAT_WAS_ASKED_WAKES_NOBODY
    wake();
#endif
#ifndef LATE_ACCEPTANCE_IS_LEFT
    if  /* too late for its step, which will not ask */
    :: IS_FINISHED -> close_calls()
    :: else
    fi
#endif
}

/* turn.sql, 'move' to waiting: somebody may have settled the call while the step looked at it. */
inline park(is_for_call) {
    if
    :: ending -> step = cancelled; close_calls()
#ifdef PARKED_WITHOUT_A_LOOK
    :: else -> step = waiting; for_call = is_for_call
#else
    :: !ending && is_for_call && entry == accepted -> step = waiting; for_call = true
    :: !ending && !is_for_call && entry == unknown -> step = waiting; for_call = false
    :: else -> step = ready
#endif
    fi
}

/* What holds after every transaction. */
inline check() {
    assert(effects[0] + effects[1] + effects[2] + effects[3] <= 1);
    assert(TOOL != PLAIN || requests[0] <= 1 || did_ask);
    assert(entry != committed || effects[key] == 1);
    assert(entry != refused || effects[key] == 0 && work[key] != working && work[key] != happened);
    assert(step != completed || entry == committed);
    assert(!IS_FINISHED || entry != started && entry != accepted);
    assert(step != waiting || entry == unknown || entry == accepted)
}

#define DIES :: crashes < CRASHES -> d_step { crashes++; forget() } goto idle_worker
inline forget() { mine = 0; my_key = 0; seen = none; seen_starter = 0; seen_over = false; repeats = false; got = nothing; over[me] = false }

/* One process of a worker after another; `me` is the machine. */
proctype worker(byte me) {
    byte mine = 0;           /* the attempt that it claimed: its fence */
    byte my_key = 0;
    mtype seen = none;       /* the entry, as the ledger answered the intent */
    byte seen_starter = 0;
    bool seen_over = false;
    bool repeats = false;    /* the call is made again over a doubt */
    mtype got = nothing;

idle_worker:
    atomic { forget() };
end_idle:
    /* models.step.claim: any hint will do, the row decides */
    if
    :: d_step { step == ready && !ending -> step = running; attempt++; mine = attempt }
    fi;

begin:
    /* Invocation._intend, or the intent that rides with the claim: aetheris_intend */
    got = nothing;
    if
    :: d_step { IS_OURS && entry != none && !(entry == spent && my_key > key) ->
        seen = entry; seen_starter = starter; seen_over = time_is_over; my_key = key } goto known
    :: d_step { IS_OURS && (entry == none || entry == spent && my_key > key) ->
#ifndef CALLED_BEFORE_THE_INTENT
        entry = started; starter = mine; owner = me; key = my_key; was_accepted = false; time_is_over = false;
#endif
        over[me] = false } goto send
    /* the answer to the COMMIT is lost: recall.answer_of looks whether the row is mine */
    :: d_step { IS_OURS && entry == none && lost < LOST ->
        lost++; entry = started; starter = mine; owner = me; key = my_key; time_is_over = false; over[me] = false }
        goto recall
    :: d_step { IS_OURS && entry == none && lost < LOST -> lost++; over[me] = false } goto recall
    :: d_step { !IS_OURS -> skip } goto idle_worker
    DIES
    fi;

recall:
    if
#ifdef LOST_ANSWER_IS_TAKEN_FOR_YES
    :: true -> goto send
#else
    :: d_step { entry == started && IS_MINE -> skip } goto send
    :: d_step { !(entry == started && IS_MINE) -> skip } goto begin
#endif
    DIES
    fi;

send:
    /* Invocation._send: the deadline is looked at last, then the first byte leaves. What takes the request is up to
       the outside; whether we hear of it, to the network. */
    if
    :: d_step { over[me] -> got = no }
    :: d_step { !over[me] -> got = (closed[my_key] -> no : (TOOL == ASYNC -> pending : ok)); arrive(my_key); check() }
    :: d_step { !over[me] && lost < LOST -> lost++; got = silence; arrive(my_key); check() }
    :: d_step { !over[me] && lost < LOST && in_flight == 0 -> lost++; got = silence; in_flight = my_key + 1 }
    :: d_step { !over[me] && lost < LOST -> lost++; got = silence }
    :: d_step { !over[me] && lost < LOST -> lost++; got = no }
    DIES
    fi;
    d_step {
        if  /* Invocation._refused: that this request did nothing says nothing of the one before it */
#ifndef A_REFUSED_REPEAT_IS_BELIEVED
        :: got == no && repeats -> got = silence
#endif
        :: else
        fi
    }
#ifdef CALLED_BEFORE_THE_INTENT
    d_step {
        if
        :: entry == none && IS_OURS -> entry = started; starter = mine; owner = me; key = my_key; time_is_over = false
        :: else
        fi
    };
#endif

settle:
    if
    /* execution.record: the settlement rides with the step's record, both or neither */
    :: d_step { got == ok && FENCE && EVIDENCE && (entry == started || entry == unknown) ->
        entry = committed; step = completed; check() } goto idle_worker
    :: d_step { got == no && FENCE && EVIDENCE && (entry == started || entry == unknown) ->
        entry = refused; retry_or_fail(); check() } goto idle_worker
    :: d_step { got == silence && FENCE && EVIDENCE && entry == started ->
#ifdef SILENCE_IS_TAKEN_FOR_SUCCESS
        entry = committed; step = completed;
#else
#ifdef SILENCE_IS_TAKEN_FOR_REFUSAL
        entry = refused; retry_or_fail();
#else
        entry = unknown;
        if
        :: TOOL == PLAIN || failures + 1 >= MAX_ATTEMPTS -> park(false)
        :: else -> retry_or_fail()
        fi;
#endif
#endif
        check() } goto idle_worker
    /* Outstanding.accept: evidence, in a turn of its own */
    :: d_step { got == pending && EVIDENCE && (entry == started || entry == unknown) ->
        entry = accepted; was_accepted = true; wake_after_asking(); check() } goto wait_for_call
    :: d_step { got == pending && !(EVIDENCE && (entry == started || entry == unknown)) -> skip } goto begin
    /* the record was refused: execution._settle_alone, and if the step is still ours, once more from the beginning */
    :: d_step { got != pending && !(FENCE && EVIDENCE && (entry == started || entry == unknown && got != silence)) -> skip }
        goto alone
    /* a step function settles each call at once, before its step is recorded */
    :: d_step { got == ok && EVIDENCE && (entry == started || entry == unknown) ->
        entry = committed; wake(); check() } goto record
    DIES
    fi;

alone:
    if
    :: d_step { got == ok && EVIDENCE && (entry == started || entry == unknown) ->
        entry = committed;
#ifndef LATE_TRUTH_WAKES_NOBODY
        wake();
#endif
        check() } goto ours
    :: d_step { got == no && EVIDENCE && (entry == started || entry == unknown) -> entry = refused; wake(); check() } goto ours
    :: d_step { got == silence && EVIDENCE && entry == started -> entry = unknown; check() } goto ours
    :: d_step { !(EVIDENCE && (entry == started || entry == unknown && got != silence)) -> skip } goto ours
    DIES
    fi;
ours:
    if
    :: d_step { IS_OURS -> skip } goto begin
    :: d_step { !IS_OURS -> skip } goto idle_worker
    fi;

known:
    /* Invocation._resume: what is recorded decides */
    if
    :: seen == committed -> goto record
    :: seen == refused -> goto start_again
    :: seen == started && seen_starter == mine -> goto idle_worker
    :: seen == started && seen_starter != mine ->
#ifdef A_LOST_CALL_IS_MADE_AGAIN
        goto start_again
#else
        if
        :: d_step { entry == started && starter == seen_starter && key == my_key -> entry = unknown; check() }
            seen = unknown; goto doubt
        :: d_step { !(entry == started && starter == seen_starter && key == my_key) -> skip } goto begin
        DIES
        fi
#endif
    :: seen == unknown -> goto doubt
    :: seen == accepted -> goto poll
    :: seen == abandoned -> goto give_up
    /* an end without the effect is told to the step once; after that the call is made anew */
    :: seen == spent && TOOL == ASYNC && told <= my_key -> goto later
    :: seen == spent && !(TOOL == ASYNC && told <= my_key) -> my_key++; goto begin
    fi;

doubt:
    /* Invocation.out_of_doubt: what the tool declares decides, else a person */
    if
#ifdef ANY_CALL_IS_REPEATED
    :: true -> goto start_again
#else
    :: TOOL == PLAIN -> goto wait_in_doubt
    :: TOOL == IDEMPOTENT -> goto start_again
    :: CAN_BE_ASKED -> goto ask
#endif
    fi;

ask:
    /* verify or poll, at one moment; what is done with the answer, at a later one */
    if
    :: d_step { effects[my_key] > 0 -> got = happened }
    :: d_step { effects[my_key] == 0 && TOOL != ASYNC -> got = absent; closed[my_key] = closed[my_key] || TOOL == FENCING }
    :: d_step { TOOL == ASYNC && work[my_key] == idle -> got = absent }
    :: d_step { TOOL == ASYNC && work[my_key] == working -> got = pending }
    :: d_step { TOOL == ASYNC && work[my_key] == absent -> got = no }
    :: d_step { lost < LOST -> lost++; got = unclear }
    DIES
    fi;
    if
    :: got == happened ->
        if
        :: d_step { entry == unknown && key == my_key -> entry = committed; wake_after_asking(); check() } goto record
        :: d_step { !(entry == unknown && key == my_key) -> skip } goto begin
        DIES
        fi
    :: got == absent && TOOL == FENCING ->
        if
        :: d_step { entry == unknown && key == my_key -> entry = spent; my_key = key + 1; wake_after_asking(); check() } goto begin
        :: d_step { !(entry == unknown && key == my_key) -> skip } goto begin
        DIES
        fi
#ifdef ABSENCE_IS_BELIEVED_AT_ONCE
    :: got == absent && TOOL != FENCING ->
#else
    :: got == absent && TOOL != FENCING && seen_over && !was_accepted ->
#endif
        if
        :: d_step { IS_SAME_DOUBT -> entry = refused; wake_after_asking(); check() } goto start_again
        :: d_step { !(IS_SAME_DOUBT) -> skip } goto begin
        DIES
        fi
    :: got == absent && TOOL != FENCING && !(seen_over && !was_accepted) -> goto later
    :: got == no -> goto ended_without
    :: got == pending ->
        if
        :: d_step { entry == unknown && key == my_key && !was_accepted -> entry = accepted; was_accepted = true; wake_after_asking(); check() } goto wait_for_call
        :: d_step { !(entry == unknown && key == my_key) -> skip } goto begin
        :: d_step { entry == unknown && key == my_key && was_accepted -> skip } goto wait_in_doubt
        DIES
        fi
    :: got == unclear -> goto later
    fi;

start_again:
    /* Invocation._start_again: the same key, a new attempt; a decision, so it takes the fence */
    if
    :: d_step { MAY_START_AGAIN ->
        repeats = (entry == unknown);
        entry = started; starter = mine; owner = me; time_is_over = false; over[me] = false;
#ifdef EACH_ATTEMPT_HAS_A_KEY
        my_key = (attempt - 1) % KEYS; key = my_key;
#endif
        check() } goto send
    :: d_step { !(MAY_START_AGAIN) -> skip } goto idle_worker
    DIES
    fi;

poll:
    /* Outstanding.ask */
    if
    :: d_step { work[my_key] == happened -> got = happened }
    :: d_step { work[my_key] == absent -> got = no }
    :: d_step { work[my_key] == working -> got = pending }
    :: d_step { work[my_key] == working && lost < LOST -> lost++; got = unclear }  /* its time is over */
    DIES
    fi;
    if
    :: got == happened ->
        if
        :: d_step { entry == accepted && key == my_key -> entry = committed; wake_after_asking(); check() } goto record
        :: d_step { !(entry == accepted && key == my_key) -> skip } goto begin
        DIES
        fi
    :: got == no -> goto ended_without
    :: got == pending -> goto wait_for_call
    :: got == unclear ->
        if
        :: d_step { entry == accepted && key == my_key -> entry = unknown; check() } goto wait_in_doubt
        :: d_step { !(entry == accepted && key == my_key) -> skip } goto begin
        DIES
        fi
    fi;

ended_without:
    /* Outstanding.fail: it ended outside without the effect; a later attempt makes it anew, under a new key */
    if
    :: d_step { key == my_key && (entry == accepted || entry == unknown) -> entry = spent; wake_after_asking(); check() } goto later
    :: d_step { !(key == my_key && (entry == accepted || entry == unknown)) -> skip } goto begin
    DIES
    fi;

record:
    /* Step.complete: the gate refuses it over a call that is not settled */
    if
    :: d_step { FENCE -> step = completed; check() } goto idle_worker
    :: d_step { !IS_OURS -> skip } goto idle_worker
    DIES
    fi;

later:
    if
    :: d_step { FENCE && failures + 1 >= MAX_ATTEMPTS && entry == unknown -> park(false); check() } goto idle_worker
    :: d_step { FENCE && !(failures + 1 >= MAX_ATTEMPTS && entry == unknown) ->
        told = (entry == spent -> key + 1 : told); retry_or_fail(); check() } goto idle_worker
    :: d_step { !IS_OURS -> skip } goto idle_worker
    DIES
    fi;

give_up:
    if
    :: d_step { FENCE -> fail(); check() } goto idle_worker
    :: d_step { !IS_OURS -> skip } goto idle_worker
    DIES
    fi;

wait_in_doubt:
#ifdef COMPLETED_OVER_A_DOUBT
    if :: d_step { FENCE -> step = completed; check() } goto idle_worker :: !IS_OURS -> goto idle_worker fi;
#endif
    if
    :: d_step { FENCE -> park(false); check() } goto idle_worker
    :: d_step { !IS_OURS -> skip } goto idle_worker
    DIES
    fi;

wait_for_call:
    if
    :: d_step { FENCE -> park(true); check() } goto idle_worker
    :: d_step { !IS_OURS -> skip } goto idle_worker
    DIES
    fi
}

/* recovery.rescue_lost, end_overdue, wake_due. A lease may vanish at any moment, so any running step may be rescued. */
proctype sweeper() {
    byte found = 0;
end:
    if
    :: d_step { step == running -> found = attempt }
        if
        :: d_step { step == running && attempt == found -> retry_or_fail(); check() }
        :: d_step { !(step == running && attempt == found) -> skip }
        fi
    :: d_step { step == waiting && for_call && polls < 2 -> polls++; go_ready(); check() }  /* a poll is due */
    fi;
    found = 0;
    goto end
}

/* resolution.resolve: a person looks outside, and says what is so. Absent, once nothing can arrive any more. */
proctype person() {
end:
    if
    :: d_step { entry == unknown && effects[key] > 0 -> entry = committed; wake(); check() }
    :: d_step { entry == unknown && step == waiting && effects[key] == 0 && work[key] != working && in_flight == 0 && time_is_over ->
        entry = refused; did_ask = true; was_accepted = false; wake(); check() }
    :: d_step { entry == unknown && step == waiting && (effects[key] == 0 || TOOL == PLAIN) -> entry = abandoned; wake(); check() }
    fi;
    goto end
}

/* Job.cancel: what does not run ends now, what runs is told. */
proctype canceller() {
    byte left = CANCELS;
end:
    do
    :: d_step { left > 0 && !IS_FINISHED -> left = 0; ending = true;
        if
        :: step == ready || step == waiting -> step = cancelled; close_calls()
        :: else
        fi;
        check() }
    od
}

/* Whoever began earlier has no more time either. */
inline all_are_over() {
    number = 0;
    do
    :: number < WORKERS -> over[number] = true; number++
    :: else -> break
    od;
    number = 0
}

/* What was sent arrives in the end, and the time to send runs out once nothing of it is under way. */
proctype outside() {
    byte number = 0;
end:
    do
    :: d_step { in_flight > 0 -> arrive(in_flight - 1); in_flight = 0; check() }
    :: d_step { !time_is_over && entry != none && in_flight == 0 -> time_is_over = true; all_are_over() }
    :: d_step { TOOL == ASYNC && work[key] == working -> work[key] = happened; effects[key]++; check() }
    :: d_step { TOOL == ASYNC && work[key] == working -> work[key] = absent; check() }
    od
}

/* answers.tell: a webhook tells how a call ended, by what it saw of the entry before. */
proctype webhook() {
    mtype known = none;
    byte my_key = 0;
end:
    do
    :: d_step { TOOL == ASYNC && (work[key] == happened || work[key] == absent) && (entry == started || entry == accepted || entry == unknown) ->
        known = entry; my_key = key }
        if
        :: d_step { entry == known && key == my_key && work[key] == happened -> entry = committed; wake(); check() }
        :: d_step { entry == known && key == my_key && work[key] == absent -> entry = spent; wake(); check() }
        :: d_step { !(entry == known && key == my_key) -> skip }
        fi;
        d_step { known = none; my_key = 0 }
    od
}

init {
    byte number = 0;
    atomic {
        do
        :: number < WORKERS -> run worker(number); number++
        :: else -> break
        od;
        run sweeper(); run person(); run canceller(); run outside(); run webhook()
    };
    /* Nothing can move: then the step has ended, and every call is settled or known to be in doubt. */
    timeout ->
        assert(IS_FINISHED);
        assert(entry != started && entry != accepted)
}
