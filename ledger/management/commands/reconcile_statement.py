"""`manage.py reconcile_statement`: do the books agree with what the bank printed?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandError

from ledger.domain.money import format_amount
from ledger.management.reporting import client_named, grouped
from ledger.management.statements import StatementCommand, reading
from ledger.queries.reconciliation import Break, Reconciliation, reconcile
from ledger.statements import BANKS, Bank
from ledger.statements.base import open_statement, read_statement


class Command(StatementCommand):
    help = (
        "Compares the closing balance of each account in the books with the balances that the bank printed on the "
        "account's last day. Exits with 1 when an account differs by more than the bank's rounding."
    )
    client_help = "the client whose books it was imported into"

    def report(self, options: Mapping[str, Any]) -> None:
        bank, client = BANKS[options["bank"]], client_named(options["client"])
        with reading(options["file"]), open_statement(options["file"]) as (content, _):
            result = reconcile(client_id=client.pk, bank=bank, lines=read_statement(bank, content))
        if options["json"]:
            self.write_json(_as_json(result, bank))
        else:
            self._write_table(result, bank)
        if result.breaks or result.malformed:
            raise CommandError(_why(result))

    def _write_table(self, result: Reconciliation, bank: Bank) -> None:
        def money(minor: int) -> str:
            return grouped(minor, bank.exponent)

        self.stdout.write(f"accounts            {result.accounts:>16,}")
        self.stdout.write(f"exact               {result.exact:>16,}")
        self.stdout.write(f"within {money(bank.rounding_minor):<12} {result.within_rounding:>16,}")
        self.stdout.write(f"breaks              {len(result.breaks):>16,}")
        self.stdout.write(f"sum ({bank.currency})           {money(result.sum_minor):>16}")
        if result.breaks:
            self.stdout.write(f"\n{'account':<18} {'ours':>16} {'printed':>16} {'difference':>16}")
        for one in result.breaks:
            ours = "not in the books" if one.ours is None else money(one.ours)
            self.stdout.write(f"{one.account:<18} {ours:>16} {money(one.printed):>16} {money(one.difference):>16}")


def _as_json(result: Reconciliation, bank: Bank) -> dict[str, Any]:
    def text(minor: int) -> str:
        return format_amount(minor, exponent=bank.exponent)

    def shown(one: Break) -> dict[str, Any]:
        return {
            "account": one.account,
            "ours": None if one.ours is None else text(one.ours),
            "printed": text(one.printed),
            "difference": text(one.difference),
        }

    return {
        "accounts": result.accounts,
        "exact": result.exact,
        "within_" + text(bank.rounding_minor).replace(".", "_"): result.within_rounding,
        "breaks": [shown(one) for one in result.breaks],
        "sum": text(result.sum_minor),
        "currency": bank.currency,
        "malformed": result.malformed,
    }


def _why(result: Reconciliation) -> str:
    reasons = []
    if result.breaks:
        reasons.append(f"{len(result.breaks)} of {result.accounts} accounts do not agree with the statement.")
    if result.malformed:
        reasons.append(f"{result.malformed} lines of the file are malformed and were not compared.")
    return " ".join(reasons)
