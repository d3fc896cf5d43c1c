"""The WSGI application of the web processes: `granian --interface wsgi config.wsgi:application`."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

from config.runtime.logging import set_role

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
# Before Django loads its apps: the metrics that this import declares choose their storage for all that follow.
set_role("web")
application = get_wsgi_application()
