-- Compensation: steps that undo what a job did, the last call first. Each waits for the one before it.

-- statement
-- Makes them, for a job of which nothing runs any more. A call in doubt, or one that the outside has not answered
-- yet, has its step too: that finds out first. Answers their ids and, as JSON, their keys.
CREATE OR REPLACE FUNCTION aetheris_compensate(p_job aetheris_job, p_at timestamptz, OUT steps bigint[], OUT keys text)
LANGUAGE plpgsql AS $$
BEGIN
  WITH owed AS (
      SELECT l.id, l.policy -> 'compensate' AS how, s.queue, s.priority, s.requires, s.timeout,
          'undo:' || s.key || ':' || l.call || CASE WHEN l.generation > 0 THEN '#' || l.generation ELSE '' END AS key,
          row_number() OVER (ORDER BY l.settled_at DESC, l.id DESC) AS place
        FROM aetheris_ledger_entry l CROSS JOIN LATERAL (
          SELECT key, queue, priority, requires, timeout FROM aetheris_step WHERE id = l.step_id LIMIT 1) s
        WHERE l.job_id = p_job.id AND l.state IN ('committed', 'unknown', 'accepted') AND l.policy ? 'compensate'
    ), made AS (
      INSERT INTO aetheris_step (job_id, tenant, key, kind, config, refs, "join", parents, pending_parents, taken_parents,
          status, attempt, failures, max_attempts, queue, priority, requires, timeout, waiting_for, hints, causes, ready_at)
        SELECT p_job.id, p_job.tenant, CASE WHEN length(key) > 255 THEN left(key, 222) || ':' || md5(key) ELSE key END,
            'compensation', how, '{}', 'all', (place > 1)::int, (place > 1)::int, 0,
            CASE WHEN place = 1 THEN 'ready' ELSE 'blocked' END, 0, 0, 2147483647, queue, priority, requires, timeout, '', 0, '{}', p_at
          FROM owed ORDER BY place
        RETURNING id
    ), placed AS (
      SELECT id, row_number() OVER (ORDER BY id) AS place FROM made
    )
    UPDATE aetheris_ledger_entry l SET undone_by_id = p.id
      FROM placed p JOIN owed o USING (place) WHERE l.id = o.id;
  SELECT coalesce(array_agg(id ORDER BY id), '{}'), coalesce(string_agg(to_json(key)::text, ',' ORDER BY id), '') INTO steps, keys
    FROM (SELECT id, key FROM aetheris_step WHERE job_id = p_job.id AND kind = 'compensation' OFFSET 0) s;
  INSERT INTO aetheris_edge (job_id, parent_id, child_id)
    SELECT p_job.id, steps[n], steps[n + 1] FROM generate_series(1, cardinality(steps) - 1) AS n;
END $$;

-- statement
-- Wakes a step that waits for a call in doubt, now that it is settled; it keeps what had woken it before. `chain`
-- has one event more where it did wait.
CREATE OR REPLACE FUNCTION aetheris_settle_wait(chain aetheris_chain, p_step bigint, p_at timestamptz)
RETURNS aetheris_chain LANGUAGE plpgsql AS $$
DECLARE
  r record;
BEGIN
  UPDATE aetheris_step SET status = 'ready', ready_at = p_at, run_after = NULL, waiting_for = '', hint_after = NULL, hints = 0,
      causes = ARRAY[chain.head]
    WHERE id = p_step AND status = 'waiting' AND waiting_for LIKE ANY ('{unknown:%,call:%}') RETURNING key, attempt INTO r;
  IF FOUND THEN
    UPDATE aetheris_wait SET closed_at = p_at, outcome = 'resolved' WHERE step_id = p_step AND closed_at IS NULL;
    chain := aetheris_append(chain, 'step_resumed', r.key, r.attempt, ARRAY[chain.head], '{"outcome":"resolved"}', NULL, NULL, NULL);
  END IF;
  RETURN chain;
END $$;
