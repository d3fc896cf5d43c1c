"""Make an API key."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.runtime.clock import now
from config.runtime.errors import DomainError
from ledger.clients.models import Client
from ledger.clients.scopes import SCOPES
from ledger.clients.services import create_key


class Command(BaseCommand):
    help = "Make an API key for a client and print it once; only its hash is kept."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("client", help="the client's name")
        parser.add_argument("--scopes", required=True, help=f"'all', or some of these with commas: {', '.join(SCOPES)}")
        parser.add_argument("--label", default="", help="what the key is for")
        parser.add_argument("--days", type=int, help="days until it expires; without: never")

    def handle(self, *args: Any, **options: Any) -> None:
        client = Client.objects.filter(name=options["client"]).first()
        if client is None:
            raise CommandError(f"There is no client {options['client']!r}. Make it with create_client.")
        scopes = SCOPES if options["scopes"] == "all" else [word.strip() for word in options["scopes"].split(",")]
        days = options["days"]
        if days is not None and not 1 <= days <= 3660:  # noqa: PLR2004  (ten years)
            raise CommandError("--days is 1 to 3660.")
        try:
            key, text = create_key(
                client=client,
                scopes=scopes,
                label=options["label"],
                expires_at=now() + timedelta(days=days) if days else None,
                actor="command:create_key",
            )
        except DomainError as error:
            raise CommandError(f"{error.detail} ({error.code})") from error
        self.stdout.write(text)
        self.stderr.write(f"Key {key.key_id} of {client.name}: {', '.join(key.scopes)}. It is not shown again.")
