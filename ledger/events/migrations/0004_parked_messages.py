from django.db import migrations

from config.runtime.sql import sql_file


class Migration(migrations.Migration):
    dependencies = [("events", "0003_followers")]

    operations = [migrations.RunSQL(sql_file("ledger/events", "parked_messages"))]
