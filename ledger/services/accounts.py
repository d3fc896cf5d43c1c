"""Open accounts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec
from django.db import IntegrityError, OperationalError, transaction
from psycopg import errors as pg

from config.runtime.database import raw_cursor
from config.runtime.tracing import outgoing_headers
from ledger.domain.accounts import AccountKind, is_path
from ledger.domain.shapes import AccountShape
from ledger.errors import (
    CeilingBelowZero,
    CurrencyUnknown,
    FloorAboveZero,
    IdempotencyKeyInUse,
    PathMalformed,
    PathTaken,
)
from ledger.events.outbox import Happened, record_events
from ledger.events.types import EventType
from ledger.locks import bound_waits
from ledger.models import Account, Balance
from ledger.queries.accounts import account_shape, exponent_of, get_account
from ledger.services.fields import limit_at
from ledger.services.idempotency import Claim, keep_key, take_key

OPERATION = "accounts.open"
DEFAULT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """An account to open. Limits are texts in major units, None for no limit, or "default".

    By default a user's liability account has floor 0, every other account has no limits.
    """

    path: str
    currency: str
    kind: str
    user_id: str | None = None
    floor: str | None = DEFAULT
    ceiling: str | None = DEFAULT
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Opened:
    """An account that stands; `replayed` when an earlier request with the same key opened it."""

    account: AccountShape
    replayed: bool


def open_account(*, client_id: int, opening: Opening, claim: Claim | None = None) -> Opened:
    """Open one account with a balance of zero.

    Raises:
        Invalid: a field that cannot be accepted.
        PathTaken: the client has an account with this path.
        IdempotencyKeyReused: the key belongs to another request.
        IdempotencyKeyInUse: an equal request has run for five seconds and still does.
    """
    row = _row(client_id, opening)
    try:
        with transaction.atomic(durable=True):
            bound_waits()
            earlier = None if claim is None else take_key(client_id=client_id, claim=claim)
            if earlier is None:
                opened = account_shape(_insert([row])[0])
                if claim is not None:
                    keep_key(client_id=client_id, claim=claim, object_id=str(opened.id))
                return Opened(opened, replayed=False)
    except OperationalError as error:
        if claim is None or not isinstance(error.__cause__, pg.LockNotAvailable):
            raise
        raise IdempotencyKeyInUse(retry_after_s=1) from error
    except IntegrityError as error:
        raise _named(error, opening) from error
    return Opened(account_shape(get_account(client_id, UUID(earlier))), replayed=True)


def open_accounts(*, client_id: int, openings: Sequence[Opening]) -> int:
    """Open those accounts whose paths are not taken, all in one commit; return how many were opened."""
    rows = {opening.path: _row(client_id, opening) for opening in openings}
    with transaction.atomic(durable=True):
        taken = Account.objects.filter(client_id=client_id, path__in=rows).values_list("path", flat=True)
        new = [rows[path] for path in rows.keys() - set(taken)]
        return len(_insert(sorted(new, key=lambda row: row.account.path))) if new else 0


def tell(event_type: EventType, rows: Sequence[Balance]) -> None:
    """Record an event about each account, as it stands now. Call inside a database transaction, after the locks."""
    trace = outgoing_headers().get("traceparent", "")
    with raw_cursor() as cursor:
        record_events(
            cursor,
            [
                Happened(
                    row.account.client_id,
                    event_type,
                    row.account.public_id,
                    msgspec.json.encode(account_shape(row)).decode(),
                    trace,
                )
                for row in rows
            ],
        )


def _row(client_id: int, opening: Opening) -> Balance:
    if not is_path(opening.path):
        raise PathMalformed.at("/path")
    exponent = exponent_of(opening.currency)
    if exponent is None:
        raise CurrencyUnknown.at("/currency", detail=f"There is no currency {opening.currency!r}.")
    kind = AccountKind(opening.kind)
    default_floor = 0 if kind is AccountKind.LIABILITY and opening.user_id is not None else None
    floor = default_floor if opening.floor == DEFAULT else limit_at("/floor", opening.floor, exponent)
    ceiling = None if opening.ceiling == DEFAULT else limit_at("/ceiling", opening.ceiling, exponent)
    _check_limits(floor, ceiling)
    account = Account(
        client_id=client_id,
        path=opening.path,
        kind=kind.value,
        currency_id=opening.currency,
        user_id=opening.user_id,
        metadata=opening.metadata,
    )
    return Balance(account=account, sign=kind.sign, floor=floor, ceiling=ceiling)


def _check_limits(floor: int | None, ceiling: int | None) -> None:
    """An account opens at zero, so its limits must let it stand there."""
    if floor is not None and floor > 0:
        raise FloorAboveZero.at("/floor")
    if ceiling is not None and ceiling < 0:
        raise CeilingBelowZero.at("/ceiling")


def _insert(rows: Sequence[Balance]) -> list[Balance]:
    """Insert accounts, balances and events. Call inside a database transaction."""
    Account.objects.bulk_create([row.account for row in rows])
    for row in rows:
        row.account_id = row.account.pk
    Balance.objects.bulk_create(rows)
    loaded = list(
        Balance.objects.select_related("account__currency")
        .filter(pk__in=[row.account_id for row in rows])
        .order_by("pk")
    )
    tell(EventType.ACCOUNT_OPENED, loaded)
    return loaded


def _named(error: IntegrityError, opening: Opening) -> Exception:
    cause = error.__cause__
    if isinstance(cause, pg.UniqueViolation) and cause.diag.constraint_name == "account_path_once":
        return PathTaken(path=opening.path)
    return error
