"""The gate as a SQL function, and the triggers that refuse what code must never do."""

from django.db import migrations

from runtime.sql import statements

CHAIN = (
    "CREATE TYPE aetheris_chain AS (job uuid, tenant text, log text, worker uuid, seq bigint, head bytea,"
    " at timestamptz, at_text text)"
)
UNDO = [
    "DROP TRIGGER aetheris_ledger_arrows ON aetheris_ledger_entry",
    "DROP TRIGGER aetheris_event_rows ON aetheris_event",
    "DROP TRIGGER aetheris_event_table ON aetheris_event",
    "DROP TRIGGER aetheris_event_part_rows ON aetheris_event_part",
    "DROP TRIGGER aetheris_event_part_table ON aetheris_event_part",
    "DROP FUNCTION aetheris_check_entry, aetheris_refuse_change",
    "DROP FUNCTION IF EXISTS aetheris_turns, aetheris_turn, aetheris_take, aetheris_reopen, aetheris_redecide, aetheris_fill, aetheris_intend,"
    " aetheris_claimed, aetheris_compensate, aetheris_settle_wait, aetheris_append, aetheris_releases, aetheris_now",
    "DROP TYPE aetheris_chain",
]


class Migration(migrations.Migration):
    dependencies = [("runtime", "0001_tables")]

    operations = [
        migrations.RunSQL(
            [(sql, None) for sql in [CHAIN, *statements("turn.sql"), *statements("compensation.sql"), *statements("take.sql"), *statements("guards.sql")]],
            [(sql, None) for sql in UNDO],
        ),
    ]
