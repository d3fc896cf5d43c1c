"""The composition as a Django app: every process knows the broker, its actors and the system checks."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.cache import close_caches
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, reset_queries


class Composition(AppConfig):
    name = "config"

    def ready(self) -> None:
        # Late, because actors import models and views.
        import config.api.permissions
        import config.api.versions
        import config.broker  # noqa: F401

        # A tenth of the time that Django itself takes for a request, and nothing to do: connections go back to the
        # pool at the end of a request, Redis' have a pool of their own, and Django keeps the last statements in DEBUG.
        request_started.disconnect(reset_queries)
        request_started.disconnect(close_old_connections)
        request_finished.disconnect(close_caches)
