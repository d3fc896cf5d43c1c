"""Make a client (a tenant)."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.runtime.errors import DomainError
from ledger.clients.models import Tier
from ledger.clients.services import create_client


class Command(BaseCommand):
    help = "Make a client. Its keys come from create_key."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="unique name, at most 100 characters")
        parser.add_argument("--tier", default=Tier.STANDARD.value, choices=Tier.values, help="quotas follow from it")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            client = create_client(name=options["name"], tier=options["tier"], actor="command:create_client")
        except DomainError as error:
            raise CommandError(f"{error.detail} ({error.code})") from error
        self.stdout.write(f"client {client.public_id} {client.name} ({client.tier})")
        self.stdout.write(f"next: manage.py create_key {client.name!r} --scopes accounts:read,transactions:read")
