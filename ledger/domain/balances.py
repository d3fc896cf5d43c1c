"""The sums of one account while its row is locked: what a booking may do to them, and what it does."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ledger.domain.accounts import AccountStatus, Frozen
from ledger.domain.money import AMOUNT_MINOR_MAX


class Side(StrEnum):
    """The two sides of a booking."""

    DEBIT = "debit"
    CREDIT = "credit"


_FREEZES = {Side.DEBIT: (Frozen.DEBITS, Frozen.BOTH), Side.CREDIT: (Frozen.CREDITS, Frozen.BOTH)}


@dataclass(slots=True)
class Sums:
    """Posted and pending debits and credits, the limits and the state of a locked account.

    `sign` is 1 for debit-normal accounts and -1 for credit-normal ones. The database holds the same limits as CHECK
    constraints; these rules come first so that a refusal has a name.
    """

    account_id: int
    sign: int
    posted_debits: int
    posted_credits: int
    pending_debits: int
    pending_credits: int
    floor: int | None
    ceiling: int | None
    version: int
    last_posted_at: datetime | None = None
    status: str = AccountStatus.ACTIVE
    frozen: str = Frozen.NONE

    @property
    def posted(self) -> int:
        """Posted debits less posted credits."""
        return self.posted_debits - self.posted_credits

    @property
    def pending(self) -> int:
        """Pending debits less pending credits."""
        return self.pending_debits - self.pending_credits

    def refusal(self, side: Side, amount_minor: int) -> str | None:
        """Return the error code that keeps `amount_minor` off this side, or None."""
        code = self.capture_refusal(side, amount_minor)
        if code is not None:
            return code
        raises = (side is Side.DEBIT) == (self.sign > 0)
        return self._above_ceiling(amount_minor) if raises else self._below_floor(amount_minor)

    def capture_refusal(self, side: Side, amount_minor: int) -> str | None:
        """Return the error code that keeps what is held on this side from being booked, or None: room it has."""
        if self.status != AccountStatus.ACTIVE:
            return "account_closed"
        if self.frozen in _FREEZES[side]:
            return "account_frozen"
        if side is Side.DEBIT:
            total = self.posted_debits + self.pending_debits
        else:
            total = self.posted_credits + self.pending_credits
        return "balance_too_large" if total + amount_minor > AMOUNT_MINOR_MAX else None

    def _below_floor(self, amount_minor: int) -> str | None:
        held = self.pending_debits if self.sign < 0 else self.pending_credits
        if self.floor is not None and self.sign * self.posted - held - amount_minor < self.floor:
            return "insufficient_funds"
        return None

    def _above_ceiling(self, amount_minor: int) -> str | None:
        coming = self.pending_credits if self.sign < 0 else self.pending_debits
        if self.ceiling is not None and self.sign * self.posted + coming + amount_minor > self.ceiling:
            return "ceiling_exceeded"
        return None

    def restore(self, saved: Sums) -> None:
        """Be again what `saved`, a copy, was."""
        self.posted_debits, self.posted_credits = saved.posted_debits, saved.posted_credits
        self.pending_debits, self.pending_credits = saved.pending_debits, saved.pending_credits
        self.version = saved.version

    def post(self, side: Side, amount_minor: int) -> None:
        """Add a posted line; `version`, `posted` and `pending` are then those of the line."""
        if side is Side.DEBIT:
            self.posted_debits += amount_minor
        else:
            self.posted_credits += amount_minor
        self.version += 1

    def hold(self, side: Side, amount_minor: int) -> None:
        """Add a held line, or with a negative amount one that takes off what was held there."""
        if side is Side.DEBIT:
            self.pending_debits += amount_minor
        else:
            self.pending_credits += amount_minor
        self.version += 1
