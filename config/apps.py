"""The composition as a Django app: every process knows the broker, its actors and the system checks."""

from __future__ import annotations

from django.apps import AppConfig


class Composition(AppConfig):
    name = "config"

    def ready(self) -> None:
        # Late, because actors import models and views.
        import config.api.permissions
        import config.broker  # noqa: F401
