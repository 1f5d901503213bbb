-- The gate. Every change of a job goes through one call of aetheris_turn(jsonb).
--
-- A job is a graph of steps. A step is blocked until its incoming edges are decided, then ready; a worker
-- claims it (running, attempt + 1), and it completes, fails, waits, or goes back to ready. What ends a step
-- decides its outgoing edges; the last undecided edge of a child makes the child ready or skips it, and a
-- skip decides edges in turn. When no step is unfinished the job ends. A step that fails with no edge for
-- failure, and a cancel, set ending_as: nothing is claimed any more, what does not run is cancelled, and the
-- job ends with its last running step.
--
-- Where the graph says so, calls that happened are then undone: steps of kind compensation, one after another, the
-- last call first, run though the job is ending. See compensation.sql.
--
-- A step may expand into a sub-graph: once (`plan`) or once per item (`map`). Each copy is a scope. Its steps
-- end as all steps do, but a failure ends the scope, not the job; the last step of a scope closes it, a closed
-- scope lets the next one begin, and when all are closed the owner, which waited, is ready again.
--
-- One turn does this for one job:
--   1. lock the job row (FOR NO KEY UPDATE). This orders the job's events, and lets the last of several
--      parents see that the others have finished: under READ COMMITTED the look must be a later statement
--      than the lock.
--   2. make the guarded moves. Each names the old states and the attempt; a move that touches no row raises
--      AE001 and nothing of the turn happens.
--   3. bind buffered signals to open waits, oldest first, one signal to one wait.
--   4. decide edges, release and skip children.
--   5. close scopes, wake their owners, begin the next ones.
--   6. end the job, or claim what may follow; where nothing does, a step of another job, see take.sql.
--   7. append the events, all along: header bytes in fixed key order (equal to RFC 8785 on what they may hold), digest
--      SHA-256(0x00 || header), linked to the digest before.
--
-- Fragments that Python canonicalised (data, commitments) travel as text: jsonb would reorder their keys.

-- statement
CREATE OR REPLACE FUNCTION aetheris_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
  SELECT clock_timestamp() + coalesce(nullif(current_setting('aetheris.clock_offset', true), ''), '0')::interval
$$;

-- statement
-- Whether edges that were decided so let a step run. `needed` is NULL for the join `all`.
CREATE OR REPLACE FUNCTION aetheris_releases(needed int, pending int, taken int) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN needed IS NULL THEN pending = 0 AND taken > 0 ELSE taken >= needed END
$$;

-- statement
-- Appends one event and moves the head of the chain that `chain` carries through a turn.
CREATE OR REPLACE FUNCTION aetheris_append(
  chain aetheris_chain, p_type text, p_step text, p_attempt int, p_causes bytea[], p_data text, p_sd text,
  p_parts jsonb, p_call text
) RETURNS aetheris_chain LANGUAGE plpgsql AS $$
DECLARE
  v_header bytea;
  v_digest bytea;
  v_causes text := '';
BEGIN
  chain.seq := chain.seq + 1;
  IF cardinality(p_causes) = 1 THEN
    v_causes := '"' || encode(p_causes[1], 'hex') || '"';
  ELSIF cardinality(p_causes) > 1 THEN
    SELECT string_agg('"' || c || '"', ',' ORDER BY c) INTO v_causes
      FROM (SELECT DISTINCT encode(unnest, 'hex') COLLATE "C" AS c FROM unnest(p_causes[1:32])) AS d;
  END IF;
  v_header := convert_to(
    '{"at":"' || chain.at_text || '"'
    || CASE WHEN p_attempt IS NULL THEN '' ELSE ',"attempt":' || p_attempt END
    || ',"causes":[' || coalesce(v_causes, '') || ']'
    || ',"data":' || coalesce(p_data, '{}')
    || ',"job":"' || chain.job || '"'
    || ',"log":' || to_json(chain.log)::text
    || ',"prev":"' || encode(chain.head, 'hex') || '"'
    || ',"sd":[' || coalesce(p_sd, '') || ']'
    || ',"seq":' || chain.seq
    || CASE WHEN p_step IS NULL THEN '' ELSE ',"step":' || to_json(p_step)::text END
    || ',"tenant":' || to_json(chain.tenant)::text
    || ',"type":"' || p_type || '","v":1'
    || CASE WHEN chain.worker IS NULL THEN '' ELSE ',"worker":"' || chain.worker || '"' END
    || '}', 'UTF8');
  v_digest := sha256('\x00'::bytea || v_header);
  INSERT INTO aetheris_event (job_id, seq, tenant, type, step, attempt, worker, at, call, header, digest, prev)
    VALUES (chain.job, chain.seq, chain.tenant, p_type, p_step, p_attempt, chain.worker, chain.at, p_call,
            v_header, v_digest, chain.head);
  IF p_parts IS NOT NULL THEN
    INSERT INTO aetheris_event_part (job_id, seq, name, salt, value, blob)
      SELECT chain.job, chain.seq, key, value ->> 'salt', value -> 'value', value ->> 'blob' FROM jsonb_each(p_parts);
  END IF;
  chain.head := v_digest;
  RETURN chain;
END $$;

-- statement
-- What a worker needs to run a claimed step: the step, its job, and its only child where there is one, so
-- that the turn that records the step can name what it wants to claim next.
CREATE OR REPLACE FUNCTION aetheris_claimed(p_step bigint, p_with_job boolean, p_with_results boolean) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  v jsonb;
BEGIN
  SELECT jsonb_build_object('id', s.id, 'job_id', s.job_id, 'tenant', s.tenant, 'key', s.key, 'kind', s.kind, 'config', s.config,
      'refs', s.refs, 'scope_id', s.scope_id, 'status', s.status, 'attempt', s.attempt, 'failures', s.failures, 'max_attempts', s.max_attempts,
      'queue', s.queue, 'timeout', s.timeout, 'resume', s.resume, 'error', s.error, 'worker_id', s.worker_id,
      'next', (SELECT CASE WHEN count(*) = 1 THEN (array_agg(x.child))[1] END
               FROM (SELECT c.child FROM aetheris_edge e CROSS JOIN LATERAL (
                       SELECT CASE WHEN parents = 1 THEN jsonb_build_object('id', id, 'key', key, 'kind', kind,
                           'config', config, 'refs', refs, 'scope_id', scope_id, 'queue', queue, 'timeout', timeout) END AS child
                         FROM aetheris_step WHERE id = e.child_id LIMIT 1) c
                     WHERE e.job_id = s.job_id AND e.parent_id = s.id LIMIT 2) x))
    INTO v FROM aetheris_step s WHERE s.id = p_step;
  IF p_with_job THEN
    v := v || (SELECT jsonb_build_object('job', jsonb_build_object('id', j.id, 'tenant', j.tenant, 'agent', j.agent,
        'agent_version', j.agent_version, 'code', j.code, 'input', j.input, 'result_template', j.result_template))
      FROM aetheris_job j WHERE j.id = (v ->> 'job_id')::uuid);
  END IF;
  IF p_with_results THEN
    v := v || (SELECT jsonb_build_object('results', coalesce(jsonb_object_agg(u.key, u.result), '{}')) FROM jsonb_each_text(v -> 'refs') AS ref
      CROSS JOIN LATERAL (SELECT key, result FROM aetheris_step WHERE job_id = (v ->> 'job_id')::uuid AND key = ref.value LIMIT 1) u);
  END IF;
  IF v ->> 'scope_id' IS NOT NULL THEN
    v := v || (SELECT jsonb_build_object('bindings', c.bindings) FROM aetheris_scope c WHERE c.id = (v ->> 'scope_id')::bigint);
  END IF;
  RETURN v;
END $$;

