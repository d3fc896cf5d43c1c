"""`manage.py api_usage`: who still asks for which operations of an API version, how often and since when?"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandParser

from config.runtime.clock import now
from ledger.clients.usage import KEPT_DAYS, usage_of
from ledger.management.reporting import ReportCommand, moment


class Command(ReportCommand):
    help = (
        "Shows which clients ask for which operations of an API version, how often, and on which days first and last."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--api", default="v1", choices=["v1", "v2"], help="by default v1, which ends")
        parser.add_argument(
            "--since", type=moment, help=f"a day, or 30d ago; by default all that is kept: {KEPT_DAYS}d"
        )

    def report(self, options: Mapping[str, Any]) -> None:
        since = (options["since"] or now() - timedelta(days=KEPT_DAYS)).date()
        found = usage_of(options["api"], since=since)
        if options["json"]:
            rows = [
                dataclasses.asdict(one) | {"first_on": str(one.first_on), "last_on": str(one.last_on)} for one in found
            ]
            self.write_json({"version": options["api"], "since": str(since), "usage": rows})
            return
        for one in found:
            self.stdout.write(f"{one.requests:>12,}  {one.first_on} to {one.last_on}  {one.client}  {one.operation}")
        clients = len({one.client for one in found})
        self.stdout.write(f"Clients that asked for {options['api']} since {since}: {clients:,}")
