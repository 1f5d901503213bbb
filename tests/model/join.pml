/* Parents that end at once, the child that they release, and the one end of a job: by its last step, by a failure,
 * by a cancel or by its deadline.
 *
 * A turn is in two parts, as READ COMMITTED makes it: the job's row is read when it is locked, and what the turn writes
 * is seen by others when it commits. Rows of steps are read and written at once, as one guarded UPDATE is.
 *
 * A mutant is the same model with one of the words in `#ifdef` defined: each must break a promise.
 */

#define PARENTS 3
#ifndef WORKERS
#define WORKERS 3
#endif
#ifndef NEEDED               /* by the child: so many taken edges, or all decided where it is 0 */
#define NEEDED 0
#endif
#define CHILD PARENTS
#define LAST (PARENTS + 1)
#define STEPS (PARENTS + 2)
#ifndef MAX_ATTEMPTS
#define MAX_ATTEMPTS 2
#endif
#define NOBODY 255

mtype = { blocked, ready, running, completed, failed, skipped, cancelled };
mtype = { going, ended_completed, ended_failed, ended_cancelled };

mtype status[STEPS];
byte attempt[STEPS];
byte failures[STEPS];
byte completions[STEPS];
byte releases[STEPS];
byte pending[STEPS];
byte taken[STEPS];

/* The job's row */
byte lock_holder = NOBODY;
byte unfinished = STEPS;
mtype ending = going;
mtype job = going;
byte ends = 0;

#ifdef THE_JOB_IS_NOT_LOCKED
#define LOCK skip
#define UNLOCK skip
#else
#define LOCK atomic { lock_holder == NOBODY -> lock_holder = _pid }
#define UNLOCK lock_holder = NOBODY
#endif

#ifdef THE_ATTEMPT_IS_NOT_CHECKED
#define IS_CURRENT (status[me] == running)
#else
#define IS_CURRENT (status[me] == running && attempt[me] == mine)
#endif

#define MAY_CLAIM (status[me] == ready && my_ending == going)
#ifdef THE_LAST_TO_END_IT_WINS
#define MAY_END (job == going)
#else
#define MAY_END (job == going && my_ending == going)
#endif

#define IS_FINISHED(s) (status[s] == completed || status[s] == failed || status[s] == skipped || status[s] == cancelled)

/* aetheris_releases */
#define RELEASES(s) (s == CHILD && NEEDED > 0 -> taken[s] >= NEEDED : pending[s] == 0 && taken[s] > 0)
#define IS_DEAD(s) (pending[s] == 0 || s == CHILD && NEEDED > 0 && taken[s] + pending[s] < NEEDED)

/* turn.sql, 4.: one edge to `s` is decided. A skip decides the edge to the step behind. */
inline decide(s, is_taken) {
    pending[s]--;
    taken[s] = taken[s] + is_taken;
    if
#ifdef A_RELEASED_CHILD_IS_RELEASED_AGAIN
    :: RELEASES(s) && status[s] != cancelled && !(status[s] == running) -> status[s] = ready; releases[s]++
#else
    :: status[s] == blocked && RELEASES(s) -> status[s] = ready; releases[s]++
#endif
#ifndef DEAD_STEPS_ARE_NOT_SKIPPED
    :: status[s] == blocked && !RELEASES(s) && IS_DEAD(s) -> status[s] = skipped; less++;
        if
        :: s == CHILD ->
            pending[LAST]--;
            if
            :: status[LAST] == blocked -> status[LAST] = skipped; less++
            :: else
            fi
        :: else
        fi
#endif
    :: else
    fi
}

/* turn.sql, 6.: what does not run is cancelled with a job that is ending. `my_ending` is of the row as it was read. */
inline cancel_the_rest() {
    number = 0;
    do
    :: number < STEPS ->
        if
        :: status[number] == blocked -> status[number] = cancelled; less++
#ifndef WHAT_IS_READY_OUTLIVES_THE_CANCEL
        :: status[number] == ready -> status[number] = cancelled; less++
#endif
        :: else
        fi;
        number++
    :: else -> break
    od;
    number = 0
}

inline end_of_turn() {
    if
    :: my_ending != going -> cancel_the_rest()
    :: else
    fi;
    if
    :: job == going && my_unfinished - less == 0 -> job = (my_ending == going -> ended_completed : my_ending); ends++
    :: else
    fi;
    assert(ending == going || my_ending == ending);  /* what was decided stays */
    ending = my_ending;
    unfinished = unfinished - less;
    less = 0;
    check()
}

