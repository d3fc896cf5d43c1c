"""Freeze, close and limit accounts: each change with its reason, its history and one event, in one commit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NotRequired, TypedDict, Unpack
from uuid import UUID

from django.db import transaction
from msgspec import UNSET, UnsetType

from config.runtime.errors import DomainError, FieldError
from ledger.clients.services import record_audit
from ledger.domain.accounts import AccountStatus, Frozen
from ledger.domain.money import format_amount
from ledger.domain.shapes import AccountShape
from ledger.errors import (
    AccountAlreadyClosed,
    AccountAlreadyFrozen,
    AccountAlreadyOpen,
    AccountClosed,
    AccountHasHolds,
    AccountNotEmpty,
    AccountNotFrozen,
    CeilingBelowBalance,
    FloorAboveAvailable,
    LimitsMissing,
    LimitsUnchanged,
)
from ledger.events.types import EventType
from ledger.locks import bound_waits, lock_balance
from ledger.models import Balance
from ledger.queries.accounts import account_shape, get_account
from ledger.services.accounts import tell
from ledger.services.fields import limit_at
from ledger.services.idempotency import Claim, keep_key, take_key

FREEZE, UNFREEZE, LIMITS = "accounts.freeze", "accounts.unfreeze", "accounts.limits"
CLOSE, REOPEN = "accounts.close", "accounts.reopen"

_STATE, _LIMITS = ("status", "frozen"), ("floor", "ceiling")


class Asked(TypedDict):
    """Which account is to change, who asks for it, and why.

    `condition` is called with the account as it stands behind its lock; what it raises leaves the account so.
    """

    client_id: int
    account_id: UUID
    actor: str
    reason: str
    request_id: NotRequired[str]
    claim: NotRequired[Claim | None]
    condition: NotRequired[Callable[[AccountShape], None] | None]


@dataclass(frozen=True, slots=True)
class Changed:
    """The account as it stands; `replayed` when an earlier request with the same key changed it."""

    account: AccountShape
    replayed: bool


def freeze_account(*, sides: Frozen, **asked: Unpack[Asked]) -> Changed:
    """Refuse debits, credits or both from the next posting on; what is frozen already stays so.

    Raises:
        NotFound: the client has no such account.
        AccountAlreadyFrozen: all of `sides` are.
        AccountClosed: it refuses everything.
        IdempotencyKeyReused: the key belongs to another request; so for every function here.
    """
    return _change(EventType.ACCOUNT_FROZEN, AccountAlreadyFrozen, partial(_freeze, sides=sides), **asked)


def unfreeze_account(*, sides: Frozen = Frozen.BOTH, **asked: Unpack[Asked]) -> Changed:
    """Take debits, credits or both again, from the next posting on.

    Raises:
        NotFound: the client has no such account.
        AccountNotFrozen: none of `sides` is.
        AccountClosed: it refuses everything.
    """
    return _change(EventType.ACCOUNT_UNFROZEN, AccountNotFrozen, partial(_unfreeze, sides=sides), **asked)


def close_account(**asked: Unpack[Asked]) -> Changed:
    """Take an account that is empty out of use: from the next posting on it refuses everything.

    Raises:
        NotFound: the client has no such account.
        AccountNotEmpty: it does not stand at zero.
        AccountHasHolds: money is held on it, or for it.
        AccountAlreadyClosed
    """
    return _change(EventType.ACCOUNT_CLOSED, AccountAlreadyClosed, _close, **asked)


def reopen_account(**asked: Unpack[Asked]) -> Changed:
    """Take a closed account into use again, with the limits and the freeze that it had.

    Raises:
        NotFound: the client has no such account.
        AccountAlreadyOpen
    """
    return _change(EventType.ACCOUNT_REOPENED, AccountAlreadyOpen, _reopen, **asked)


def change_limits(
    *, floor: str | UnsetType | None = UNSET, ceiling: str | UnsetType | None = UNSET, **asked: Unpack[Asked]
) -> Changed:
    """Give an account another floor, ceiling or both, in major units, or with None no such limit.

    Raises:
        NotFound: the client has no such account.
        Invalid: a limit is no amount of the account's currency.
        LimitsMissing: neither is given.
        LimitsUnchanged: it has these limits.
        FloorAboveAvailable, CeilingBelowBalance: what is on the account breaks the limit, holds included.
        AccountClosed: it is closed.
    """
    if floor is UNSET and ceiling is UNSET:
        raise LimitsMissing
    limit = partial(_limit, floor=floor, ceiling=ceiling)
    return _change(EventType.ACCOUNT_LIMITS_CHANGED, LimitsUnchanged, limit, **asked)


def _change(
    event_type: EventType,
    unchanged: type[DomainError],
    change: Callable[[Balance], None],
    *,
    client_id: int,
    account_id: UUID,
    actor: str,
    reason: str,
    request_id: str = "",
    claim: Claim | None = None,
    condition: Callable[[AccountShape], None] | None = None,
) -> Changed:
    """Let `change` move the fields of the row, and keep what moved; refuse as `unchanged` when nothing did."""
    with transaction.atomic(durable=True):
        bound_waits()
        earlier = None if claim is None else take_key(client_id=client_id, claim=claim)
        if earlier is not None:
            return Changed(account_shape(get_account(client_id, UUID(earlier))), replayed=True)
        # Postings read the state after they have locked the balance: behind the same lock it changes between two.
        lock_balance(get_account(client_id, account_id).account_id)
        row = get_account(client_id, account_id)  # as the last posting left it
        before = account_shape(row)
        if condition is not None:
            condition(before)
        change(row)
        after = account_shape(row)
        moved = {
            name: {"before": getattr(before, name), "after": getattr(after, name)}
            for name in (*_STATE, *_LIMITS)
            if getattr(before, name) != getattr(after, name)
        }
        if not moved:
            raise unchanged
        row.account.save(update_fields=moved.keys() & {*_STATE})
        # Also where no limit has moved: a serializable round that waited for the lock would still see the old state,
        # and is repeated only when the row that it locks has changed.
        row.save(update_fields=_LIMITS)
        record_audit(
            client_id=client_id,
            actor=actor,
            action=event_type.value,
            subject=row.account,
            reason=reason,
            request_id=request_id,
            detail=moved,
        )
        tell(event_type, [row])
        if claim is not None:
            keep_key(client_id=client_id, claim=claim, object_id=str(account_id))
    return Changed(after, replayed=False)


def _freeze(row: Balance, *, sides: Frozen) -> None:
    _refuse_closed(row)
    row.account.frozen = Frozen(row.account.frozen).with_sides(sides).value


def _unfreeze(row: Balance, *, sides: Frozen) -> None:
    _refuse_closed(row)
    row.account.frozen = Frozen(row.account.frozen).without_sides(sides).value


def _close(row: Balance) -> None:
    if row.posted_minor:
        raise AccountNotEmpty(posted=format_amount(row.posted_minor, exponent=row.account.currency.exponent))
    if row.pending_debits or row.pending_credits:
        raise AccountHasHolds
    row.account.status = AccountStatus.CLOSED.value


def _reopen(row: Balance) -> None:
    row.account.status = AccountStatus.ACTIVE.value


def _limit(row: Balance, *, floor: str | UnsetType | None, ceiling: str | UnsetType | None) -> None:
    _refuse_closed(row)
    exponent = row.account.currency.exponent
    if floor is not UNSET:
        row.floor = limit_at("/floor", floor, exponent)
    if ceiling is not UNSET:
        row.ceiling = limit_at("/ceiling", ceiling, exponent)
    # The database holds the same as CHECK constraints; these come first so that a refusal has a name.
    if row.floor is not None and row.floor > row.available_minor:
        available = format_amount(row.available_minor, exponent=exponent)
        raise _at("/floor", FloorAboveAvailable(available=available))
    highest = row.posted_minor + row.coming_minor
    if row.ceiling is not None and row.ceiling < highest:
        raise _at("/ceiling", CeilingBelowBalance(balance=format_amount(highest, exponent=exponent)))


def _at(pointer: str, refusal: DomainError) -> DomainError:
    refusal.errors = (FieldError(pointer, refusal.code, refusal.detail),)
    return refusal


def _refuse_closed(row: Balance) -> None:
    if row.account.status != AccountStatus.ACTIVE:
        raise AccountClosed
