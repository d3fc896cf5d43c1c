"""First pages of lists, kept: which version each stands under, and which versions a write replaces.

A write replaces those of its client, of the users whose transaction it is and of the accounts that it touches, if they
are nobody's. A list stands under one of them, the narrowest that all of its rows belong to: that of the user whom, or
whose account, it is about, else of the account, else of the client. Why nobody is shown less than he has been told of:
`config.runtime.cache.cache`.

What is kept is what is dear to make and shows no balance: lists of transactions. Balances, and lists that show them (of
accounts, of an account's entries), are always read. So are keys: a process remembers one for a second
(`ledger.clients.authentication`), and nothing that others share could tell it sooner that the key was revoked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple
from uuid import UUID

import msgspec
from django.conf import settings
from django_redis import get_redis_connection  # type: ignore[import-untyped]  # it ships no types
from msgspec import Struct
from redis.exceptions import RedisError

from config.runtime.cache.cache import VersionedCache
from config.runtime.cache.store import Version, fresh
from config.runtime.logging import get_logger
from config.runtime.redis import RedisAway
from ledger.domain.accounts import AccountRef
from ledger.domain.shapes import AccountName, TransactionShape
from ledger.domain.states import Status
from ledger.events.first import FOLLOWER, NotTold
from ledger.events.lag import age_s
from ledger.events.stream import Event
from ledger.models import Account, Transaction
from ledger.status import StatusShape, saw_all

KIND = "transactions"
_CLIENT, _USER, _ACCOUNT = "client", "user:", "account:"
# An event that is older should have been bumped again: else values may not live long.
AGE_S_MAX = 2.0

log = get_logger()


class Write(NamedTuple):
    """What a write touches: of accounts, those without a user count. The stamp names it, and no two have the same."""

    client_id: int
    user_ids: Collection[str | None]
    account_ids: Collection[UUID]
    stamp: str

    @property
    def names(self) -> list[str]:
        """The versions of the client's that it replaces."""
        users = [_USER + user_id for user_id in self.user_ids if user_id is not None]
        return [_CLIENT, *users, *[_ACCOUNT + public_id.hex for public_id in self.account_ids]]


def of_client(client_id: int) -> Version:
    """Return the version of all that is a client's."""
    return Version(client_id, _CLIENT)


def of_user(client_id: int, user_id: str) -> Version:
    """Return the version of what concerns one of a client's users."""
    return Version(client_id, _USER + user_id)


def of_account(client_id: int, account: AccountRef) -> Version:
    """Return the version of what touches one of a client's accounts: that of its user, if it has one."""
    if account.user_id is not None:
        return of_user(client_id, account.user_id)
    return Version(client_id, _ACCOUNT + account.public_id.hex)


def first_page(version: Version, name: str, make: Callable[[], bytes]) -> bytes:
    """Return the JSON of a list's first page, as it stands under `version` or as `make` reads it.

    `name` says whose page it is, and of which list. No status shows less of its transactions afterwards.
    """
    asked_at = time.monotonic()
    found = _cache.read(KIND, version, name, make)
    if found.age_s is not None:
        shown = _pages.decode(found.value).data
        # Of what failed a user may not see why, and a status tells that.
        known = [one for one in shown if one.error is not None or one.status != Status.FAILED]
        saw_all(version.owner, known, since=asked_at - found.age_s)
    return found.value


def bump(writes: Iterable[Write]) -> None:
    """Have no list shown as it was before these writes. Call after their commit and before anybody is answered."""
    stamps: dict[int, dict[str, str]] = {}
    for write in writes:
        stamps.setdefault(write.client_id, {}).update(dict.fromkeys(write.names, write.stamp))
    _cache.bump(stamps)


def written(client_id: int, shape: TransactionShape, account_ids: Collection[UUID]) -> Write:
    """Return what a transaction's move to this shape touches: `account_ids` are those of its legs that have no user."""
    return Write(client_id, (shape.user_id, shape.peer_user_id), account_ids, _stamp(shape.id, shape.version))


def bump_stored(transaction_ids: Collection[UUID]) -> None:
    """Have no list shown as it was before these transactions stood as they do now."""
    bump(_stored(transaction_ids).values())


def bump_again(events: Sequence[Event]) -> None:
    """Bump what these events tell of where that was not done: its process may have died after the commit.

    Raises:
        NotTold: Redis is away.
    """
    told = [(event.client_id, shape) for event in events if (shape := _shape(event)) is not None]
    # The accounts of a fee and of an exchange are named by the lines, and what has failed has none.
    stored = _stored([shape.id for _, shape in told if not shape.entries])
    stamps: dict[int, dict[str, str]] = {}
    for client_id, shape in told:
        write, bumps = _retold(client_id, shape, stored.get(shape.id)), stamps.setdefault(client_id, {})
        for name in write.names:
            # Of two that have it in common one alone may have bumped it.
            bumps[name] = write.stamp if bumps.get(name, write.stamp) == write.stamp else ""
    if not stamps:
        return
    try:
        _cache.bump_again(stamps)
    except (RedisAway, RedisError) as error:
        raise NotTold(str(error)) from error


def show_followed() -> None:
    """Let values live long while what has happened is bumped again without delay."""
    age = age_s(FOLLOWER)
    if age is not None and age <= AGE_S_MAX:
        _cache.show_followed()


class _Leg(Struct, frozen=True):
    account: AccountName


class _Told(Struct, frozen=True):
    """What the event of a transaction says of what it touches."""

    id: UUID
    version: int
    user_id: str | None
    peer_user_id: str | None
    debit_account: AccountName | None
    credit_account: AccountName | None
    legs: list[_Leg] | None
    entries: list[_Leg]


class _Page(Struct, frozen=True):
    data: list[StatusShape]


_told = msgspec.json.Decoder(_Told)
_pages = msgspec.json.Decoder(_Page)


def _shape(event: Event) -> _Told | None:
    if not event.type.startswith("transaction."):
        return None
    try:
        return _told.decode(event.data)
    except msgspec.DecodeError as error:  # a later release's
        log.warning("lists.event_unread", type=event.type, event_id=str(event.id), error=str(error))
        return None


def _retold(client_id: int, told: _Told, stored: Write | None) -> Write:
    named = [told.debit_account, told.credit_account, *(leg.account for leg in (*(told.legs or ()), *told.entries))]
    account_ids = {account.id for account in named if account is not None}
    if stored is not None:
        account_ids.update(stored.account_ids)
    return Write(client_id, (told.user_id, told.peer_user_id), account_ids, _stamp(told.id, told.version))


def _stored(transaction_ids: Collection[UUID]) -> dict[UUID, Write]:
    """Return what was written last of each of these transactions, whatever it was."""
    if not transaction_ids:
        return {}
    rows = {row.pk: row for row in Transaction.objects.filter(pk__in=transaction_ids)}
    account_ids = {account_id for row in rows.values() for account_id in row.legs.account_ids}
    public_ids = dict(Account.objects.filter(pk__in=account_ids).values_list("pk", "public_id"))
    return {
        pk: Write(
            row.client_id, (row.user_id, row.peer_user_id), [public_ids[one] for one in row.legs.account_ids], fresh()
        )
        for pk, row in rows.items()
    }


def _stamp(transaction_id: UUID, version: int) -> str:
    return f"{transaction_id.hex}:{version}"


_cache = VersionedCache(get_redis_connection("default"), ttl_s=settings.CACHE_TTL_S, is_on=settings.CACHE_ANSWERS)
