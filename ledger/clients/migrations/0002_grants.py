from django.db import migrations

from config.runtime.sql import sql_file


class Migration(migrations.Migration):
    dependencies = [
        ("clients", "0001_initial"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("sessions", "0001_initial"),
    ]

    operations = [migrations.RunSQL(sql_file("ledger/clients", "grants"))]
