"""Replace an API key."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.runtime.clock import now
from config.runtime.errors import DomainError
from ledger.clients.management.keys import end_in, key_named
from ledger.clients.services import OVERLAP, OVERLAP_MAX, rotate_key

HOURS, HOURS_MAX = (int(one.total_seconds() // 3600) for one in (OVERLAP, OVERLAP_MAX))


class Command(BaseCommand):
    help = "Make a key that may do the same as another and print it once; the other expires after an overlap."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("key", help="the 8 characters after ch_")
        parser.add_argument("--overlap-hours", type=int, default=HOURS, help=f"until it expires, 0 to {HOURS_MAX}")
        parser.add_argument(
            "--days", type=int, help="days until the new one expires; without: when the other would have"
        )
        parser.add_argument("--reason", default="", help="it stands in the audit trail")

    def handle(self, *args: Any, **options: Any) -> None:
        hours = options["overlap_hours"]
        if not 0 <= hours <= HOURS_MAX:
            raise CommandError(f"--overlap-hours is 0 to {HOURS_MAX}.")
        old = key_named(options["key"])
        try:
            key, text = rotate_key(
                key=old,
                overlap=timedelta(hours=hours),
                expires_at=end_in(options["days"]),
                actor="command:rotate_key",
                reason=options["reason"],
                now=now(),
            )
        except DomainError as error:
            raise CommandError(f"{error.detail} ({error.code})") from error
        old.refresh_from_db(fields=["expires_at"])
        self.stdout.write(text)
        self.stderr.write(
            f"Key {key.key_id} of {old.client.name} is not shown again. {old.key_id} expires at {old.expires_at}."
        )
