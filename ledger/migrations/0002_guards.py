from django.db import migrations

from config.runtime.sql import sql_file


class Migration(migrations.Migration):
    dependencies = [("ledger", "0001_initial"), ("clients", "0002_grants"), ("events", "0001_initial")]

    operations = [
        migrations.RunSQL(sql_file("ledger", name)) for name in ("balance", "transaction", "journal", "grants")
    ]
