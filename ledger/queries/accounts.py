"""Reads of accounts, and the memory of what never changes about an account."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from uuid import UUID

from django.db.models import QuerySet

from config.runtime.arrays import numbers, texts, uuids
from config.runtime.clock import rfc3339
from config.runtime.database import raw_cursor
from config.runtime.errors import NotFound
from config.runtime.sql import sql_file
from ledger.clients.models import AuditEntry
from ledger.domain.accounts import AccountRef
from ledger.domain.money import format_amount
from ledger.domain.shapes import AccountChangeShape, AccountShape, BalanceShape, ChangeShape
from ledger.models import Account, Balance, Currency

FIND = sql_file("ledger/queries", "find_accounts")
BY_ID = sql_file("ledger/queries", "accounts_by_id")
_REMEMBERED_MAX = 100_000
_lock = threading.Lock()
_remembered: dict[tuple[int, str], AccountRef] = {}
_remembered_by_id: dict[int, AccountRef] = {}
_exponents: dict[str, int] = {}


def exponent_of(code: str) -> int | None:
    """Return a currency's number of decimals, or None for a currency that is not known."""
    if code not in _exponents:
        _exponents.update(Currency.objects.values_list("code", "exponent"))
    return _exponents.get(code)


def find_accounts(client_id: int, names: Iterable[str]) -> dict[str, AccountRef]:
    """Return those of a client's accounts that are named, by name: an id or a path.

    Path, kind, currency and user of an account never change, so what was found once is remembered.
    """
    wanted = set(names)
    found = {name: ref for name in wanted if (ref := _remembered.get((client_id, name))) is not None}
    missing = wanted - found.keys()
    if missing:
        found |= _look_up(client_id, missing)
    return found


def accounts_by_id(account_ids: Iterable[int]) -> dict[int, AccountRef]:
    """Return accounts by the id of their rows, of whichever client."""
    wanted = set(account_ids)
    found = {account_id: ref for account_id in wanted if (ref := _remembered_by_id.get(account_id)) is not None}
    missing = wanted - found.keys()
    if missing:
        with raw_cursor() as cursor:
            new = {row[0]: AccountRef(*row) for row in cursor.execute(BY_ID, {"ids": numbers(missing)})}
        with _lock:
            if len(_remembered_by_id) + len(new) > _REMEMBERED_MAX:
                _remembered_by_id.clear()
            _remembered_by_id.update(new)
        found |= new
    return found


def remember_accounts(account_ids: Iterable[int]) -> None:
    """Look up in one query what is not remembered yet: who then asks for them one by one costs none."""
    accounts_by_id(account_ids)


def find_account(client_id: int, name: str) -> AccountRef | None:
    """Return one of a client's accounts by id or path, if there is one."""
    return find_accounts(client_id, [name]).get(name)


def _look_up(client_id: int, names: set[str]) -> dict[str, AccountRef]:
    ids = {name: identifier for name in names if (identifier := _uuid(name)) is not None}
    parameters = {"client_id": client_id, "paths": texts(names), "ids": uuids(ids.values())}
    # Every request for accounts that are new to its process waits for this: prepared, it costs a third of the ORM's.
    with raw_cursor() as cursor:
        refs = [AccountRef(*row) for row in cursor.execute(FIND, parameters)]
    found = {ref.path: ref for ref in refs}
    by_id = {ref.public_id: ref for ref in refs}
    found |= {name: by_id[identifier] for name, identifier in ids.items() if identifier in by_id}
    found = {name: ref for name, ref in found.items() if name in names}
    with _lock:
        if len(_remembered) + len(found) > _REMEMBERED_MAX:
            _remembered.clear()
        _remembered.update({(client_id, name): ref for name, ref in found.items()})
    return found


def _uuid(text: str) -> UUID | None:
    """Read the canonical form alone: a path may be 32 hexadecimal digits."""
    if len(text) == 36 and text.count("-") == 4:  # noqa: PLR2004  (8-4-4-4-12)
        try:
            return UUID(text)
        except ValueError:
            return None
    return None


def accounts_of(client_id: int, *, path: str | None = None, user_id: str | None = None) -> QuerySet[Account]:
    """Return a client's accounts with what their shape needs."""
    rows = Account.objects.filter(client_id=client_id).select_related("currency", "balance")
    if path is not None:
        rows = rows.filter(path=path)
    if user_id is not None:
        rows = rows.filter(user_id=user_id)
    return rows


def accounts_below(rows: QuerySet[Account], prefix: str) -> list[QuerySet[Account]]:
    """Return those of `rows` whose path begins with the segments of `prefix`, each part a range of the index of paths.

    Between the account `users:alice` and the accounts below it others may stand, such as `users:alice-2`.
    """
    below = rows.filter(path__gt=f"{prefix}:", path__lt=f"{prefix};")  # in ASCII `;` is next to `:`
    return [rows.filter(path=prefix), below]


def get_account(client_id: int, public_id: UUID) -> Balance:
    """Return a client's account as its balance row, with the account at hand.

    Raises:
        NotFound: the client has no such account.
    """
    row = (
        Balance.objects.select_related("account__currency")
        .filter(account__client_id=client_id, account__public_id=public_id)
        .first()
    )
    if row is None:
        raise NotFound
    return row


def account_shape(row: Balance) -> AccountShape:
    """Return an account as its API shows it."""
    account, exponent = row.account, row.account.currency.exponent
    return AccountShape(
        id=account.public_id,
        path=account.path,
        currency=account.currency_id,
        kind=account.kind,
        user_id=account.user_id,
        status=account.status,
        frozen=account.frozen,
        floor=None if row.floor is None else format_amount(row.floor, exponent=exponent),
        ceiling=None if row.ceiling is None else format_amount(row.ceiling, exponent=exponent),
        balance=balance_shape(row.posted_minor, row.held_minor, exponent),
        metadata=account.metadata,
        created_at=rfc3339(account.created_at),
    )


def balance_shape(posted: int, held: int, exponent: int) -> BalanceShape:
    """Return sums on an account's normal side as the API shows them."""
    return BalanceShape(
        posted=format_amount(posted, exponent=exponent),
        held=format_amount(held, exponent=exponent),
        available=format_amount(posted - held, exponent=exponent),
    )


def changes_of(account: Account) -> QuerySet[AuditEntry]:
    """Return what was done to an account, and why; `id` orders it."""
    return AuditEntry.objects.filter(object_type=Account._meta.label_lower, object_id=str(account.pk))  # noqa: SLF001


def change_shape(row: AuditEntry) -> AccountChangeShape:
    """Return a change of an account as its API shows it."""
    return AccountChangeShape(
        type=row.action,
        changes={name: ChangeShape(moved["before"], moved["after"]) for name, moved in row.detail.items()},
        actor=row.actor,
        reason=row.reason,
        request_id=row.request_id,
        at=rfc3339(row.at),
    )
