"""End an API key."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from config.runtime.clock import now
from ledger.clients.management.keys import key_named
from ledger.clients.services import revoke_key


class Command(BaseCommand):
    help = "End a key and the tokens that it has minted, within a second."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("key", help="the 8 characters after ch_")
        parser.add_argument("--reason", default="", help="it stands in the audit trail")

    def handle(self, *args: Any, **options: Any) -> None:
        key = key_named(options["key"])
        is_ended = revoke_key(key=key, actor="command:revoke_key", reason=options["reason"], now=now())
        self.stdout.write(f"{key.key_id} of {key.client.name} {'is' if is_ended else 'was'} revoked.")
