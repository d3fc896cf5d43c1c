"""`manage.py describe_events`: the reference of the events, as docs/reference/events.md holds it."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from ledger.events.description import describe_events


class Command(BaseCommand):
    help = "Prints the page that tells of every type of event, with the JSON Schemas of their data."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(describe_events(), ending="")
