"""django-hordak, in its own virtual environment: one transfer at a time, and with bulk_create.

It writes a transaction and two legs; it keeps no balances, limits, history, keys or events.
"""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django.core.management import call_command
from django.db import transaction
from hordak.models import (  # type: ignore[import-not-found]  # in this environment alone
    Account,
    AccountType,
    Leg,
    Transaction,
)
from moneyed import Money  # type: ignore[import-not-found]  # in this environment alone

from benchmarks.contenders.loop import ACCOUNTS, Transfer, Way, serve

Prepared = list[tuple[Any, Any, Any]]


def main() -> None:
    warnings.simplefilter("ignore")
    call_command("migrate", verbosity=0)
    # Roots of trees of one node each; its own `create` takes a query for each of the 10,000.
    accounts = Account.objects.bulk_create(
        [
            Account(
                name=f"{n:05}",
                code=f"{n:05}",
                type=AccountType.liability,
                currencies=["USD"],
                uuid=uuid.uuid4(),
                lft=1,
                rght=2,
                tree_id=n + 1,
                level=0,
            )
            for n in range(ACCOUNTS)
        ]
    )

    def prepare(transfers: Sequence[Transfer]) -> Prepared:
        return [
            (accounts[one.debit], accounts[one.credit], Money(Decimal(one.amount_minor) / 100, "USD"))
            for one in transfers
        ]

    serve(
        {"hordak bulk_create": Way(prepare, bulk, _nothing), "hordak transfer_to": Way(prepare, one_by_one, _nothing)}
    )


def bulk(prepared: Prepared) -> None:
    with transaction.atomic():
        rows = Transaction.objects.bulk_create([Transaction() for _ in prepared])
        legs = []
        for row, (debit, credit, amount) in zip(rows, prepared, strict=True):
            legs += [
                Leg(transaction=row, account=debit, debit=amount),
                Leg(transaction=row, account=credit, credit=amount),
            ]
        Leg.objects.bulk_create(legs)


def one_by_one(prepared: Prepared) -> None:
    for debit, credit, amount in prepared:
        with transaction.atomic():
            credit.transfer_to(debit, amount)


def _nothing(_: Any) -> None:
    """Its triggers have judged at the commit."""
