-- The invariants as questions: each answers the rows that break one. No answer is a clean bill.
-- `remedy` is what it means and what a person does, `repair` what `doctor --repair` does where that is safe.
-- `%(jobs)s` is an array of job ids, or NULL for every job. One statement sees one snapshot, and a turn changes
-- a job, its steps and its events together, so nothing that is merely in progress shows up here.

-- question: stranded
-- An unfinished job has a ready, running or waiting step, and no job without unfinished steps is unfinished.
-- remedy: Nothing will move this job. Look at `manage.py trace`; `manage.py cancel` ends it, and a fork does again what is missing.
SELECT j.id, 'job is ' || j.status || ' and no step is ready, running or waiting'
FROM aetheris_job j
WHERE j.finished_at IS NULL AND (%(jobs)s::uuid[] IS NULL OR j.id = ANY (%(jobs)s))
  AND NOT EXISTS (SELECT 1 FROM aetheris_step s WHERE s.job_id = j.id AND s.status IN ('ready', 'running', 'waiting'));

-- question: unfinished_step
-- A finished job has no unfinished step.
-- remedy: A step outlived its job. Keep the database as it is and report this.
SELECT j.id, 'job is ' || j.status || ' but step ' || s.key || ' is ' || s.status
FROM aetheris_job j JOIN aetheris_step s ON s.job_id = j.id
WHERE j.finished_at IS NOT NULL AND s.finished_at IS NULL AND (%(jobs)s::uuid[] IS NULL OR j.id = ANY (%(jobs)s));

-- question: counters
-- The job's counters are the counts of its steps.
-- remedy: Somebody changed steps or counters outside the gate. If it happens again, report this.
-- repair: the steps are counted again, if they are what the events say
SELECT j.id, format('counters say %%s ready, %%s running, %%s waiting, %%s unfinished; the steps say %%s, %%s, %%s, %%s',
    j.ready_steps, j.running_steps, j.waiting_steps, j.unfinished_steps, c.ready, c.running, c.waiting, c.unfinished)
FROM aetheris_job j
JOIN LATERAL (SELECT count(*) FILTER (WHERE s.status = 'ready') AS ready, count(*) FILTER (WHERE s.status = 'running') AS running,
    count(*) FILTER (WHERE s.status = 'waiting') AS waiting, count(*) FILTER (WHERE s.finished_at IS NULL) AS unfinished
  FROM aetheris_step s WHERE s.job_id = j.id) c ON true
WHERE (%(jobs)s::uuid[] IS NULL OR j.id = ANY (%(jobs)s))
  AND (j.ready_steps, j.running_steps, j.waiting_steps, j.unfinished_steps) IS DISTINCT FROM (c.ready, c.running, c.waiting, c.unfinished);

-- question: clocks
-- The clock of a job that has a timeout runs while the job is to work, and stands while it waits, rests or ends.
-- remedy: Somebody changed the job outside the gate. Keep the database as it is and report this.
SELECT j.id, 'job is ' || j.status || ' and its clock ' || CASE WHEN j.overdue_at IS NULL THEN 'stands' ELSE 'runs' END
FROM aetheris_job j
WHERE j.timeout IS NOT NULL AND (%(jobs)s::uuid[] IS NULL OR j.id = ANY (%(jobs)s))
  AND (j.overdue_at IS NOT NULL) <> (j.status IN ('pending', 'running') AND j.paused_at IS NULL AND j.ending_as IS NULL);

-- question: unreleased
-- A blocked step of a job that goes on has an undecided parent.
-- remedy: A release was lost: report this. A fork from the step runs it; `manage.py cancel` ends the job.
SELECT s.job_id, 'step ' || s.key || ' is blocked though its parents have ended'
FROM aetheris_step s JOIN aetheris_job j ON j.id = s.job_id
WHERE s.status = 'blocked' AND j.ending_as IS NULL
  AND NOT EXISTS (SELECT 1 FROM aetheris_scope c WHERE c.id = s.scope_id AND (c.status = 'pending' OR c.stopping)) AND (%(jobs)s::uuid[] IS NULL OR j.id = ANY (%(jobs)s))
  AND s.id NOT IN (SELECT e.child_id FROM aetheris_edge e JOIN aetheris_step p ON p.id = e.parent_id
                   WHERE p.finished_at IS NULL);

