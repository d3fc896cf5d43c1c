"""`manage.py verify_ledger`: do the books hold?"""

from __future__ import annotations

import json
import re
from argparse import ArgumentTypeError
from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandError, CommandParser

from ledger.management.reporting import ReportCommand, client_named
from ledger.queries.invariants import Finding, Head, Verification, verify


class Command(ReportCommand):
    help = (
        "Checks the invariants of the books on one snapshot of the database. Reads only; money may move meanwhile. "
        "Exits with 1 when one of them does not hold."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--client", help="report on this client alone")
        parser.add_argument(
            "--noted", type=_head, metavar="NUMBER:HASH", help="a head of the record that was kept elsewhere"
        )

    def report(self, options: Mapping[str, Any]) -> None:
        name = options["client"]
        result = verify(client_id=None if name is None else client_named(name).pk, noted=options["noted"])
        if options["json"]:
            self.write_json(_as_json(result))
        else:
            self._write_table(result)
        if not result.holds:
            broken = ", ".join(finding.check.name for finding in result.findings if finding.offences)
            raise CommandError(f"The ledger does not hold: {broken}.")

    def _write_table(self, result: Verification) -> None:
        for finding in result.findings:
            state = f"{finding.offences:,} offences" if finding.offences else "holds"
            self.stdout.write(f"{finding.check.name:<26}{state:<16}{finding.check.meaning}")
            self._write_offences(finding)
        self.stdout.write(
            f"{result.clients:,} clients, {result.transactions:,} transactions and {result.entries:,} entries checked."
        )
        if result.head is not None:
            self.stdout.write(f"The record ends with block {result.head.number}:{result.head.hash}.")

    def _write_offences(self, finding: Finding) -> None:
        for name, count in finding.clients.items():
            self.stdout.write(f"    {count:,} of {name or 'no client'}")
        for row in finding.sample:
            self.stdout.write(f"    {json.dumps(row)}")


def _head(text: str) -> Head:
    found = re.fullmatch(r"([0-9]{1,18}):([0-9a-f]{64})", text, re.ASCII)
    if found is None:
        raise ArgumentTypeError(f"{text!r} is no block's number and hash, such as 7:3b1f…")
    return Head(int(found[1]), found[2])


def _as_json(result: Verification) -> dict[str, Any]:
    return {
        "ok": result.holds,
        "checks": {
            finding.check.name: {
                "offences": finding.offences,
                "clients": finding.clients,
                "sample": finding.sample,
            }
            for finding in result.findings
        },
        "clients": result.clients,
        "transactions": result.transactions,
        "entries": result.entries,
        "head": None if result.head is None else result.head._asdict(),
    }
