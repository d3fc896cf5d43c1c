"""Make an API key."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.runtime.errors import DomainError
from ledger.clients.management.keys import end_in
from ledger.clients.models import Client
from ledger.clients.scopes import ROLES, SCOPES, scopes_named
from ledger.clients.services import create_key


class Command(BaseCommand):
    help = "Make an API key for a client and print it once; only its hash is kept."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("client", help="the client's name")
        parser.add_argument(
            "--scopes",
            required=True,
            help=f"'all', or some of these with commas: {', '.join(SCOPES)}; or roles: {', '.join(ROLES)}",
        )
        parser.add_argument("--label", default="", help="what the key is for")
        parser.add_argument("--days", type=int, help="days until it expires; without: never")
        parser.add_argument(
            "--networks", default="", help="address ranges from which it is taken, such as 203.0.113.0/24"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        client = Client.objects.filter(name=options["client"]).first()
        if client is None:
            raise CommandError(f"There is no client {options['client']!r}. Make it with create_client.")
        try:
            key, text = create_key(
                client=client,
                scopes=scopes_named(_words(options["scopes"])),
                label=options["label"],
                networks=_words(options["networks"]),
                expires_at=end_in(options["days"]),
                actor="command:create_key",
            )
        except DomainError as error:
            raise CommandError(f"{error.detail} ({error.code})") from error
        self.stdout.write(text)
        self.stderr.write(f"Key {key.key_id} of {client.name}: {', '.join(key.scopes)}. It is not shown again.")


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