-- question: scopes
-- Of a job that goes on, a scope counts its unfinished steps, and a step that waits for scopes those that are open
-- and under way.
-- remedy: A copy of a map or plan was lost: report this. A fork from the step makes them again; `manage.py cancel` ends the job.
SELECT c.job_id, 'scope ' || c.prefix || ' counts ' || c.unfinished || ' unfinished steps, there are ' || n.unfinished
FROM aetheris_scope c JOIN aetheris_job j ON j.id = c.job_id AND j.finished_at IS NULL AND j.ending_as IS NULL
JOIN LATERAL (SELECT count(*) AS unfinished FROM aetheris_step s WHERE s.scope_id = c.id AND s.finished_at IS NULL) n ON true
WHERE c.unfinished <> n.unfinished AND (%(jobs)s::uuid[] IS NULL OR c.job_id = ANY (%(jobs)s))
UNION ALL
SELECT o.job_id, format('step %%s counts %%s open scopes, %%s under way; there are %%s, %%s', o.key, o.open_scopes, o.running_scopes, n.open, n.running)
FROM aetheris_step o JOIN aetheris_job j ON j.id = o.job_id AND j.finished_at IS NULL AND j.ending_as IS NULL
JOIN LATERAL (SELECT count(*) FILTER (WHERE c.unfinished > 0) AS open, count(*) FILTER (WHERE c.unfinished > 0 AND c.status = 'running') AS running
  FROM aetheris_scope c WHERE c.owner_id = o.id) n ON true
WHERE o.status = 'waiting' AND o.open_scopes IS NOT NULL AND (%(jobs)s::uuid[] IS NULL OR o.job_id = ANY (%(jobs)s))
  AND (o.open_scopes <> n.open OR o.open_scopes = 0 OR o.running_scopes <> n.running
    AND NOT EXISTS (SELECT 1 FROM aetheris_scope c WHERE c.owner_id = o.id AND c.stopping));

-- question: waits
-- A waiting step has an open wait.
-- remedy: Nothing can wake this step. `manage.py cancel` ends its job; a fork from the step waits anew.
SELECT s.job_id, 'step ' || s.key || ' is waiting without an open wait'
FROM aetheris_step s
WHERE s.status = 'waiting' AND (%(jobs)s::uuid[] IS NULL OR s.job_id = ANY (%(jobs)s))
  AND NOT EXISTS (SELECT 1 FROM aetheris_wait w WHERE w.step_id = s.id AND w.closed_at IS NULL);

-- question: stale_wait
-- An open wait has a waiting step.
-- remedy: The wait would take a signal that nobody hears.
-- repair: the wait is closed
SELECT s.job_id, 'step ' || s.key || ' is ' || s.status || ' with an open wait'
FROM aetheris_wait w JOIN aetheris_step s ON s.id = w.step_id
WHERE w.closed_at IS NULL AND s.status <> 'waiting' AND (%(jobs)s::uuid[] IS NULL OR s.job_id = ANY (%(jobs)s));

-- question: unbound
-- No buffered signal lies beside an open wait of its name.
-- remedy: The job will not wake by itself.
-- repair: the signal is given to the wait
SELECT w.job_id, 'signal ' || g.name || ' lies in the inbox while step ' || w.step_key || ' waits for it'
FROM aetheris_wait w JOIN aetheris_signal g ON g.job_id = w.job_id AND g.name = w.name AND g.state = 'buffered'
JOIN aetheris_job j ON j.id = w.job_id
WHERE w.closed_at IS NULL AND w.kind IN ('signal', 'approval', 'subjob') AND (w.deadline_at IS NULL OR w.deadline_at > aetheris_now())
  AND j.ending_as IS NULL AND (%(jobs)s::uuid[] IS NULL OR w.job_id = ANY (%(jobs)s));

-- question: unsettled
-- An ended step has no call that is still open, and a completed one none in doubt.
-- remedy: Settle the call: `manage.py resolve`.
SELECT l.job_id, 'call ' || l.call || ' of step ' || s.key || ' is ' || l.state || ' though the step is ' || s.status
FROM aetheris_ledger_entry l JOIN aetheris_step s ON s.id = l.step_id
WHERE (%(jobs)s::uuid[] IS NULL OR l.job_id = ANY (%(jobs)s))
  AND (s.finished_at IS NOT NULL AND l.state IN ('reserved', 'started', 'accepted')
       OR s.status = 'completed' AND l.state = 'unknown');

-- question: doubt_unasked
-- A call in doubt of an unfinished step has somebody who will settle it: the next attempt, or a person.
-- remedy: Settle the call: `manage.py resolve`.
SELECT l.job_id, 'call ' || l.call || ' of step ' || s.key || ' is in doubt and its step is ' || s.status || ' for ' || s.waiting_for
FROM aetheris_ledger_entry l JOIN aetheris_step s ON s.id = l.step_id
WHERE l.state = 'unknown' AND (%(jobs)s::uuid[] IS NULL OR l.job_id = ANY (%(jobs)s))
  AND s.status = 'waiting' AND s.waiting_for NOT LIKE 'unknown:%%';

