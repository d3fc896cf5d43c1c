"""Where a transaction stands that is captured, ended or taken back, and what may be done to it then."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from config.runtime.arrays import uuids
from config.runtime.errors import DomainError
from config.runtime.sql import sql_file
from ledger.domain.states import Status
from ledger.errors import (
    CaptureExceedsHold,
    HoldCaptured,
    HoldExpired,
    HoldVoided,
    NotDivisible,
    NotHeld,
    NotReversible,
    ReversalExceeds,
    ReversalOfReversal,
    StillProcessing,
)
from ledger.locks import Cursor
from ledger.posting.intents import Action, Intent

LOCK_TARGETS = sql_file("ledger/posting", "lock_targets")


class Standing(NamedTuple):
    """What moves of a transaction, as its locked row says; `version` is that of the last move."""

    status: Status
    version: int
    amount_minor: int
    booked_minor: int
    reversed_minor: int
    expires_at: datetime | None
    completed_at: datetime | None
    is_reversal: bool

    @property
    def held_minor(self) -> int:
        """What is still held."""
        return self.amount_minor - self.booked_minor if self.status is Status.PENDING else 0

    def captured(self, amount_minor: int, *, is_over: bool, by: Action, now: datetime) -> Standing:
        """Return where it stands after a capture, or after the end of its hold."""
        booked = self.booked_minor + amount_minor
        status = Status.PENDING
        if is_over:
            status = Status.COMPLETED if booked else Status.EXPIRED if by is Action.EXPIRE else Status.VOIDED
        return self._replace(
            status=status,
            version=self.version + 1,
            booked_minor=booked,
            completed_at=now if status is Status.COMPLETED else None,
        )

    def taken_back(self, amount_minor: int) -> Standing:
        """Return where it stands after a reversal of so much."""
        total = self.reversed_minor + amount_minor
        status = Status.REVERSED if total == self.booked_minor else self.status
        return self._replace(status=status, version=self.version + 1, reversed_minor=total)


def hold_objection(standing: Standing, intent: Intent, *, now: datetime) -> DomainError | None:
    """Return what keeps a hold from being captured, voided or expired."""
    if standing.expires_at is None:
        return NotHeld()
    if standing.status is not Status.PENDING:
        ended = _ENDED.get(standing.status, NotHeld)
        return ended()
    if intent.action is Action.EXPIRE:
        return None if standing.expires_at <= now else NotHeld("It has not expired yet.")
    if standing.expires_at <= now:
        return HoldExpired()
    return _portion_objection(standing, intent) if intent.portion_minor is not None else None


def _portion_objection(standing: Standing, intent: Intent) -> DomainError | None:
    assert intent.portion_minor is not None
    if intent.portion_minor > standing.held_minor:
        return CaptureExceedsHold()
    is_whole = intent.portion_minor == standing.amount_minor
    return None if is_whole or intent.is_divisible else NotDivisible()


_ENDED: dict[Status, type[DomainError]] = {
    Status.PROCESSING: StillProcessing,
    Status.COMPLETED: HoldCaptured,
    Status.REVERSED: HoldCaptured,
    Status.VOIDED: HoldVoided,
    Status.EXPIRED: HoldExpired,
}


def reversal_objection(standing: Standing, amount_minor: int) -> DomainError | None:
    """Return what keeps so much of a transaction from being taken back."""
    if standing.is_reversal:
        return ReversalOfReversal()
    if standing.status is Status.PROCESSING:
        return StillProcessing()
    if standing.status not in (Status.COMPLETED, Status.REVERSED):
        return NotReversible(f"It is {standing.status.value}.")
    if standing.reversed_minor + amount_minor > standing.booked_minor:
        return ReversalExceeds()
    return None


def ask_for_targets(cursor: Cursor, ids: set[UUID]) -> None:
    """Lock the transactions that a round moves, in the order of their ids; after the keys and before the balances."""
    cursor.execute(LOCK_TARGETS, {"ids": uuids(sorted(ids))})


def standings(cursor: Cursor) -> dict[UUID, Standing]:
    """Return where the locked transactions stand."""
    return {row[0]: _standing(*row[1:]) for row in cursor.fetchall()}


def _standing(  # noqa: PLR0917  (one row, column by column)
    status: str,
    version: int,
    amount_minor: Decimal,
    booked_minor: Decimal,
    reversed_minor: Decimal,
    expires_at: datetime | None,
    completed_at: datetime | None,
    is_reversal: bool,
) -> Standing:
    return Standing(
        Status(status),
        version,
        int(amount_minor),
        int(booked_minor),
        int(reversed_minor),
        expires_at,
        completed_at,
        is_reversal,
    )
