from django.db import migrations

from config.runtime.sql import sql_file


class Migration(migrations.Migration):
    dependencies = [("ledger", "0004_record")]

    operations = [migrations.RunSQL(sql_file("ledger", "folding"))]
