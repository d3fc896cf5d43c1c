"""What an account can be, and which side of a booking raises it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

PATH = re.compile(r"[A-Za-z0-9_.@+-]{1,64}(:[A-Za-z0-9_.@+-]{1,64})*", re.ASCII)
PATH_LENGTH_MAX = 255


class AccountKind(StrEnum):
    """The five kinds of double-entry bookkeeping."""

    ASSET = "asset"
    LIABILITY = "liability"
    EQUITY = "equity"
    INCOME = "income"
    EXPENSE = "expense"

    @property
    def is_debit_normal(self) -> bool:
        """Whether a debit raises the balance."""
        return self in (AccountKind.ASSET, AccountKind.EXPENSE)

    @property
    def sign(self) -> int:
        """What debits less credits are multiplied by to be the balance on the normal side."""
        return 1 if self.is_debit_normal else -1


class AccountStatus(StrEnum):
    """Whether an account is in use."""

    ACTIVE = "active"
    CLOSED = "closed"


class Frozen(StrEnum):
    """Which side of bookings an account refuses for now."""

    NONE = "none"
    DEBITS = "debits"
    CREDITS = "credits"
    BOTH = "both"

    def with_sides(self, sides: Frozen) -> Frozen:
        """Return what is frozen once `sides` are frozen as well."""
        return _BY_BITS[_BY_BITS.index(self) | _BY_BITS.index(sides)]

    def without_sides(self, sides: Frozen) -> Frozen:
        """Return what stays frozen once `sides` are let go."""
        return _BY_BITS[_BY_BITS.index(self) & ~_BY_BITS.index(sides)]


# A bit a side: debits are 1, credits are 2.
_BY_BITS = (Frozen.NONE, Frozen.DEBITS, Frozen.CREDITS, Frozen.BOTH)


@dataclass(frozen=True, slots=True)
class AccountRef:
    """What never changes about an account, so that it may be remembered without end."""

    id: int
    public_id: UUID
    path: str
    kind: str
    currency: str
    exponent: int
    user_id: str | None


def is_path(text: str) -> bool:
    """Whether `text` has the form of an account's path, such as `users:alice:USD`."""
    return len(text) <= PATH_LENGTH_MAX and PATH.fullmatch(text) is not None
