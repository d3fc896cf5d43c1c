"""`manage.py replay_dead_letters`: have messages handled again that could not be, or give them up."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.core.management.base import CommandError, CommandParser
from msgspec import structs

from ledger.events.models import TEXT_LENGTH_MAX
from ledger.events.shapes import TallyShape
from ledger.management.reporting import ReportCommand, client_named, moment, progress_bar
from ledger.queries.dead_letters import Selection, tally
from ledger.services.dead_letter_runs import RATE_PER_S, discard_dead_letters, replay_dead_letters
from ledger.services.dead_letters import STAFF_REPLAYS_MAX

_ACTOR = "command:replay_dead_letters"
_CHOICES = ("id", "client", "consumer", "code", "since")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


class Command(ReportCommand):
    help = (
        "Hands open dead letters to what could not handle them, in the order in which they were recorded, also those "
        "that their clients have replayed as often as they may. One that fails again stays open, and those of its "
        "consumer and key wait behind it. With --discard they are given up for good instead."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--id", type=UUID, action="append", help="this one; may be repeated")
        parser.add_argument("--client", help="of this client alone")
        parser.add_argument("--consumer", help="of this consumer alone, such as inbound:transactions.inbound")
        parser.add_argument("--code", help="with this error code alone")
        parser.add_argument("--since", type=moment, help="recorded from then on: a time, or 24h, 7d ago")
        parser.add_argument("--limit", type=_count, help="the oldest so many alone")
        parser.add_argument("--rate", type=_count, default=RATE_PER_S, help="so many a second at most (%(default)s)")
        parser.add_argument("--reason", default="", help="stands in the letter and in the audit trail")
        parser.add_argument("--discard", action="store_true", help="give them up for good; needs --reason")
        parser.add_argument("--dry-run", action="store_true", help="only say what would be done")

    def report(self, options: Mapping[str, Any]) -> None:
        _check(options)
        selection = Selection(
            ids=options["id"],
            client_id=None if options["client"] is None else client_named(options["client"]).pk,
            consumer=options["consumer"],
            error_code=options["code"],
            since=options["since"],
        )
        ids = list(selection.rows.values_list("pk", flat=True)[: options["limit"]])
        chosen = selection if options["limit"] is None else Selection(ids=ids)
        found = tally(chosen.rows, replays_max=STAFF_REPLAYS_MAX)
        outcomes = Counter[str]() if options["dry_run"] else self._handle(ids, options)
        if options["json"]:
            self.write_json(_answer(found, outcomes))
        else:
            self._write(found, outcomes, options)
        if outcomes.total() > outcomes[""]:
            raise CommandError(f"{outcomes.total() - outcomes['']:,} of {outcomes.total():,} stay as they are.")

    def _handle(self, ids: Sequence[UUID], options: Mapping[str, Any]) -> Counter[str]:
        outcomes = Counter[str]()
        with progress_bar("dead letters", total=len(ids), unit=" letters", hidden=options["json"]) as bar:
            for _, code in _handled(ids, options):
                outcomes[code] += 1
                bar.update()
        return outcomes

    def _write(self, found: Sequence[TallyShape], outcomes: Counter[str], options: Mapping[str, Any]) -> None:
        for one in found:
            self.stdout.write(f"{one.consumer:<48}{one.error_code:<32}{one.count:>10,}{one.replayable:>10,} replayable")
        total, replayable = sum(one.count for one in found), sum(one.replayable for one in found)
        if options["dry_run"]:
            may_be = f"{total:,} would be discarded" if options["discard"] else f"{replayable:,} would be replayed"
            self.stdout.write(f"{may_be} of {total:,}. Without --dry-run they are.")
            return
        for code, count in sorted(outcomes.items()):
            self.stdout.write(f"{code or _done(options):<32}{count:>10,}")


def _check(options: Mapping[str, Any]) -> None:
    if options["discard"] and not options["reason"].strip():
        raise CommandError("--discard needs a --reason.")
    if len(options["reason"]) > TEXT_LENGTH_MAX:
        raise CommandError(f"--reason has at most {TEXT_LENGTH_MAX} characters.")
    if not options["dry_run"] and all(options[name] is None for name in _CHOICES):
        raise CommandError(f"Say which are meant: {', '.join(f'--{name}' for name in _CHOICES)}; or --dry-run.")


def _handled(ids: Sequence[UUID], options: Mapping[str, Any]) -> Iterator[tuple[UUID, str]]:
    if options["discard"]:
        return discard_dead_letters(ids, reason=options["reason"], actor=_ACTOR)
    return replay_dead_letters(
        ids,
        replays_max=STAFF_REPLAYS_MAX,
        rate_per_s=options["rate"],
        reason=options["reason"],
        actor=_ACTOR,
    )


def _done(options: Mapping[str, Any]) -> str:
    return "discarded" if options["discard"] else "replayed"


def _answer(found: Sequence[TallyShape], outcomes: Counter[str]) -> dict[str, Any]:
    return {
        "found": [structs.asdict(one) for one in found],
        "done": outcomes[""],
        "refused": {code: count for code, count in sorted(outcomes.items()) if code},
    }
