from django.db import migrations

from config.runtime.sql import sql_file


class Migration(migrations.Migration):
    dependencies = [("events", "0002_dead_letters")]

    operations = [migrations.RunSQL(sql_file("ledger/events", "followers"))]
