-- statement
-- Work of another job for a worker that has none left of its own, which so need not come back through the broker. It is
-- claimed in the transaction of the turn that asks. That turn holds a job already, so no other is waited for: one that
-- somebody is at work on is passed over. Answers what the claiming turn answers, or NULL. Without sorting there is one
-- index that gives the steps in their order, and any other would be read as a whole.
CREATE OR REPLACE FUNCTION aetheris_take(turn jsonb) RETURNS jsonb LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_sort = off AS $$
DECLARE
  v_claim jsonb := ((turn -> 'claim') - 'others') || '{"only": true, "with_job": true, "with_results": true, "intent": null}'::jsonb;
  v_queue text;
  v_answer jsonb;
  s record;
BEGIN
  FOR v_queue IN SELECT value FROM jsonb_array_elements_text(turn -> 'claim' -> 'others') LOOP
    FOR s IN SELECT id, job_id FROM aetheris_step
        WHERE status = 'ready' AND queue = v_queue AND requires = '{}' AND (run_after IS NULL OR run_after <= aetheris_now())
        ORDER BY greatest(hint_after, run_after, ready_at) LIMIT 64 LOOP
      PERFORM 1 FROM aetheris_job j WHERE j.id = s.job_id AND j.paused_at IS NULL AND (j.ending_as IS NULL OR j.compensating_at IS NOT NULL)
          AND NOT EXISTS (SELECT 1 FROM aetheris_held h WHERE h.tenant = j.tenant
            AND h.name = CASE h.kind WHEN 'queue' THEN v_queue ELSE j.agent END)
        FOR NO KEY UPDATE SKIP LOCKED;
      CONTINUE WHEN NOT FOUND;
      v_answer := aetheris_turn(jsonb_build_object('step', s.id, 'worker', turn -> 'worker', 'log', turn -> 'log',
        'claim', v_claim || jsonb_build_object('step', s.id)));
      IF v_answer ->> 'claimed' IS NOT NULL THEN
        RETURN v_answer;
      END IF;
    END LOOP;
  END LOOP;
  RETURN NULL;
EXCEPTION WHEN OTHERS THEN
  -- What is wrong with that step is no reason to refuse the turn of this one: whoever claims it alone will meet it.
  RAISE WARNING 'a step could not be taken: % %', SQLSTATE, SQLERRM;
  RETURN NULL;
END $$;