-- statement
-- Inserts an intended effect, or answers what is recorded under its key already.
CREATE OR REPLACE FUNCTION aetheris_intend(
  p_job uuid, p_tenant text, p_worker uuid, p_at timestamptz, op jsonb, p_attempt int
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  v jsonb;
BEGIN
  INSERT INTO aetheris_ledger_entry (tenant, job_id, step_id, call, generation, kind, name, state, attempt, worker_id, fingerprint,
      idempotency_key, policy, arguments, source, provider, external_id, calls, reserved_at, started_at, poll_errors, resolved_by, resolved_why)
    VALUES (p_tenant, p_job, (op ->> 'step')::bigint, op ->> 'call', (op ->> 'generation')::int, op ->> 'kind', op ->> 'name', op ->> 'state',
      p_attempt, p_worker, decode(op ->> 'fingerprint', 'hex'), (op ->> 'idempotency_key')::uuid, op -> 'policy',
      coalesce(op -> 'parts' -> 'tool.arguments' -> 'value', op -> 'parts' -> 'llm.messages' -> 'value'), '', coalesce(op ->> 'provider', ''), '',
      (op ->> 'state' = 'started')::int, p_at, CASE WHEN op ->> 'state' = 'started' THEN p_at END, 0, '', '')
    ON CONFLICT (job_id, step_id, call, generation) DO NOTHING;
  IF FOUND THEN
    RETURN '{"inserted": true}';
  END IF;
  SELECT jsonb_build_object('inserted', false, 'entry', jsonb_build_object('state', state, 'attempt', attempt,
      'fingerprint', encode(fingerprint, 'hex'), 'result', result, 'error', error, 'calls', calls, 'worker_id', worker_id,
      'age', extract(epoch FROM p_at - reserved_at), 'sent_age', extract(epoch FROM p_at - started_at),
      'external_id', external_id, 'answer_in', extract(epoch FROM answer_by - p_at), 'poll_errors', poll_errors,
      'followed', EXISTS (SELECT 1 FROM aetheris_ledger_entry f WHERE f.job_id = p_job AND f.step_id = l.step_id
        AND f.call = l.call AND f.generation > l.generation)))
    INTO v FROM aetheris_ledger_entry l
    WHERE job_id = p_job AND step_id = (op ->> 'step')::bigint AND call = op ->> 'call' AND generation = (op ->> 'generation')::int;
  RETURN v;
END $$;

-- statement
-- Decides the edges of blocked steps anew from what their parents are, and releases what they release. A turn
-- counts edges down as parents end; this counts from scratch, for a job that was put together from a history.
CREATE OR REPLACE FUNCTION aetheris_redecide(p_job uuid, p_at timestamptz) RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
  v_ready bigint[];
BEGIN
  UPDATE aetheris_step s SET pending_parents = d.pending, taken_parents = d.taken
    FROM (SELECT e.child_id, (count(*) FILTER (WHERE p.finished_at IS NULL))::int AS pending,
            (count(*) FILTER (WHERE p.status = 'completed' AND (e."when" IS NULL OR e."when" = p.branch)
                                 OR p.status = 'failed' AND e."when" = 'failed'))::int AS taken
          FROM aetheris_edge e JOIN aetheris_step p ON p.id = e.parent_id WHERE e.job_id = p_job GROUP BY e.child_id) d
    WHERE s.job_id = p_job AND s.id = d.child_id AND s.status = 'blocked';
  WITH ready AS (
    UPDATE aetheris_step s SET status = 'ready', ready_at = p_at
      WHERE s.job_id = p_job AND s.status = 'blocked'
        AND (s.parents = 0 OR aetheris_releases(s.join_needed, s.pending_parents, s.taken_parents))
        AND NOT EXISTS (SELECT 1 FROM aetheris_scope c WHERE c.id = s.scope_id AND c.status = 'pending')
      RETURNING s.id)
  SELECT coalesce(array_agg(id ORDER BY id), '{}') INTO v_ready FROM ready;
  RETURN v_ready;
END $$;

-- statement
-- Lets pending scopes of an owner begin, in item order, while fewer than `max_parallel` are under way; after a
-- reopening a scope may have scopes within it that go on with it.
CREATE OR REPLACE FUNCTION aetheris_fill(p_owner bigint, p_at timestamptz, OUT ready bigint[], OUT dead bigint[])
LANGUAGE plpgsql AS $$
DECLARE
  v_scope bigint;
  v_begun bigint[];
  v_last int;
  v_free bigint[];
  v_dead bigint[];
  inside record;
BEGIN
  ready := '{}';
  dead := '{}';
  WITH running AS (
      UPDATE aetheris_scope SET status = 'running' WHERE id = ANY (ARRAY(
          SELECT id FROM aetheris_scope WHERE owner_id = p_owner AND status = 'pending'
              AND index >= (SELECT next_scope FROM aetheris_step WHERE id = p_owner) ORDER BY index
            LIMIT greatest(0, (SELECT max_parallel - running_scopes FROM aetheris_step WHERE id = p_owner))))
        RETURNING id, index)
    SELECT coalesce(array_agg(id ORDER BY index), '{}'), max(index) INTO v_begun, v_last FROM running;
  IF cardinality(v_begun) = 0 THEN
    RETURN;
  END IF;
  UPDATE aetheris_step SET running_scopes = running_scopes + cardinality(v_begun), next_scope = v_last + 1 WHERE id = p_owner;
  FOREACH v_scope IN ARRAY v_begun LOOP
    WITH free AS (
      UPDATE aetheris_step s SET status = 'ready', ready_at = p_at WHERE s.scope_id = v_scope AND s.status = 'blocked'
        AND (s.parents = 0 OR aetheris_releases(s.join_needed, s.pending_parents, s.taken_parents))
        RETURNING s.id)
      SELECT array_agg(id ORDER BY id) INTO v_free FROM free;
    SELECT array_agg(s.id ORDER BY s.id) INTO v_dead FROM (
      SELECT id FROM aetheris_step WHERE scope_id = v_scope AND status = 'blocked' AND parents > 0
        AND (pending_parents = 0 OR taken_parents + pending_parents < join_needed) OFFSET 0) s;
    ready := ready || v_free;
    dead := dead || v_dead;
    FOR inside IN SELECT x.ready, x.dead FROM aetheris_step s, aetheris_fill(s.id, p_at) AS x
        WHERE s.scope_id = v_scope AND s.status = 'waiting' AND s.open_scopes > 0 LOOP
      ready := ready || inside.ready;
      dead := dead || inside.dead;
    END LOOP;
  END LOOP;
END $$;

-- statement
-- Puts a failed job back to where it can go on: what failed or was cancelled with it is undecided again, what
-- completed stays completed and what it called stays called. Answers the steps that are ready now. `runtime.fold`
-- does the same from the events.
CREATE OR REPLACE FUNCTION aetheris_reopen(p_job uuid, p_at timestamptz) RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
  v_ready bigint[];
BEGIN
  -- What fell inside an expansion that went well, because its policy tolerates that, stays as it is.
  WITH RECURSIVE fallen AS (
      SELECT s.id, s.scope_id FROM aetheris_step s
        WHERE s.job_id = p_job AND (s.status = 'cancelled' OR s.status = 'failed' AND NOT EXISTS (
          SELECT 1 FROM aetheris_edge e WHERE e.job_id = p_job AND e.parent_id = s.id AND e."when" = 'failed'))),
    undone AS (
      SELECT id FROM fallen WHERE scope_id IS NULL
      UNION ALL SELECT f.id FROM undone u JOIN aetheris_scope c ON c.owner_id = u.id JOIN fallen f ON f.scope_id = c.id)
  UPDATE aetheris_step s SET status = 'blocked', finished_at = NULL, failures = 0, branch = NULL, run_after = NULL,
      resume = CASE WHEN s.open_scopes IS NOT NULL THEN '{"outcome": "expanded"}'::jsonb
                    WHEN s.status = 'failed' AND s.resume ->> 'outcome' = 'timed_out' THEN NULL  -- it waits once more
                    ELSE s.resume END,
      hint_after = NULL, hints = 0
    FROM undone u WHERE s.id = u.id;
  UPDATE aetheris_scope c SET status = 'pending', stopping = false, failed = false, error = NULL, unfinished = d.n
    FROM (SELECT scope_id, count(*)::int AS n FROM aetheris_step WHERE job_id = p_job AND finished_at IS NULL
          AND scope_id IS NOT NULL GROUP BY scope_id) d
    WHERE c.id = d.scope_id;
  -- Nobody closed the scopes whose last steps ended while the job was ending.
  UPDATE aetheris_scope c SET status = 'completed', unfinished = 0
    WHERE c.job_id = p_job AND c.unfinished > 0 AND NOT EXISTS (
      SELECT 1 FROM aetheris_step s WHERE s.job_id = p_job AND s.scope_id = c.id AND s.finished_at IS NULL)
      AND EXISTS (SELECT 1 FROM aetheris_step o WHERE o.id = c.owner_id AND o.finished_at IS NULL);
  -- An owner whose scopes go on waits for them again.
  WITH owner AS (
    UPDATE aetheris_step s SET status = 'waiting', waiting_for = 'scopes:' || s.key, resume = NULL, failed_scopes = 0,
        completed_scopes = (SELECT count(*) FROM aetheris_scope c WHERE c.owner_id = s.id AND c.status = 'completed'),
        running_scopes = 0, next_scope = 0,
        open_scopes = (SELECT count(*) FROM aetheris_scope c WHERE c.owner_id = s.id AND c.unfinished > 0)
      WHERE s.job_id = p_job AND s.status = 'blocked' AND s.open_scopes IS NOT NULL
        AND EXISTS (SELECT 1 FROM aetheris_scope c WHERE c.owner_id = s.id AND c.unfinished > 0)
      RETURNING s.id, s.tenant, s.key, s.attempt)
  INSERT INTO aetheris_wait (tenant, job_id, step_id, step_key, attempt, kind, name, for_call, prompt, schema, approvers, opened_at, outcome)
    SELECT tenant, p_job, id, key, attempt, 'scopes', key, '', '', '{}', '{}', p_at, '' FROM owner;
  v_ready := aetheris_redecide(p_job, p_at);
  RETURN v_ready || coalesce((SELECT array_agg(x) FROM aetheris_step s, aetheris_fill(s.id, p_at) AS f, unnest(f.ready) AS x
    WHERE s.job_id = p_job AND s.scope_id IS NULL AND s.status = 'waiting' AND s.open_scopes > 0), '{}');
END $$;

-- statement
-- Plans are made once for each connection, whatever the values: custom ones would be made five times over first. One
-- made while a table is small must still be good when it has grown, so that they go by indexes from the beginning. And
-- by the right ones: while a table is small any index looks as good. So where a row is looked up by its id, the rest is
-- asked with IS NOT DISTINCT FROM, for which no index can be taken. When a table was found empty, a join, a sort or a
-- GROUP BY may be planned to read all of it. So rows are looked up one by one: in a loop, or in a subquery with LIMIT or
-- OFFSET 0, which the planner does not merge. And a partial index may be read as a whole by any query that implies its
-- condition, so that the condition says all that the index is for.
CREATE OR REPLACE FUNCTION aetheris_turn(turn jsonb, waits boolean DEFAULT true) RETURNS jsonb LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
  job aetheris_job;
  v_job uuid;
  chain aetheris_chain;
  now_at timestamptz;
  v_at timestamptz;
  op jsonb;
  child record;
  r record;
  w record;
  v_id bigint;
  v_key text;
  v_old text;
  v_to text;
  v_type text;
  v_attempt int;
  v_failures int;
  v_int int;
  v_bool boolean;
  v_json jsonb;
  -- steps that ended in this turn, in parallel arrays: what their edges are decided by
  e_ids bigint[] := '{}';
  e_status text[] := '{}';
  e_branch text[] := '{}';
  e_digest bytea[] := '{}';
  n_ids bigint[];
  n_status text[];
  n_branch text[];
  n_digest bytea[];
  released bigint[] := '{}';
  d_ready int := 0;       -- how the job's counters change
  d_running int := 0;
  d_waiting int := 0;
  d_unfinished int := 0;
  bind text[] := '{}';  -- names by which signals and waits may find each other now
  claim jsonb := turn -> 'claim';
  claimed bigint;
  held_queues text[];
  v_causes bytea[];
  answers jsonb := '[]';
  claim_entry jsonb;
  scopes bigint[] := '{}';       -- scopes in which a step ended, one entry for each step
  v_stop bigint[] := '{}';     -- scopes that end early: one of their steps failed, or their owner has enough
  closed bigint[];
  dead bigint[] := '{}';         -- blocked steps that no edge can release any more
  begun record;
  v_scope bigint;
  v_stopping boolean;
  v_settled bigint[] := '{}';  -- steps that may wait for a doubt that is settled now
  closing boolean := false;  -- a step ended in a way that may leave calls open
BEGIN
  -- 1. the job -----------------------------------------------------------------------------------------
  IF turn ? 'submit' THEN
    INSERT INTO aetheris_job (id, tenant, agent, agent_version, graph_digest, status, input, result_template,
        idempotency_key, request_digest, submitted_by, queue, priority, requires, created_at, last_event_at, seq, head,
        ready_steps, running_steps, waiting_steps, unfinished_steps, parent_step_id, on_parent_end, timeout, work_left, deadline_at, compensate,
        depth, total_steps, code)
      SELECT s.id, s.tenant, s.agent, s.agent_version, s.graph_digest, 'pending', s.input, s.result_template,
        s.idempotency_key, decode(s.request_digest, 'hex'), s.submitted_by, s.queue, s.priority, coalesce(s.requires, '{}'), aetheris_now(),
        aetheris_now(), 0, decode(repeat('00', 32), 'hex'), 0, 0, 0, 0,
        s.parent_step, coalesce(s.on_parent_end, ''), s.timeout, s.timeout, s.deadline, s.compensate,
        s.depth, 0, coalesce(s.code, '{}')
      FROM jsonb_to_record(turn -> 'submit') AS s(id uuid, tenant text, agent text, agent_version text, graph_digest text,
        input jsonb, result_template jsonb, idempotency_key text, request_digest text, submitted_by text, queue text,
        priority int, requires text[], parent_step bigint, on_parent_end text, timeout float8, deadline timestamptz, compensate text,
        depth int, code jsonb)
      ON CONFLICT (tenant, idempotency_key) DO NOTHING
      RETURNING * INTO job;
    IF job.id IS NULL THEN
      SELECT jsonb_build_object('existing', id, 'request_digest', encode(request_digest, 'hex')) INTO v_json
        FROM aetheris_job
        WHERE tenant = turn -> 'submit' ->> 'tenant' AND idempotency_key = turn -> 'submit' ->> 'idempotency_key';
      RETURN v_json;
    END IF;
  ELSIF turn ? 'step' THEN
    -- A hint names a step only. A step that is not ready any more costs one read and no lock.
    SELECT s.job_id INTO r FROM aetheris_step s WHERE s.id = (turn ->> 'step')::bigint AND s.status IS NOT DISTINCT FROM 'ready';
    IF NOT FOUND THEN
      RETURN jsonb_build_object('claimed', NULL, 'taken', CASE WHEN claim ? 'others' THEN aetheris_take(turn) END);
    END IF;
    v_job := r.job_id;
  ELSE
    v_job := (turn ->> 'job')::uuid;
  END IF;
  IF waits AND job.id IS NULL THEN
    SELECT * INTO job FROM aetheris_job WHERE id = v_job FOR NO KEY UPDATE;
  ELSIF job.id IS NULL THEN
    SELECT * INTO job FROM aetheris_job WHERE id = v_job FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND AND EXISTS (SELECT 1 FROM aetheris_job WHERE id = v_job) THEN
      RETURN '{"held": true}';
    END IF;
  END IF;
  IF job.id IS NULL THEN
    RAISE EXCEPTION 'no such job' USING ERRCODE = 'AE002';
  END IF;

  now_at := aetheris_now();
  v_at := greatest(now_at, job.last_event_at);  -- events never run backwards; deadlines go by the clock
  chain := ROW (job.id, job.tenant, turn ->> 'log', (turn ->> 'worker')::uuid, job.seq, job.head, v_at,
    to_char(v_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'));

  -- steps and edges: of a submit, a plan or a spawn -----------------------------------------------------
  IF turn ? 'blobs' THEN
    INSERT INTO aetheris_blob (tenant, digest, value, created_at)
      SELECT job.tenant, key, value, now_at FROM jsonb_each(turn -> 'blobs') ON CONFLICT DO NOTHING;
  END IF;
  IF turn ? 'stored' THEN
    IF EXISTS (SELECT 1 FROM jsonb_array_elements_text(turn -> 'stored') AS d
        WHERE NOT EXISTS (SELECT 1 FROM aetheris_blob b WHERE b.tenant = job.tenant AND b.digest = d)) THEN
      RAISE EXCEPTION 'a value that is kept apart is not there' USING ERRCODE = 'AE011';
    END IF;
  END IF;
  IF turn ? 'steps' THEN
    v_json := turn -> 'scopes';
    WITH scope AS (
      INSERT INTO aetheris_scope (job_id, tenant, owner_id, index, prefix, bindings, result_template, unfinished, status, stopping, failed)
        SELECT job.id, job.tenant, (turn ->> 'owner')::bigint, x.ordinality - 1,
          CASE WHEN (turn ->> 'indexed')::boolean THEN format('%s[%s].', turn ->> 'owner_key', x.ordinality - 1)
               ELSE (turn ->> 'owner_key') || '.' END,
          x.value, turn -> 'scope_result', jsonb_array_length(turn -> 'steps'),
          CASE WHEN x.ordinality <= (turn ->> 'max_parallel')::int THEN 'running' ELSE 'pending' END, false, false
        FROM jsonb_array_elements(v_json) WITH ORDINALITY AS x
        RETURNING id, index, prefix, status
    ), place AS (
      SELECT id, prefix, status FROM scope
      UNION ALL SELECT (turn ->> 'into_scope')::bigint, coalesce(turn ->> 'prefix', ''), 'running' WHERE v_json IS NULL
    ), inserted AS (
      INSERT INTO aetheris_step (job_id, tenant, scope_id, key, kind, config, refs, "join", join_needed, parents, pending_parents,
          taken_parents, status, attempt, failures, max_attempts, queue, priority, requires, timeout, waiting_for, hints, causes, ready_at)
        SELECT job.id, job.tenant, p.id, p.prefix || s.key, s.kind, s.config,
          coalesce(s.refs, '{}') || coalesce((SELECT jsonb_object_agg(n, p.prefix || n) FROM jsonb_array_elements_text(s.local_refs) AS n), '{}'),
          s."join", s.join_needed, s.parents, s.parents, 0,
          CASE WHEN s.parents = 0 AND p.status = 'running' THEN 'ready' ELSE 'blocked' END, 0, 0, s.max_attempts,
          coalesce(s.queue, job.queue), coalesce(s.priority, job.priority), coalesce(s.requires, job.requires), s.timeout, '', 0, '{}', now_at
        FROM place p CROSS JOIN jsonb_to_recordset(turn -> 'steps') AS s(key text, kind text, config jsonb, refs jsonb,
          local_refs jsonb, "join" text, join_needed int, parents int, max_attempts int, queue text, priority int, requires text[],
          timeout float8)
        ORDER BY p.id
        RETURNING id, status)
    SELECT count(*), coalesce(array_agg(id ORDER BY id) FILTER (WHERE status = 'ready'), '{}') INTO v_int, released FROM inserted;
    job.total_steps := job.total_steps + v_int;
    IF job.total_steps > (turn ->> 'most_steps')::int THEN
      RAISE EXCEPTION '%', job.total_steps USING ERRCODE = 'AE010';
    END IF;
    d_unfinished := d_unfinished + v_int;
    d_ready := d_ready + cardinality(released);
    UPDATE aetheris_scope SET unfinished = unfinished + v_int WHERE id = (turn ->> 'into_scope')::bigint;
    -- By scalar look-ups: a new job is not in the planner's statistics, and a join may become a nested loop.
    INSERT INTO aetheris_edge (job_id, parent_id, child_id, "when")
      SELECT job.id, (SELECT p.id FROM aetheris_step p WHERE p.job_id = job.id AND p.key = x.prefix || e.parent),
          (SELECT c.id FROM aetheris_step c WHERE c.job_id = job.id AND c.key = x.prefix || e.child), e."when"
        FROM (SELECT prefix FROM aetheris_scope WHERE v_json IS NOT NULL AND job_id = job.id AND owner_id = (turn ->> 'owner')::bigint
              UNION ALL SELECT coalesce(turn ->> 'prefix', '') WHERE v_json IS NULL) AS x
        CROSS JOIN jsonb_to_recordset(turn -> 'edges') AS e(parent text, child text, "when" text);
    IF v_json IS NOT NULL THEN
      UPDATE aetheris_step SET open_scopes = jsonb_array_length(v_json), failed_scopes = 0, completed_scopes = 0,
          next_scope = (turn ->> 'max_parallel')::int, max_parallel = (turn ->> 'max_parallel')::int,
          running_scopes = least((turn ->> 'max_parallel')::int, jsonb_array_length(v_json)),
          tolerate = (turn ->> 'tolerate')::int, enough = (turn ->> 'enough')::int
        WHERE id = (turn ->> 'owner')::bigint;
    END IF;
    IF turn ? 'copied' THEN
      -- A fork: what its origin had done before is done here too.
      UPDATE aetheris_step s SET status = c.status, result = c.result, branch = c.branch, finished_at = now_at
        FROM jsonb_to_recordset(turn -> 'copied') AS c(key text, status text, result jsonb, branch text)
        WHERE s.job_id = job.id AND s.key = c.key;
      PERFORM aetheris_redecide(job.id, now_at);
      SELECT count(*) FILTER (WHERE s.status = 'ready'), count(*) FILTER (WHERE s.finished_at IS NULL),
          coalesce(array_agg(s.id ORDER BY s.id) FILTER (WHERE s.status = 'ready'), '{}')
        INTO d_ready, d_unfinished, released FROM aetheris_step s WHERE s.job_id = job.id;
    END IF;
  END IF;

  -- 2. the moves ----------------------------------------------------------------------------------------
  FOR op IN SELECT value FROM jsonb_array_elements(coalesce(turn -> 'ops', '[]')) LOOP
    CASE op ->> 'op'

    WHEN 'event' THEN
      chain := aetheris_append(chain, op ->> 'type', op ->> 'step', (op ->> 'attempt')::int, NULL, op ->> 'data',
                               op ->> 'sd', op -> 'parts', op ->> 'call');

    WHEN 'move' THEN
      v_to := op ->> 'to';
      v_type := op ->> 'type';
      IF v_to = 'ready' AND job.ending_as IS NOT NULL AND job.compensating_at IS NULL THEN
        v_to := 'cancelled';  -- the job is on its way out: nothing goes back into the queue
        v_type := 'step_cancelled';
      END IF;
      -- A move that can come from one state only needs no look at the step before it.
      v_old := CASE WHEN jsonb_array_length(op -> 'from') = 1 AND v_to <> 'ready' THEN op -> 'from' ->> 0 END;
      v_stopping := false;
      IF v_old IS NULL THEN
        SELECT s.status, s.scope_id INTO v_old, v_scope FROM aetheris_step s WHERE s.id = (op ->> 'step')::bigint AND s.job_id IS NOT DISTINCT FROM job.id;
        v_stopping := v_to = 'ready' AND EXISTS (SELECT 1 FROM aetheris_scope c WHERE c.id = v_scope AND c.stopping);
      END IF;
      IF v_stopping THEN
        v_to := 'cancelled';
        v_type := 'step_cancelled';
      END IF;
      UPDATE aetheris_step s SET
          status = v_to,
          failures = s.failures + coalesce((op ->> 'failed')::int, 0),
          result = coalesce(op -> 'parts' -> 'output' -> 'value', s.result),
          error = coalesce(op -> 'parts' -> 'error' -> 'value', s.error),
          branch = CASE WHEN v_to = 'failed' THEN 'failed' ELSE coalesce(op ->> 'branch', s.branch) END,
          run_after = CASE WHEN v_to = 'ready' THEN now_at + make_interval(secs => (op ->> 'after')::float8) END,
          ready_at = CASE WHEN v_to = 'ready' THEN now_at ELSE s.ready_at END,
          waiting_for = CASE WHEN v_to = 'waiting' THEN op -> 'wait' ->> 'kind' || ':' || (op -> 'wait' ->> 'name') ELSE '' END,
          resume = CASE WHEN v_to = 'ready' THEN coalesce(op -> 'resume', s.resume) 
            WHEN v_to = 'waiting' AND op -> 'wait' ->> 'kind' NOT IN ('unknown', 'call', 'code') AND NOT op -> 'wait' ? 'for_call' THEN NULL ELSE s.resume END,
          deadline_at = NULL,
          hint_after = NULL,
          hints = 0,
          finished_at = CASE WHEN v_to IN ('completed', 'failed', 'skipped', 'cancelled') THEN now_at END
        WHERE s.id = (op ->> 'step')::bigint AND s.job_id IS NOT DISTINCT FROM job.id
          AND op -> 'from' ? s.status
          AND (op ->> 'attempt' IS NULL OR s.attempt = (op ->> 'attempt')::int)
          AND (op ->> 'waiting_for' IS NULL OR s.waiting_for = op ->> 'waiting_for')
        RETURNING s.key, s.attempt, s.scope_id, v_to = 'completed' AND EXISTS (SELECT 1 FROM aetheris_ledger_entry l
            WHERE l.job_id = job.id AND l.step_id = s.id AND l.state IN ('reserved', 'started', 'accepted', 'unknown'))
          INTO v_key, v_attempt, v_scope, v_bool;
      IF NOT FOUND THEN
        CONTINUE WHEN coalesce((op ->> 'optional')::boolean, false);
        SELECT s.status, s.key, s.attempt INTO v_old, v_key, v_attempt FROM aetheris_step s
          WHERE s.id = (op ->> 'step')::bigint AND s.job_id IS NOT DISTINCT FROM job.id;
        RAISE EXCEPTION 'step % is % in attempt %, not % in attempt %', coalesce(v_key, op ->> 'step'), v_old, v_attempt,
          op ->> 'from', coalesce(op ->> 'attempt', 'any') USING ERRCODE = 'AE001';
      END IF;
      IF v_bool THEN
        RAISE EXCEPTION 'step % cannot complete: one of its effects is not settled', v_key USING ERRCODE = 'AE005';
      END IF;
      IF v_scope IS NOT NULL AND NOT v_stopping THEN
        v_stopping := EXISTS (SELECT 1 FROM aetheris_scope c WHERE c.id = v_scope AND c.stopping);
      END IF;
      d_running := d_running - (v_old = 'running')::int;
      d_waiting := d_waiting - (v_old = 'waiting')::int + (v_to = 'waiting')::int;
      d_ready := d_ready - (v_old = 'ready')::int + (v_to = 'ready')::int;
      chain := aetheris_append(chain, v_type, v_key, v_attempt, NULL, op ->> 'data', op ->> 'sd', op -> 'parts', NULL);
      IF v_old = 'waiting' THEN
        UPDATE aetheris_wait SET closed_at = now_at, outcome = coalesce(op ->> 'wait_outcome', v_type)
          WHERE step_id = (op ->> 'step')::bigint AND closed_at IS NULL;
      END IF;
      IF v_to = 'ready' THEN
        UPDATE aetheris_step SET causes = ARRAY[chain.head] WHERE id = (op ->> 'step')::bigint;
        released := released || (op ->> 'step')::bigint;
      ELSIF v_to = 'waiting' THEN
        INSERT INTO aetheris_wait (tenant, job_id, step_id, step_key, attempt, kind, name, for_call, prompt, schema, approvers,
            deadline_at, opened_at, outcome)
          VALUES (job.tenant, job.id, (op ->> 'step')::bigint, v_key, v_attempt, op -> 'wait' ->> 'kind', op -> 'wait' ->> 'name',
            coalesce(op -> 'wait' ->> 'for_call', ''), coalesce(op -> 'wait' ->> 'prompt', ''), coalesce(op -> 'wait' -> 'schema', '{}'),
            coalesce(op -> 'wait' -> 'approvers', '{}'),
            coalesce((op -> 'wait' ->> 'until')::timestamptz, now_at + make_interval(secs => (op -> 'wait' ->> 'timeout')::float8)),
            now_at, '');
        IF NOT v_stopping THEN
          bind := bind || (op -> 'wait' ->> 'name');
        END IF;
        IF op -> 'wait' ->> 'kind' IN ('unknown', 'call') AND NOT EXISTS (SELECT 1 FROM (
            SELECT state, call, generation FROM aetheris_ledger_entry WHERE job_id = job.id AND step_id = (op ->> 'step')::bigint
            UNION ALL SELECT state, call, generation FROM aetheris_ledger_entry WHERE undone_by_id = (op ->> 'step')::bigint) AS l
            WHERE l.state = CASE op -> 'wait' ->> 'kind' WHEN 'call' THEN 'accepted' ELSE 'unknown' END
              AND l.call || '#' || l.generation = op -> 'wait' ->> 'name') THEN
          v_settled := v_settled || (op ->> 'step')::bigint;  -- somebody settled it while the step looked at it
        END IF;
      ELSE
        d_unfinished := d_unfinished - 1;
        closing := closing OR v_to <> 'completed';
        IF v_scope IS NOT NULL THEN
          scopes := scopes || v_scope;
        END IF;
        v_bool := v_to = 'failed';
        IF v_bool THEN
          v_bool := NOT EXISTS (SELECT 1 FROM aetheris_edge
            WHERE job_id = job.id AND parent_id = (op ->> 'step')::bigint AND "when" = 'failed');
        END IF;
        IF v_bool THEN
          IF v_scope IS NULL THEN
            job.error := coalesce(job.error, coalesce(op -> 'parts' -> 'error' -> 'value', '{}') || jsonb_build_object('step', v_key));
            job.ending_as := coalesce(job.ending_as, 'failed');
          ELSIF NOT v_stopping THEN
            UPDATE aetheris_scope SET failed = true,
                error = coalesce(op -> 'parts' -> 'error' -> 'value', '{}') || jsonb_build_object('step', v_key) WHERE id = v_scope;
            v_stop := v_stop || v_scope;
          END IF;
        ELSIF v_to <> 'cancelled' THEN
          e_ids := e_ids || (op ->> 'step')::bigint;
          e_status := e_status || v_to;
          e_branch := e_branch || CASE WHEN v_to = 'failed' THEN 'failed' ELSE op ->> 'branch' END;
          e_digest := e_digest || chain.head;
        END IF;
      END IF;
      IF v_stopping THEN
        v_stop := v_stop || v_scope;  -- a wait or steps that this move has just begun end with the scope
      END IF;

    WHEN 'intend' THEN
      -- The fence first: an intent is a decision of the current attempt.
      PERFORM 1 FROM aetheris_step s WHERE s.id = (op ->> 'step')::bigint AND s.job_id IS NOT DISTINCT FROM job.id AND s.status IS NOT DISTINCT FROM 'running'
        AND s.attempt = (op ->> 'attempt')::int;
      IF NOT FOUND THEN
        RAISE EXCEPTION 'step % is not running in attempt %', op ->> 'key', op ->> 'attempt' USING ERRCODE = 'AE001';
      END IF;
      answers := answers || aetheris_intend(job.id, job.tenant, chain.worker, now_at, op, (op ->> 'attempt')::int);
      IF (answers -> -1 ->> 'inserted')::boolean THEN
        chain := aetheris_append(chain, op ->> 'type', op ->> 'key', (op ->> 'attempt')::int, NULL, op ->> 'data', op ->> 'sd',
                                 op -> 'parts', (op ->> 'call') || '#' || (op ->> 'generation'));
      END IF;

    WHEN 'settle' THEN
      -- Guarded by the entry's own starter, not by the step's fence: late truth is welcome. To start a call
      -- again is a decision, though, and takes the fence.
      IF op ? 'fence' THEN
        PERFORM 1 FROM aetheris_step s WHERE s.id = (op ->> 'step')::bigint AND s.job_id IS NOT DISTINCT FROM job.id AND s.status IS NOT DISTINCT FROM 'running'
          AND s.attempt = (op ->> 'new_attempt')::int;
        IF NOT FOUND THEN
          RAISE EXCEPTION 'step % is not running in attempt %', op ->> 'key', op ->> 'new_attempt' USING ERRCODE = 'AE001';
        END IF;
      END IF;
      UPDATE aetheris_ledger_entry l SET
          state = op ->> 'to',
          attempt = CASE WHEN op ->> 'to' = 'started' THEN (op ->> 'new_attempt')::int ELSE l.attempt END,
          worker_id = CASE WHEN op ->> 'to' = 'started' THEN chain.worker ELSE l.worker_id END,
          started_at = CASE WHEN op ->> 'to' = 'started' THEN now_at ELSE l.started_at END,
          calls = l.calls + (op ->> 'to' = 'started')::int,
          result = coalesce(op -> 'parts' -> 'tool.result' -> 'value', op -> 'parts' -> 'output' -> 'value', l.result),
          error = CASE WHEN op ->> 'to' IN ('committed', 'started') THEN NULL WHEN op ->> 'to' = 'accepted' THEN op -> 'parts' -> 'error' -> 'value' ELSE coalesce(op -> 'parts' -> 'error' -> 'value', l.error) END,
          source = coalesce(op ->> 'source', l.source),
          external_id = coalesce(op ->> 'external_id', l.external_id),
          answer_by = CASE WHEN op ->> 'to' = 'started' THEN NULL WHEN op ? 'answer_within' THEN now_at + make_interval(secs => (op ->> 'answer_within')::float8) ELSE l.answer_by END,
          poll_errors = coalesce((op ->> 'poll_errors')::int, l.poll_errors),
          usage = coalesce(op -> 'usage', l.usage),
          resolved_by = coalesce(op ->> 'by', l.resolved_by),
          resolved_why = coalesce(op ->> 'why', l.resolved_why),
          settled_at = CASE WHEN op ->> 'to' IN ('started', 'accepted') THEN NULL ELSE chain.at END
        WHERE l.job_id = job.id AND l.step_id = (op ->> 'step')::bigint AND l.call = op ->> 'call'
          AND l.generation = (op ->> 'generation')::int
          AND op -> 'from' ? l.state
          AND (op ->> 'attempt' IS NULL OR l.attempt = (op ->> 'attempt')::int);
      IF NOT FOUND THEN
        CONTINUE WHEN coalesce((op ->> 'optional')::boolean, false);
        RAISE EXCEPTION 'ledger entry %.%#% is not % by attempt %', op ->> 'key', op ->> 'call', op ->> 'generation',
          op ->> 'from', coalesce(op ->> 'attempt', 'any') USING ERRCODE = 'AE001';
      END IF;
      chain := aetheris_append(chain, op ->> 'type', op ->> 'key', coalesce((op ->> 'new_attempt')::int, (op ->> 'attempt')::int), NULL,
                               op ->> 'data', op ->> 'sd', op -> 'parts', (op ->> 'call') || '#' || (op ->> 'generation'));
      -- Accepted too late for its step, which will not ask: the call is in doubt again, now under the outside's own name.
      IF op ->> 'to' = 'accepted' THEN
        closing := closing OR EXISTS (SELECT 1 FROM aetheris_step s
          WHERE s.id = (op ->> 'step')::bigint AND s.status IN ('failed', 'cancelled'));
      END IF;
      IF job.compensating_at IS NOT NULL THEN
        v_settled := v_settled || ARRAY(SELECT l.undone_by_id FROM (SELECT undone_by_id FROM aetheris_ledger_entry WHERE job_id = job.id
            AND step_id = (op ->> 'step')::bigint AND call = op ->> 'call' AND generation = (op ->> 'generation')::int OFFSET 0) l
          WHERE l.undone_by_id IS NOT NULL);
      END IF;

    WHEN 'effects' THEN
      -- The fence here too: a lost attempt must not record values that the one after it did not draw.
      PERFORM 1 FROM aetheris_step s WHERE s.id = (op ->> 'step')::bigint AND s.job_id IS NOT DISTINCT FROM job.id AND s.status IS NOT DISTINCT FROM 'running'
        AND s.attempt = (op ->> 'attempt')::int;
      IF NOT FOUND THEN
        RAISE EXCEPTION 'step % is not running in attempt %', op ->> 'key', op ->> 'attempt' USING ERRCODE = 'AE001';
      END IF;
      INSERT INTO aetheris_effect (tenant, job_id, step_id, name, ordinal, value, recorded_at)
        SELECT job.tenant, job.id, (op ->> 'step')::bigint, f.name, f.ordinal, f.value, now_at
          FROM jsonb_to_recordset(op -> 'values') AS f(name text, ordinal int, value jsonb)
        ON CONFLICT DO NOTHING;
      chain := aetheris_append(chain, 'effect_recorded', op ->> 'key', (op ->> 'attempt')::int, NULL, op ->> 'data', op ->> 'sd',
                               op -> 'parts', NULL);

    WHEN 'signal' THEN
      v_bool := job.status IN ('completed', 'failed', 'cancelled') OR job.ending_as IS NOT NULL
        OR op ? 'wait' AND NOT coalesce((SELECT wt.closed_at IS NULL AND (wt.deadline_at IS NULL OR wt.deadline_at > now_at)
          FROM aetheris_wait wt WHERE wt.id = (op ->> 'wait')::bigint), false);
      INSERT INTO aetheris_signal (tenant, job_id, name, dedup_id, payload, sender, received_at, state)
        VALUES (job.tenant, job.id, op ->> 'name', op ->> 'dedup_id', op -> 'parts' -> 'signal' -> 'value', coalesce(op ->> 'sender', ''),
                now_at, CASE WHEN v_bool THEN 'refused' ELSE 'buffered' END)
        ON CONFLICT (job_id, dedup_id) DO NOTHING RETURNING id INTO v_id;
      IF NOT FOUND THEN
        SELECT jsonb_build_object('signal', id, 'duplicate', true, 'state', state, 'name', name, 'payload', payload) INTO v_json
          FROM aetheris_signal WHERE job_id = job.id AND dedup_id = op ->> 'dedup_id';
        answers := answers || v_json;
        bind := bind || (v_json ->> 'name');  -- a repetition finds a wait that was missed
      ELSIF v_bool THEN
        answers := answers || jsonb_build_object('signal', v_id, 'duplicate', false, 'state', 'refused');
      ELSE
        chain := aetheris_append(chain, op ->> 'type', op ->> 'key', NULL,
          ARRAY(SELECT decode(value, 'hex') FROM jsonb_array_elements_text(op -> 'causes')), op ->> 'data', op ->> 'sd', op -> 'parts', NULL);
        UPDATE aetheris_signal SET digest = chain.head WHERE id = v_id;
        answers := answers || jsonb_build_object('signal', v_id, 'duplicate', false, 'state', 'buffered');
        bind := bind || (op ->> 'name');
      END IF;

    WHEN 'job' THEN
      -- pause, resume, cancel: columns, not states. The guard is a condition on them.
      -- What was cancelled stays so, but for a subjob whose parent is retried.
      IF (job.status IN ('completed', 'failed', 'cancelled')) <> (op ->> 'verb' = 'reopen')
          OR op ->> 'verb' = 'reopen' AND job.status <> 'failed' AND NOT (job.status = 'cancelled' AND op ? 'with_parent') THEN
        RAISE EXCEPTION 'job is %', job.status USING ERRCODE = 'AE003';
      END IF;
      IF op ->> 'verb' = 'reopen' AND job.compensating_at IS NOT NULL THEN
        RAISE EXCEPTION 'job is compensated' USING ERRCODE = 'AE003';
      END IF;
      CASE op ->> 'verb'
      WHEN 'cancel' THEN
        IF job.cancel_requested_at IS NOT NULL THEN CONTINUE; END IF;
        job.cancel_requested_at := now_at;
        job.ending_as := coalesce(job.ending_as, 'cancelled');
      WHEN 'reopen' THEN
        released := released || aetheris_reopen(job.id, now_at);
        SELECT count(*) FILTER (WHERE s.status = 'ready'), count(*) FILTER (WHERE s.status = 'waiting'),
            count(*) FILTER (WHERE s.finished_at IS NULL)
          INTO d_ready, d_waiting, d_unfinished FROM aetheris_step s WHERE s.job_id = job.id;
        job.status := 'running';
        job.finished_at := NULL;
        job.ending_as := NULL;
        job.cancel_requested_at := NULL;
        job.error := NULL;
        UPDATE aetheris_job SET reported_at = NULL, work_left = timeout,
          deadline_at = CASE WHEN deadline_at > now_at THEN deadline_at END WHERE id = job.id;
      WHEN 'time_out' THEN
        IF job.ending_as IS NOT NULL OR coalesce(least(job.overdue_at, job.deadline_at) > now_at, true) THEN
          RAISE EXCEPTION 'job is not overdue' USING ERRCODE = 'AE001';
        END IF;
        job.ending_as := 'failed';
        job.error := op -> 'parts' -> 'error' -> 'value';
      WHEN 'adopt' THEN
        UPDATE aetheris_job SET code = op -> 'code' WHERE id = job.id;
      WHEN 'pause' THEN
        IF job.paused_at IS NOT NULL THEN CONTINUE; END IF;
        job.paused_at := now_at;
      WHEN 'resume' THEN
        IF job.paused_at IS NULL THEN CONTINUE; END IF;
        job.paused_at := NULL;
        UPDATE aetheris_step SET hint_after = NULL, hints = 0 WHERE job_id = job.id AND status = 'ready' AND hint_after IS NOT NULL;
        released := released || ARRAY(SELECT id FROM (SELECT id FROM aetheris_step WHERE job_id = job.id AND status = 'ready' OFFSET 0) s
          ORDER BY id LIMIT 1000);
      END CASE;
      chain := aetheris_append(chain, op ->> 'type', NULL, NULL, NULL, op ->> 'data', op ->> 'sd', op -> 'parts', NULL);

    ELSE
      RAISE EXCEPTION 'unknown operation %', op ->> 'op' USING ERRCODE = 'AE009';
    END CASE;
  END LOOP;

  -- A job put together from a history may hold steps whose edges are dead by now: they are skipped like others.
  IF turn ? 'copied' OR turn @> '{"ops": [{"op": "job", "verb": "reopen"}]}' THEN
    dead := ARRAY(SELECT s.id FROM aetheris_step s WHERE s.job_id = job.id AND s.status = 'blocked' AND s.parents > 0
      AND (s.pending_parents = 0 OR s.taken_parents + s.pending_parents < s.join_needed)
      AND NOT EXISTS (SELECT 1 FROM aetheris_scope c WHERE c.id = s.scope_id AND c.status = 'pending') ORDER BY s.id);
  END IF;

  -- 3. signals and waits ---------------------------------------------------------------------------------
  FOREACH v_id IN ARRAY v_settled LOOP
    v_int := chain.seq;
    chain := aetheris_settle_wait(chain, v_id, now_at);
    IF chain.seq > v_int THEN
      d_waiting := d_waiting - 1;
      d_ready := d_ready + 1;
      released := released || v_id;
    END IF;
  END LOOP;
  WHILE cardinality(bind) > 0 AND job.ending_as IS NULL LOOP
    SELECT wt.*, sg.id AS signal_id, sg.payload, sg.digest INTO w
      FROM (SELECT id, name, payload, digest FROM aetheris_signal
        WHERE job_id = job.id AND name = bind[1] AND state = 'buffered' ORDER BY id LIMIT 1) sg
      CROSS JOIN LATERAL (SELECT id, step_id, step_key, attempt, for_call FROM aetheris_wait
        WHERE job_id = job.id AND name = sg.name AND closed_at IS NULL AND kind IN ('signal', 'approval', 'subjob')
          AND (deadline_at IS NULL OR deadline_at > now_at)
        ORDER BY id LIMIT 1) wt;
    IF NOT FOUND THEN
      bind := bind[2:];
      CONTINUE;
    END IF;
    UPDATE aetheris_signal SET state = 'consumed', consumed_by_id = w.step_id, consumed_at = now_at WHERE id = w.signal_id;
    UPDATE aetheris_wait SET closed_at = now_at, outcome = 'signalled', signal_id = w.signal_id WHERE id = w.id;
    UPDATE aetheris_step SET status = 'ready', ready_at = now_at, run_after = NULL, waiting_for = '', hint_after = NULL, hints = 0,
        resume = CASE WHEN w.for_call = '' THEN jsonb_build_object('outcome', 'signalled', 'payload', w.payload) ELSE resume END, causes = ARRAY[w.digest]
      WHERE id = w.step_id AND status = 'waiting';
    d_waiting := d_waiting - 1;
    d_ready := d_ready + 1;
    released := released || w.step_id;
    chain := aetheris_append(chain, 'signal_consumed', w.step_key, w.attempt, ARRAY[w.digest], '{"signal":' || w.signal_id || '}', NULL, NULL, NULL);
    chain := aetheris_append(chain, 'step_resumed', w.step_key, w.attempt, ARRAY[chain.head], '{"outcome":"signalled"}', NULL, NULL, NULL);
  END LOOP;

  -- 4. edges ---------------------------------------------------------------------------------------------
  IF cardinality(e_ids) = 1 AND (claim ->> 'follows')::boolean AND job.paused_at IS NULL AND job.ending_as IS NULL
      AND cardinality(v_stop) = 0 THEN
    -- On a straight line the one child of the one ended step is what the worker goes on with: its edge is decided
    -- and the step claimed in one write of its row.
    UPDATE aetheris_step c SET status = 'running', attempt = c.attempt + 1, pending_parents = 0, taken_parents = 1,
        causes = e_digest, worker_id = chain.worker, ready_at = now_at, claimed_at = now_at,
        claim_token = (claim ->> 'token')::uuid, deadline_at = now_at + make_interval(secs => c.timeout)
      FROM aetheris_edge e
      WHERE e.job_id = job.id AND e.parent_id = e_ids[1] AND c.id = e.child_id AND c.id = (claim ->> 'step')::bigint
        AND c.parents = 1 AND c.status = 'blocked' AND claim -> 'queues' ? c.queue AND c.requires = '{}'
        AND NOT EXISTS (SELECT 1 FROM aetheris_held)
        AND CASE e_status[1] WHEN 'completed' THEN e."when" IS NULL OR e."when" = e_branch[1]
                             WHEN 'failed' THEN e."when" = 'failed' END
      RETURNING c.id, c.key, c.attempt, c.causes INTO claimed, v_key, v_attempt, v_causes;
    IF FOUND THEN
      e_ids := '{}';
    END IF;
  END IF;
  WHILE cardinality(dead) + cardinality(e_ids) + cardinality(scopes) + cardinality(v_stop) > 0 LOOP
    FOR r IN SELECT id, key, scope_id FROM aetheris_step WHERE id = ANY (dead) ORDER BY id LOOP
      UPDATE aetheris_step SET status = 'skipped', finished_at = now_at WHERE id = r.id;
      d_unfinished := d_unfinished - 1;
      IF r.scope_id IS NOT NULL THEN
        scopes := scopes || r.scope_id;
      END IF;
      chain := aetheris_append(chain, 'step_skipped', r.key, NULL, ARRAY[chain.head], '{}', NULL, NULL, NULL);
      e_ids := e_ids || r.id;
      e_status := e_status || 'skipped'::text;
      e_branch := e_branch || NULL::text;
      e_digest := e_digest || chain.head;
    END LOOP;
    dead := '{}';
    -- Also of a job that is ending: when it is reopened, what its steps decided stands.
    WHILE cardinality(e_ids) > 0 LOOP
      n_ids := '{}'; n_status := '{}'; n_branch := '{}'; n_digest := '{}';
      FOR child IN
        SELECT x.child_id, count(*)::int AS decided, (count(*) FILTER (WHERE x.taken))::int AS taken,
            coalesce(array_agg(x.digest) FILTER (WHERE x.taken), '{}') AS digests
          FROM (SELECT ed.child_id, en.digest,
                       CASE en.status WHEN 'completed' THEN ed."when" IS NULL OR ed."when" = en.branch
                                      WHEN 'failed' THEN coalesce(ed."when" = 'failed', false)
                                      ELSE false END AS taken
                FROM unnest(e_ids, e_status, e_branch, e_digest) AS en(id, status, branch, digest)
                CROSS JOIN LATERAL (SELECT child_id, "when" FROM aetheris_edge WHERE job_id = job.id AND parent_id = en.id OFFSET 0) ed) x
          GROUP BY x.child_id ORDER BY x.child_id
      LOOP
        UPDATE aetheris_step c SET
            pending_parents = c.pending_parents - child.decided,
            taken_parents = c.taken_parents + child.taken,
            causes = (c.causes || child.digests)[1:32],
            status = CASE WHEN c.status = 'blocked'
                AND aetheris_releases(c.join_needed, c.pending_parents - child.decided, c.taken_parents + child.taken)
              THEN 'ready' ELSE c.status END,
            ready_at = CASE WHEN c.status = 'blocked' THEN now_at ELSE c.ready_at END
          WHERE c.id = child.child_id
          RETURNING c.id, c.key, c.status, c.pending_parents, c.taken_parents, c.join_needed, c.scope_id INTO r;
        IF r.status = 'ready' THEN
          -- Not by an edge before: any and n_of release once.
          CONTINUE WHEN aetheris_releases(r.join_needed, r.pending_parents + child.decided, r.taken_parents - child.taken);
          d_ready := d_ready + 1;
          released := released || r.id;
        ELSIF r.status = 'blocked' AND (r.pending_parents = 0
            OR r.join_needed IS NOT NULL AND r.taken_parents + r.pending_parents < r.join_needed) THEN
          UPDATE aetheris_step SET status = 'skipped', finished_at = now_at WHERE id = r.id;
          d_unfinished := d_unfinished - 1;
          IF r.scope_id IS NOT NULL THEN
            scopes := scopes || r.scope_id;
          END IF;
          chain := aetheris_append(chain, 'step_skipped', r.key, NULL, e_digest[1:32], '{}', NULL, NULL, NULL);
          n_ids := n_ids || r.id;
          n_status := n_status || 'skipped'::text;
          n_branch := n_branch || NULL::text;
          n_digest := n_digest || chain.head;
        END IF;
      END LOOP;
      e_ids := n_ids; e_status := n_status; e_branch := n_branch; e_digest := n_digest;
    END LOOP;
    EXIT WHEN job.ending_as IS NOT NULL;

    -- 5. scopes --------------------------------------------------------------------------------------------
    WHILE cardinality(scopes) + cardinality(v_stop) > 0 AND job.ending_as IS NULL LOOP
      -- What ends early takes the scopes inside it along.
      IF cardinality(v_stop) > 0 THEN
        v_stop := ARRAY(WITH RECURSIVE inside AS (
            SELECT unnest(v_stop) AS id
            UNION SELECT c.id FROM inside
              CROSS JOIN LATERAL (SELECT id FROM aetheris_step WHERE scope_id = inside.id OFFSET 0) s
              CROSS JOIN LATERAL (SELECT id FROM aetheris_scope WHERE owner_id = s.id OFFSET 0) c)
          SELECT id FROM inside);
        UPDATE aetheris_scope SET stopping = true WHERE id = ANY (v_stop);
        FOR r IN SELECT * FROM (SELECT id, key, status, attempt, scope_id FROM aetheris_step
            WHERE job_id IS NOT DISTINCT FROM job.id AND scope_id = ANY (v_stop) AND status IN ('blocked', 'ready', 'waiting') OFFSET 0) s
            ORDER BY id LOOP
          UPDATE aetheris_step SET status = 'cancelled', finished_at = now_at, waiting_for = '', run_after = NULL WHERE id = r.id;
          UPDATE aetheris_wait SET closed_at = now_at, outcome = 'cancelled' WHERE step_id = r.id AND closed_at IS NULL;
          d_unfinished := d_unfinished - 1;
          d_ready := d_ready - (r.status = 'ready')::int;
          d_waiting := d_waiting - (r.status = 'waiting')::int;
          chain := aetheris_append(chain, 'step_cancelled', r.key, NULLIF(r.attempt, 0), NULL, '{}', NULL, NULL, NULL);
          scopes := scopes || r.scope_id;
          released := array_remove(released, r.id);
          closing := true;
        END LOOP;
        v_stop := '{}';
      END IF;
      closed := '{}';
      FOR w IN SELECT id, count(*)::int AS ended FROM unnest(scopes) AS id GROUP BY id ORDER BY id LOOP
        UPDATE aetheris_scope c SET unfinished = c.unfinished - w.ended,
            status = CASE WHEN c.unfinished > w.ended THEN c.status WHEN c.failed THEN 'failed' WHEN c.stopping THEN 'cancelled' ELSE 'completed' END
          WHERE c.id = w.id RETURNING c.unfinished INTO v_int;
        IF v_int = 0 THEN
          closed := closed || w.id;
        END IF;
      END LOOP;
      scopes := '{}';
      FOR w IN SELECT c.owner_id, count(*)::int AS n, (count(*) FILTER (WHERE c.failed))::int AS failed,
            (count(*) FILTER (WHERE c.status = 'completed'))::int AS completed
          FROM (SELECT owner_id, failed, status FROM aetheris_scope WHERE id = ANY (closed) OFFSET 0) c
          GROUP BY c.owner_id ORDER BY c.owner_id LOOP
        UPDATE aetheris_step SET open_scopes = open_scopes - w.n, running_scopes = greatest(0, running_scopes - w.n),
            failed_scopes = failed_scopes + w.failed, completed_scopes = completed_scopes + w.completed WHERE id = w.owner_id
          RETURNING id, key, status, attempt, scope_id, open_scopes, failed_scopes, completed_scopes, tolerate, enough INTO r;
        CONTINUE WHEN r.status <> 'waiting';
        IF r.open_scopes = 0 THEN
          UPDATE aetheris_step SET status = 'ready', ready_at = now_at, run_after = NULL, waiting_for = '', hint_after = NULL, hints = 0,
              resume = '{"outcome": "expanded"}', causes = ARRAY[chain.head] WHERE id = r.id;
          UPDATE aetheris_wait SET closed_at = now_at, outcome = 'expanded' WHERE step_id = r.id AND closed_at IS NULL;
          d_waiting := d_waiting - 1;
          d_ready := d_ready + 1;
          released := released || r.id;
          chain := aetheris_append(chain, 'step_resumed', r.key, r.attempt, ARRAY[chain.head], '{"outcome":"expanded"}', NULL, NULL, NULL);
        ELSIF r.failed_scopes > r.tolerate OR r.completed_scopes >= r.enough THEN
          v_stop := v_stop || ARRAY(SELECT c.id FROM aetheris_scope c WHERE c.owner_id = r.id AND c.unfinished > 0 AND NOT c.stopping);
        ELSE
          SELECT x.ready, x.dead INTO begun FROM aetheris_fill(r.id, now_at) AS x;
          d_ready := d_ready + cardinality(begun.ready);
          released := released || begun.ready;
          dead := dead || begun.dead;
        END IF;
      END LOOP;
    END LOOP;
  END LOOP;

  -- 6. the end, or what follows --------------------------------------------------------------------------
  IF job.ending_as IS NOT NULL AND job.compensating_at IS NULL AND job.unfinished_steps + d_unfinished > 0 THEN
    FOR r IN SELECT * FROM (SELECT id, key, status, attempt FROM aetheris_step
        WHERE job_id = job.id AND status IN ('blocked', 'ready', 'waiting') OFFSET 0) s ORDER BY id LOOP
      UPDATE aetheris_step SET status = 'cancelled', finished_at = now_at, waiting_for = '', run_after = NULL WHERE id = r.id;
      d_unfinished := d_unfinished - 1;
      d_ready := d_ready - (r.status = 'ready')::int;
      d_waiting := d_waiting - (r.status = 'waiting')::int;
      IF r.status = 'waiting' THEN
        UPDATE aetheris_wait SET closed_at = now_at, outcome = 'cancelled' WHERE step_id = r.id AND closed_at IS NULL;
      END IF;
      chain := aetheris_append(chain, 'step_cancelled', r.key, NULLIF(r.attempt, 0), NULL, '{}', NULL, NULL, NULL);
      closing := true;
    END LOOP;
    released := '{}';
  END IF;
  IF closing THEN
    -- What an ended attempt left open may or may not have happened: say so.
    FOR w IN SELECT l.id, l.call, l.generation, l.state, l.attempt, s.key FROM aetheris_ledger_entry l
        CROSS JOIN LATERAL (SELECT key, status FROM aetheris_step WHERE id = l.step_id LIMIT 1) s
        WHERE l.job_id = job.id AND l.state IN ('reserved', 'started', 'accepted') AND s.status IN ('failed', 'cancelled') LOOP
      UPDATE aetheris_ledger_entry SET state = CASE w.state WHEN 'reserved' THEN 'cancelled' ELSE 'unknown' END, settled_at = now_at,
          error = '{"type": "Ended", "message": "the step ended while the call was open"}' WHERE id = w.id;
      chain := aetheris_append(chain, CASE w.state WHEN 'reserved' THEN 'tool_cancelled' ELSE 'tool_unknown' END, w.key, w.attempt, NULL,
        '{"call":' || to_json(w.call)::text || ',"entry":"' || CASE w.state WHEN 'reserved' THEN 'cancelled' ELSE 'unknown' END
          || '","generation":' || w.generation || '}', NULL, NULL, w.call || '#' || w.generation);
    END LOOP;
  END IF;

  IF job.unfinished_steps + d_unfinished = 0 AND job.compensate <> '' AND job.compensating_at IS NULL
      AND job.finished_at IS NULL THEN
    -- Nothing of the job runs any more. What it did is undone before it ends.
    job.ending_as := coalesce(job.ending_as, CASE WHEN turn ? 'result_error' THEN 'failed' END);
    job.error := coalesce(job.error, turn -> 'result_error');
    IF job.ending_as = 'failed' AND job.compensate IN ('on_failure', 'always')
        OR job.ending_as = 'cancelled' AND job.compensate IN ('on_cancel', 'always') THEN
      SELECT x.steps, x.keys INTO begun FROM aetheris_compensate(job, now_at) AS x;
      IF cardinality(begun.steps) > 0 THEN
        d_unfinished := d_unfinished + cardinality(begun.steps);
        d_ready := d_ready + 1;
        released := begun.steps[1:1];
        job.compensating_at := now_at;
        job.paused_at := NULL;
        chain := aetheris_append(chain, 'compensation_planned', NULL, NULL, ARRAY[chain.head],
          '{"ending_as":"' || job.ending_as || '","steps":[' || begun.keys || ']}', NULL, NULL, NULL);
      END IF;
    END IF;
  END IF;

  IF job.status IN ('completed', 'failed', 'cancelled') THEN
    NULL;
  ELSIF job.unfinished_steps + d_unfinished = 0 THEN
    job.status := coalesce(job.ending_as, 'completed');
    job.finished_at := now_at;
    job.paused_at := NULL;
    IF job.status = 'completed' THEN
      IF turn ? 'result_error' THEN
        job.status := 'failed';
        job.error := turn -> 'result_error';
      ELSIF turn ? 'result' THEN
        job.result := turn -> 'result' -> 'parts' -> 'output' -> 'value';
      ELSIF job.result_template ? 'expression' THEN
        RAISE EXCEPTION 'the result expression must be evaluated' USING ERRCODE = 'AE004';
      ELSE
        SELECT s.result INTO job.result FROM aetheris_step s WHERE s.job_id = job.id AND s.key = job.result_template ->> 'step';
      END IF;
    END IF;
    chain := aetheris_append(chain, 'job_' || job.status, NULL, NULL, ARRAY[chain.head],
      CASE WHEN job.status = 'completed' AND job.result_template ? 'step' AND NOT turn ? 'result'
        THEN '{"result_of":' || to_json(job.result_template ->> 'step')::text || '}'
        WHEN job.status = 'failed' THEN '{"step":' || to_json(coalesce(job.error ->> 'step', ''))::text || '}' ELSE '{}' END,
      CASE WHEN job.status = 'completed' THEN turn -> 'result' ->> 'sd' END,
      CASE WHEN job.status = 'completed' THEN turn -> 'result' -> 'parts' END, NULL);
  ELSIF claim IS NOT NULL AND job.paused_at IS NULL AND (job.ending_as IS NULL OR job.compensating_at IS NOT NULL) THEN
    -- What rests is not claimed: the whole agent, or some queues.
    IF claimed IS NULL THEN
      SELECT array_agg(h.name) FILTER (WHERE h.kind = 'queue'),
          CASE WHEN bool_or(h.kind = 'agent' AND h.name = job.agent) THEN NULL ELSE claim END
        INTO held_queues, claim FROM aetheris_held h WHERE h.tenant = job.tenant;
    END IF;
    -- What the worker prepared for, else any ready sibling of a queue it serves.
    v_id := (claim ->> 'step')::bigint;
    WHILE claimed IS NULL AND claim IS NOT NULL LOOP
      UPDATE aetheris_step SET status = 'running', attempt = attempt + 1, worker_id = chain.worker, claimed_at = now_at,
          claim_token = (claim ->> 'token')::uuid, deadline_at = now_at + make_interval(secs => timeout), run_after = NULL
        WHERE id = v_id AND job_id IS NOT DISTINCT FROM job.id AND status IS NOT DISTINCT FROM 'ready' AND (run_after IS NULL OR run_after <= now_at)
          AND ((claim ->> 'only')::boolean OR claim -> 'queues' ? queue) AND (held_queues IS NULL OR queue <> ALL (held_queues))
          AND (requires = '{}' OR requires <@ (SELECT k.capabilities FROM aetheris_worker k WHERE k.id = chain.worker))
        RETURNING id, key, attempt, causes INTO claimed, v_key, v_attempt, v_causes;
      IF FOUND THEN
        d_ready := d_ready - 1;
        released := array_remove(released, claimed);
      END IF;
      EXIT WHEN FOUND OR (claim ->> 'only')::boolean OR job.ready_steps + d_ready = 0;
      SELECT s.id INTO v_id FROM aetheris_step s
        WHERE s.job_id = job.id AND s.status = 'ready' AND (s.run_after IS NULL OR s.run_after <= now_at)
          AND claim -> 'queues' ? s.queue
          AND (held_queues IS NULL OR s.queue <> ALL (held_queues))
          AND (s.requires = '{}' OR s.requires <@ (SELECT k.capabilities FROM aetheris_worker k WHERE k.id = chain.worker))
        ORDER BY s.priority DESC, s.id LIMIT 1;
      EXIT WHEN NOT FOUND;
    END LOOP;
    IF claimed IS NOT NULL THEN
      d_running := d_running + 1;
      job.started_at := coalesce(job.started_at, now_at);
      chain := aetheris_append(chain, 'step_claimed', v_key, v_attempt, v_causes, '{}', NULL, NULL, NULL);
      IF (claim -> 'intent' ->> 'step')::bigint = claimed THEN
        op := claim -> 'intent';
        claim_entry := aetheris_intend(job.id, job.tenant, chain.worker, now_at, op, v_attempt);
        IF (claim_entry ->> 'inserted')::boolean THEN
          chain := aetheris_append(chain, op ->> 'type', op ->> 'key', v_attempt, NULL, op ->> 'data', op ->> 'sd', op -> 'parts',
                                   (op ->> 'call') || '#' || (op ->> 'generation'));
        END IF;
      END IF;
    END IF;
  END IF;
  IF job.finished_at IS NULL THEN
    job.status := CASE
      WHEN job.started_at IS NULL THEN 'pending'
      WHEN job.ready_steps + d_ready + job.running_steps + d_running > 0 OR job.waiting_steps + d_waiting = 0 THEN 'running'
      ELSE 'waiting' END;
  END IF;

  -- 7. the job row ---------------------------------------------------------------------------------------
  -- A turn that changed nothing writes nothing: a hint for a step that was not to be had is no dead row.
  UPDATE aetheris_job SET status = job.status, result = job.result, error = job.error, started_at = job.started_at,
      finished_at = job.finished_at, paused_at = job.paused_at, cancel_requested_at = job.cancel_requested_at,
      ending_as = job.ending_as, compensating_at = job.compensating_at, total_steps = job.total_steps, seq = chain.seq, head = chain.head, last_event_at = chain.at,
      ready_steps = ready_steps + d_ready, running_steps = running_steps + d_running,
      waiting_steps = waiting_steps + d_waiting, unfinished_steps = unfinished_steps + d_unfinished
    WHERE id = job.id AND chain.seq <> job.seq;

  IF job.timeout IS NOT NULL THEN
    -- The clock of a job runs while it is to work: not while it waits, rests, or ends.
    v_bool := job.status IN ('pending', 'running') AND job.paused_at IS NULL AND job.ending_as IS NULL;
    IF v_bool <> (job.overdue_at IS NOT NULL) THEN
      UPDATE aetheris_job SET overdue_at = CASE WHEN v_bool THEN now_at + make_interval(secs => work_left) END,
          work_left = CASE WHEN v_bool THEN work_left ELSE greatest(0, extract(epoch FROM overdue_at - now_at)) END
        WHERE id = job.id;
    END IF;
  END IF;

  v_json := jsonb_build_object('job', job.id, 'seq', chain.seq, 'status', job.status, 'answers', answers);
  IF claimed IS NOT NULL THEN
    v_json := v_json || jsonb_build_object('entry', claim_entry,
      'claimed', aetheris_claimed(claimed, (claim ->> 'with_job')::boolean, (claim ->> 'with_results')::boolean));
  END IF;
  IF claimed IS NULL AND turn -> 'claim' ? 'others' THEN
    v_json := v_json || jsonb_build_object('taken', aetheris_take(turn));
  END IF;
  IF job.finished_at = now_at THEN
    v_json := v_json || jsonb_build_object('ended', true, 'is_subjob', job.parent_step_id IS NOT NULL);
  END IF;
  IF cardinality(released) > 0 THEN
    v_json := v_json || jsonb_build_object('released',
      (SELECT jsonb_agg(jsonb_build_array(s.id, array_to_string(s.queue || s.requires, '+'))) FROM aetheris_step s
         WHERE s.id = ANY (released) AND s.run_after IS NULL));
  END IF;
  RETURN v_json;
END $$;

-- statement
-- Turns of several jobs in one transaction. A turn that is refused takes nothing of the others along, and a job that
-- somebody is at work on is passed over: no turn here waits for a job while it holds others, so that two callers
-- cannot wait for each other. One who waits sends turns of one job only. Answers for each what the turn answered, or
-- `held`, or `refused` with the SQL state.
CREATE OR REPLACE FUNCTION aetheris_turns(turns jsonb, waits boolean DEFAULT false) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  one jsonb;
  answers jsonb := '[]';
BEGIN
  FOR one IN SELECT value FROM jsonb_array_elements(turns) LOOP
    BEGIN
      answers := answers || aetheris_turn(one, waits);
    EXCEPTION WHEN OTHERS THEN
      answers := answers || jsonb_build_object('refused', SQLSTATE, 'message', SQLERRM);
    END;
  END LOOP;
  RETURN answers;
END $$;
