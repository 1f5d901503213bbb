"""The gate with scopes."""

from django.db import migrations

from runtime.sql import statements


class Migration(migrations.Migration):
    dependencies = [("runtime", "0003_scopes")]

    operations = [migrations.RunSQL([(sql, None) for sql in statements("turn.sql")], migrations.RunSQL.noop)]
