"""What goes into the engine and what comes out."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto
from typing import Any, NamedTuple
from uuid import UUID

from config.runtime.errors import DomainError
from config.runtime.ids import moment_of
from ledger.domain.accounts import AccountRef
from ledger.domain.legs import Leg, Terms, pair
from ledger.domain.shapes import TransactionShape


class Accepted(NamedTuple):
    """What is stored of an intent that was accepted before: the version of its row, and the tries that failed."""

    version: int
    attempts: int


class Action(Enum):
    """What is to be done: book it (or hold it, where it says so), or end what is held by a transaction that stands."""

    BOOK = auto()
    CAPTURE = auto()
    VOID = auto()
    EXPIRE = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A transaction as asked, with its accounts found and amounts in minor units; `trace` is a W3C traceparent.

    Those of a round with one `group` are booked together or not at all. `accepted` is None for one that is new. With
    `expires_at` it is held till then. `original` is the transaction that it takes back, by as much as its own amount.
    Another `action` than BOOK is done to the transaction of that id, which stands; a capture books `portion_minor` of
    it (None: all that is still held), and with `is_final` lets the rest go.

    `objection` is what it is refused with unless its key is taken.

    The first leg is in the currency of the amount, unless it takes something back; without `terms` there are two legs,
    of the debit and of the credit account.
    """

    id: UUID
    client_id: int
    type: str
    amount_minor: int
    legs: tuple[Leg, ...]
    terms: Terms | None = None
    idempotency_key: str | None = None
    request_hash: bytes | None = None
    reference: str | None = None
    description: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    effective_at: datetime | None = None
    execute_at: datetime | None = None
    expires_at: datetime | None = None
    objection: DomainError | None = None
    original: Intent | None = None
    action: Action = Action.BOOK
    portion_minor: int | None = None
    is_final: bool = True
    batch_id: UUID | None = None
    batch_index: int | None = None
    group: str | None = None
    accepted: Accepted | None = None
    reason: str = ""
    actor: str
    request_id: str = ""
    trace: str = ""

    @property
    def created_at(self) -> datetime:
        """The time of the id, so that (client, id) is an index by time."""
        return moment_of(self.id)

    @property
    def key(self) -> tuple[int, str] | None:
        """The idempotency key that its booking takes: one that was accepted has taken it already."""
        if self.idempotency_key is None or self.accepted is not None or self.action is not Action.BOOK:
            return None
        return self.client_id, self.idempotency_key

    @property
    def target_id(self) -> UUID | None:
        """The transaction that stands and is moved: what is captured, ended, or taken back."""
        if self.original is not None:
            return self.original.id
        return None if self.action is Action.BOOK else self.id

    @property
    def accounts(self) -> list[AccountRef]:
        """The accounts of its legs."""
        return [account for account, _ in self.legs]

    @property
    def debit(self) -> AccountRef | None:
        """The account that is debited, unless it was asked for by its legs."""
        return None if self.terms is not None and self.terms.by_legs else self.legs[0].account

    @property
    def credit(self) -> AccountRef | None:
        """The account that is credited, unless it was asked for by its legs."""
        return None if self.terms is not None and self.terms.by_legs else self.legs[1].account

    @property
    def currency(self) -> str:
        """The currency of the amount; a reversal's is that of what it takes back."""
        return (self.original or self).legs[0].account.currency

    @property
    def exponent(self) -> int:
        """The number of decimals of the amount."""
        return (self.original or self).legs[0].account.exponent

    @property
    def is_divisible(self) -> bool:
        """Whether part of it may be captured or taken back: one amount between two accounts."""
        return self.terms is None

    def portion(self, amount_minor: int) -> tuple[Leg, ...]:
        """Return the legs of so much of the amount: what is not divisible is moved as a whole."""
        if amount_minor == self.amount_minor:
            return self.legs
        (debit, _), (credit, _) = self.legs
        return pair(debit, credit, amount_minor)

    def place_of(self, account_id: int) -> str | None:
        """Return where it names an account, as a JSON pointer, if it was asked for by its legs."""
        if self.terms is None or not self.terms.by_legs:
            return None
        return next(f"/legs/{index}/account" for index, leg in enumerate(self.legs) if leg.account.id == account_id)

    @property
    def owner(self) -> AccountRef:
        """The account that says whose transaction this is, and whose events it joins."""
        for account, _ in self.legs:
            if account.user_id is not None:
                return account
        return self.legs[0].account

    @property
    def user_id(self) -> str | None:
        """Whose transaction this is, if a user's."""
        return self.owner.user_id

    @property
    def peer_user_id(self) -> str | None:
        """The other account's user, if another; of more than two, the next."""
        own = self.user_id
        for account, _ in self.legs:
            if account.user_id is not None and account.user_id != own:
                return account.user_id
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one intent: exactly one of the three is set.

    `transaction` was written by this round (completed, failed, or processing when accepted); `replay_of` is the
    earlier transaction with the same key; `refusal` says why nothing was written.
    """

    transaction: TransactionShape | None = None
    replay_of: UUID | None = None
    refusal: DomainError | None = None
