"""The settings of django-hordak's process."""

from __future__ import annotations

import os
from urllib.parse import unquote, urlsplit

_URL = urlsplit(os.environ["MIGRATE_DATABASE_URL"])

SECRET_KEY = os.environ["SECRET_KEY"]
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "mptt", "djmoney", "hordak"]
HORDAK_INTERNAL_CURRENCY = "USD"
HORDAK_CURRENCIES = ["USD"]
DEFAULT_CURRENCY = "USD"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _URL.path.lstrip("/"),
        "USER": unquote(_URL.username or ""),
        "PASSWORD": unquote(_URL.password or ""),
        "HOST": _URL.hostname,
        "PORT": str(_URL.port or ""),
        "CONN_MAX_AGE": None,
    }
}
