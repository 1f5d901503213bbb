-- What the database refuses, whatever code asks for it.

-- statement
-- Events are append-only. A test run may truncate between tests, and nothing else.
CREATE OR REPLACE FUNCTION aetheris_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'TRUNCATE' AND current_setting('aetheris.allow_truncate', true) = 'on' THEN
    RETURN NULL;
  END IF;
  IF TG_TABLE_NAME = 'aetheris_event_part' AND TG_OP = 'DELETE' AND current_setting('aetheris.erasing', true) = 'on' THEN
    RETURN OLD;
  END IF;
  RAISE EXCEPTION '% is append-only: % was refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'AE006';
END $$;

-- statement
CREATE TRIGGER aetheris_event_rows BEFORE UPDATE OR DELETE ON aetheris_event
  FOR EACH ROW EXECUTE FUNCTION aetheris_refuse_change();

-- statement
CREATE TRIGGER aetheris_event_table BEFORE TRUNCATE ON aetheris_event
  FOR EACH STATEMENT EXECUTE FUNCTION aetheris_refuse_change();

-- statement
CREATE TRIGGER aetheris_event_part_rows BEFORE UPDATE OR DELETE ON aetheris_event_part
  FOR EACH ROW EXECUTE FUNCTION aetheris_refuse_change();

-- statement
CREATE TRIGGER aetheris_event_part_table BEFORE TRUNCATE ON aetheris_event_part
  FOR EACH STATEMENT EXECUTE FUNCTION aetheris_refuse_change();

-- statement
-- Mirrors ENTRY_ALLOWED_FROM in runtime/states.py; a test holds the two together.
CREATE OR REPLACE FUNCTION aetheris_check_entry() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.state NOT IN ('reserved', 'started') THEN
      RAISE EXCEPTION 'a ledger entry begins as reserved or started, not %', NEW.state USING ERRCODE = 'AE007';
    END IF;
  ELSIF NEW.state <> OLD.state AND (OLD.state || '>' || NEW.state) NOT IN (
      'reserved>started', 'refused>started', 'unknown>started', 'started>accepted', 'unknown>accepted',
      'started>committed', 'accepted>committed', 'unknown>committed', 'started>refused', 'unknown>refused',
      'started>unknown', 'accepted>unknown', 'unknown>abandoned', 'refused>failed', 'accepted>failed',
      'reserved>cancelled', 'committed>compensated') THEN
    RAISE EXCEPTION 'a ledger entry cannot go from % to %', OLD.state, NEW.state USING ERRCODE = 'AE007';
  END IF;
  RETURN NEW;
END $$;

-- statement
CREATE TRIGGER aetheris_ledger_arrows BEFORE INSERT OR UPDATE OF state ON aetheris_ledger_entry
  FOR EACH ROW EXECUTE FUNCTION aetheris_check_entry();

-- statement
ALTER TABLE aetheris_job SET (fillfactor = 70);

-- statement
ALTER TABLE aetheris_step SET (fillfactor = 70);

-- statement
-- The bytes of headers and digests do not compress.
ALTER TABLE aetheris_event ALTER COLUMN header SET STORAGE EXTERNAL;
