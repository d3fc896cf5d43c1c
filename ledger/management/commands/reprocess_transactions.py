"""`manage.py reprocess_transactions`: have what failed for a passing reason posted again (spec 003)."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandError, CommandParser
from tqdm import tqdm

from config.runtime.batching import QueueFull
from config.runtime.clock import now
from ledger.actors import poke_posters
from ledger.domain.states import Status
from ledger.management.reporting import ReportCommand, client_named, moment
from ledger.services.reprocess import STAFF_CODES, Selection, count_by_code, reprocess

_ACTOR = "command:reprocess_transactions"


class Command(ReportCommand):
    help = (
        "Has posted again transactions and items of batches that failed for a passing reason, those included that are "
        "parked after five attempts, or makes those that wait for their next attempt due at once. What a business rule "
        "refused is never tried again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--since", type=moment, required=True, help="created from then on: a time, or 24h, 7d ago")
        parser.add_argument(
            "--status",
            choices=[Status.FAILED.value, Status.PROCESSING.value],
            default=Status.FAILED.value,
            help="failed (default), or processing: those between two attempts",
        )
        parser.add_argument("--code", choices=sorted(STAFF_CODES), help="failed with this error code alone")
        parser.add_argument("--client", help="of this client alone")
        parser.add_argument("--dry-run", action="store_true", help="only say what would be done")

    def report(self, options: Mapping[str, Any]) -> None:
        status = Status(options["status"])
        if options["code"] and status is not Status.FAILED:
            raise CommandError("--code goes with --status failed: what is processing has no error.")
        selection = Selection(
            since=options["since"],
            status=status,
            codes={options["code"]} if options["code"] else STAFF_CODES,
            client_id=None if options["client"] is None else client_named(options["client"]).pk,
        )
        found = count_by_code(selection)
        done = 0 if options["dry_run"] else self._reprocess(selection, found, hidden=options["json"])
        if options["json"]:
            self.write_json({"found": found.total(), "codes": dict(found), "requeued": done})
        else:
            self._write(found, done, dry_run=options["dry_run"])

    def _reprocess(self, selection: Selection, found: Counter[str], *, hidden: bool) -> int:
        done = 0
        try:
            with tqdm(total=found.total(), unit="tx", disable=hidden or not sys.stderr.isatty()) as bar:
                for looked_at, moved in reprocess(selection, actor=_ACTOR, now=now()):
                    done += moved
                    bar.update(looked_at)
        except QueueFull as error:
            raise CommandError(
                f"{error.detail} {done:,} of {found.total():,} are on their way. Run it again in a while."
            ) from error
        finally:
            if done:
                poke_posters()
        return done

    def _write(self, found: Counter[str], done: int, *, dry_run: bool) -> None:
        for code, count in sorted(found.items()):
            self.stdout.write(f"{code or 'between attempts':<24}{count:>10,}")
        if dry_run:
            self.stdout.write(f"{found.total():,} would be posted again. Without --dry-run they are.")
        else:
            self.stdout.write(f"{done:,} of {found.total():,} are on their way.")
