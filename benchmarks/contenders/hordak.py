"""django-hordak, in its own virtual environment: one transfer at a time, and with bulk_create.

It writes a transaction and two legs; it keeps no balances, limits, history, keys or events.
"""

from __future__ import annotations

import os
import uuid
import warnings
from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import unquote, urlsplit

import django
from django.conf import settings

URL = urlsplit(os.environ["MIGRATE_DATABASE_URL"])
settings.configure(
    SECRET_KEY=os.environ["SECRET_KEY"],
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "mptt", "djmoney", "hordak"],
    HORDAK_INTERNAL_CURRENCY="USD",
    HORDAK_CURRENCIES=["USD"],
    DEFAULT_CURRENCY="USD",
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": URL.path.lstrip("/"),
            "USER": unquote(URL.username or ""),
            "PASSWORD": unquote(URL.password or ""),
            "HOST": URL.hostname,
            "PORT": str(URL.port or ""),
            "CONN_MAX_AGE": None,
        }
    },
)
warnings.simplefilter("ignore")
django.setup()

from django.core.management import call_command  # noqa: E402  (after django.setup)
from django.db import transaction  # noqa: E402
from hordak.models import (  # type: ignore[import-not-found]  # noqa: E402  (in this environment alone)
    Account,
    AccountType,
    Leg,
    Transaction,
)
from moneyed import Money  # type: ignore[import-not-found]  # noqa: E402  (in this environment alone)

from benchmarks.contenders.loop import ACCOUNTS, Transfer, Way, serve  # noqa: E402

Prepared = list[tuple[Any, Any, Any]]


def main() -> None:
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


if __name__ == "__main__":
    main()