-- question: uncompensated
-- A job that has ended left no call that its graph says to undo, unless a person gave that up.
-- remedy: Undo it by hand. Keep the database as it is and report this.
SELECT l.job_id, 'call ' || l.call || ' of step ' || s.key || ' is ' || l.state || ' though the job, ' || j.status || ', undoes what it did'
FROM aetheris_ledger_entry l JOIN aetheris_job j ON j.id = l.job_id JOIN aetheris_step s ON s.id = l.step_id
LEFT JOIN aetheris_step u ON u.id = l.undone_by_id
WHERE j.compensate <> '' AND (j.status = 'failed' AND j.compensate <> 'on_cancel' OR j.status = 'cancelled' AND j.compensate <> 'on_failure')
  AND l.state IN ('committed', 'unknown', 'accepted') AND l.policy ? 'compensate' AND u.branch IS DISTINCT FROM 'abandoned'
  AND (%(jobs)s::uuid[] IS NULL OR l.job_id = ANY (%(jobs)s));

-- question: accepted_unasked
-- A call that the outside accepted has a time by which it is asked about, and its step, if that waits, waits for it.
-- remedy: Nothing will ask what became of this call. `manage.py cancel` ends its job and leaves the call to a person.
SELECT l.job_id, 'call ' || l.call || ' of step ' || s.key || ' is accepted'
  || CASE WHEN l.answer_by IS NULL THEN ' for ever' ELSE ' and its step waits for ' || s.waiting_for END
FROM aetheris_ledger_entry l JOIN aetheris_step s ON s.id = l.step_id
WHERE l.state = 'accepted' AND (%(jobs)s::uuid[] IS NULL OR l.job_id = ANY (%(jobs)s))
  AND (l.answer_by IS NULL OR s.status = 'waiting' AND s.waiting_for <> 'call:' || l.call || '#' || l.generation);

-- question: unknown_worker
-- A running step names a worker that has a row.
-- remedy: Somebody removed the worker's row. If it happens again, report this.
-- repair: the step is rescued
SELECT s.job_id, 'step ' || s.key || ' runs in worker ' || s.worker_id || ', which has no row'
FROM aetheris_step s LEFT JOIN aetheris_worker w ON w.id = s.worker_id
WHERE s.status = 'running' AND w.id IS NULL AND (%(jobs)s::uuid[] IS NULL OR s.job_id = ANY (%(jobs)s));

-- question: gap
-- A job's events are numbered 1..seq without a gap, and the job's head is the last digest.
-- remedy: Events were removed or written outside the gate. Keep the database as it is and report this.
SELECT j.id, format('job says %%s events, there are %%s, up to %%s', j.seq, e.count, e.last)
FROM aetheris_job j
JOIN LATERAL (SELECT count(*) AS count, coalesce(max(seq), 0) AS last FROM aetheris_event WHERE job_id = j.id) e ON true
LEFT JOIN aetheris_event l ON l.job_id = j.id AND l.seq = j.seq
WHERE (%(jobs)s::uuid[] IS NULL OR j.id = ANY (%(jobs)s))
  AND (e.count <> j.seq OR e.last <> j.seq OR (j.seq > 0 AND l.digest IS DISTINCT FROM j.head));

-- question: chain
-- Each event's digest is that of its header, and names the event before.
-- remedy: History was changed. Keep the database as it is and report this.
SELECT c.job_id, 'event ' || c.seq || ' does not fit its digest or the event before'
FROM (SELECT job_id, seq, header, digest, prev,
        coalesce(lag(digest) OVER (PARTITION BY job_id ORDER BY seq), decode(repeat('00', 32), 'hex')) AS before
      FROM aetheris_event WHERE %(jobs)s::uuid[] IS NULL OR job_id = ANY (%(jobs)s)) c
WHERE c.digest <> sha256('\x00'::bytea || c.header) OR c.prev <> c.before;

-- question: missing_blob
-- A value that is kept apart is there.
-- remedy: The value is lost, its digest is known: put it back from a backup. Keep the database as it is and report this.
SELECT p.job_id, 'the value of part ' || p.name || ' of event ' || p.seq || ' is not there: blob ' || p.blob
FROM aetheris_event_part p JOIN aetheris_job j ON j.id = p.job_id
WHERE p.blob IS NOT NULL AND (%(jobs)s::uuid[] IS NULL OR p.job_id = ANY (%(jobs)s))
  AND NOT EXISTS (SELECT 1 FROM aetheris_blob b WHERE b.tenant = j.tenant AND b.digest = p.blob);
