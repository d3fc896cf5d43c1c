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
