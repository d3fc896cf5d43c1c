"""`manage.py consume_transactions`: the process that takes what others ask for by messages."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from config.management.threads import run_threads
from config.runtime.errors import DomainError
from config.runtime.logging import set_role
from ledger.events.consuming import consume_works


class Command(BaseCommand):
    help = (
        "Takes messages from the topics of INBOUND_TOPICS at the brokers of EVENTS_URL and books them; any number may"
        " run, and share the work. Stops on SIGTERM or Ctrl-C within 5 seconds."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        set_role("consumer")
        try:
            works = consume_works()
        except DomainError as error:
            raise CommandError(error.detail) from error
        run_threads(works)