inline check() {
    number = 0;
    do
    :: number < STEPS ->
        assert(completions[number] <= 1);
        assert(releases[number] <= 1);
        assert(job == going || IS_FINISHED(number));
        assert(ending == going || IS_FINISHED(number) || status[number] == running);
        number++
    :: else -> break
    od;
    number = 0;
    assert(ends <= 1);
    assert(job == going || unfinished == 0);
    assert(status[CHILD] != completed || (NEEDED > 0 -> taken[CHILD] >= NEEDED : pending[CHILD] == 0))
}

inline read_job() { my_ending = ending; my_unfinished = unfinished }
inline forget() { me = 0; mine = 0; my_ending = going; my_unfinished = 0 }

inline choose(wanted) {
    if
    :: d_step { status[0] == wanted -> me = 0 }
    :: d_step { status[1] == wanted -> me = 1 }
    :: d_step { status[2] == wanted -> me = 2 }
    :: d_step { status[CHILD] == wanted -> me = CHILD }
    :: d_step { status[LAST] == wanted -> me = LAST }
    fi
}

proctype worker() {
    byte me = 0;
    byte mine = 0;
    byte number = 0;
    byte less = 0;
    byte my_unfinished = 0;
    mtype my_ending = going;

    /* Any hint will do, also a late or doubled one: the row decides. */
end:
    choose(ready);
    LOCK;
    d_step { read_job() }
    if
    :: d_step { MAY_CLAIM -> status[me] = running; attempt[me]++; mine = attempt[me]; UNLOCK }
    :: d_step { !(MAY_CLAIM) -> UNLOCK; forget() } goto end
    fi;

    LOCK;
    d_step { read_job() }
    if
    :: d_step { !IS_CURRENT -> UNLOCK; forget() }
    /* Step.complete: the edge to the child is taken, or by a branch it is not */
    :: d_step { IS_CURRENT ->
        assert(attempt[me] == mine);
        status[me] = completed; completions[me]++; less++;
        if
        :: me < CHILD -> decide(CHILD, 1)
        :: me == CHILD -> decide(LAST, 1)
        :: else
        fi;
        end_of_turn(); UNLOCK; forget() }
    :: d_step { IS_CURRENT && me < CHILD ->
        status[me] = completed; completions[me]++; less++; decide(CHILD, 0); end_of_turn(); UNLOCK; forget() }
    /* Step.fail, with no edge for failure: the job is ending */
    :: d_step { IS_CURRENT && me <= 1 ->
        status[me] = failed; less++; my_ending = (my_ending == going -> ended_failed : my_ending);
        end_of_turn(); UNLOCK; forget() }
    fi;
    goto end
}

/* Step.rescue: any running step, at any moment */
proctype sweeper() {
    byte me = 0;
    byte mine = 0;
    byte number = 0;
    byte less = 0;
    byte my_unfinished = 0;
    mtype my_ending = going;
end:
    choose(running);
    d_step {
        if
        :: failures[me] + 1 < MAX_ATTEMPTS -> mine = attempt[me]
        :: else -> me = 0; mine = NOBODY
        fi }
    if
    :: mine == NOBODY -> goto gone
    :: else
    fi;
    LOCK;
    d_step { read_job() }
    d_step {
        if
        :: IS_CURRENT ->
            failures[me]++;
            if
            :: my_ending == going -> status[me] = ready
            :: else -> status[me] = cancelled; less++
            fi;
            end_of_turn()
        :: else
        fi;
        UNLOCK; forget() }
    goto end;
gone:
    skip
}

/* Job.cancel, and Job.timing_out of the sweep: perhaps, at some moment */
proctype ender(mtype as) {
    byte number = 0;
    byte less = 0;
    byte my_unfinished = 0;
    mtype my_ending = going;
    if
    :: goto gone
    :: true
    fi;
    LOCK;
    d_step { read_job() }
    d_step {
        if
        :: MAY_END -> my_ending = as; end_of_turn()
        :: else
        fi;
        UNLOCK }
gone:
    skip
}

init {
    byte number = 0;
    d_step {
        do
        :: number < PARENTS -> status[number] = ready; number++
        :: else -> break
        od;
        status[CHILD] = blocked; pending[CHILD] = PARENTS; taken[CHILD] = 0;
        status[LAST] = blocked; pending[LAST] = 1;
        number = 0
    }
    atomic {
        do
        :: number < WORKERS -> run worker(); number++
        :: else -> break
        od;
        run sweeper(); run ender(ended_cancelled); run ender(ended_failed)
    }
    timeout ->
        assert(job != going && unfinished == 0)
}
