"""`manage.py describe_api v2`: the OpenAPI document of a version, as docs/reference/openapi-v2.json holds it."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from config.api.docs import described


class Command(BaseCommand):
    help = "Prints the OpenAPI document of a version of the API, as the service serves it, indented."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the version."""
        parser.add_argument("version", choices=settings.REST_FRAMEWORK["ALLOWED_VERSIONS"])

    def handle(self, *args: Any, version: str, **options: Any) -> None:
        """Print it."""
        self.stdout.write(described(version), ending="")
