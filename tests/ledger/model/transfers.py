"""Transfers in plain Python, one after the other: booked at once, accepted and booked later, retried.

Nothing here is of the real ledger's code. Time is counted in hours, which pass when they are told to; the pause before
another attempt is one of them.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from tests.ledger.model.asks import Answer, Ask
from tests.ledger.model.boxes import Box

PASSING = {"contention"}
# The third try in vain is the last until somebody asks for another; the fifth is the last of all.
ENOUGH, TOO_MANY = 3, 5
YEAR_H = 366 * 24

# An hour, and a place among what is due in that hour.
Moment = tuple[int, int]
NEVER: Moment = (10**9, 0)


@dataclass
class Transfer:
    """What was asked, every status it has had, and when it is due if it waits to be booked."""

    ask: Ask
    due: Moment = NEVER
    history: list[str] = field(default_factory=list)
    error: str | None = None
    attempts: int = 0

    @property
    def may_be_retried(self) -> bool:
        return self.error in PASSING and self.attempts < TOO_MANY

    def move(self, status: str, *, error: str | None = None, due: Moment = NEVER) -> None:
        self.history.append(status)
        self.error, self.due = error, due

    def answer(self, *, replayed: bool = False) -> Answer:
        return Answer(self.error or self.history[-1], self.ask.label, replayed, self.may_be_retried)


@dataclass
class Transfers:
    """The books of one client: accounts by path, transfers by label in the order they came, what keys were used for."""

    boxes: dict[str, Box] = field(default_factory=lambda: {"cash:USD": Box("asset")})
    transfers: dict[str, Transfer] = field(default_factory=dict)
    keys: dict[str, tuple[Any, str]] = field(default_factory=dict)
    hour: int = 0
    places: int = 0

    def open(self, path: str, box: Box) -> None:
        self.boxes[path] = deepcopy(box)

    def freeze(self, path: str, sides: str) -> None:
        self.boxes[path].frozen = sides

    def hour_passes(self) -> None:
        self.hour += 1

    def submit(self, ask: Ask, *, wait: bool) -> Answer:
        """Book it if that is waited for and its time has come; else accept it."""
        return self.post([ask])[0] if wait and ask.hours <= 0 else self.accept([ask])[0]

    def post(self, asks: list[Ask]) -> list[Answer]:
        """Book at once, whatever their time; what cannot be booked has failed."""
        return [self._unfit(ask) or self._known(ask.key, ask.body) or self._post(ask) for ask in asks]

    def accept(self, asks: list[Ask]) -> list[Answer]:
        """Let them wait to be booked; refused is what would fail now."""
        return [self._unfit(ask) or self._known(ask.key, ask.body) or self._accept(ask) for ask in asks]

    def try_one(self, ask: Ask) -> Answer:
        """Say what booking would come to, without a trace."""
        if ask.hours > 0:
            return self._unfit(ask) or Answer("execute_at_in_dry_run")
        told = deepcopy(self).post([ask])[0]
        return Answer(told.code, told.label if told.code in {"completed", "processing"} else None)

    def post_due(self, size: int, locked: str | None = None) -> int:
        """Book the next that are due; who needs an account that somebody holds tries in vain. Return how many left."""
        again = self._moment(hours=1)
        waiting = sorted(self.transfers.values(), key=lambda one: one.due)
        chosen = [one for one in waiting if one.due[0] <= self.hour][:size]
        for transfer in chosen:
            if locked not in transfer.ask.accounts:
                self._book(transfer)
                continue
            transfer.attempts += 1
            if transfer.attempts in {ENOUGH, TOO_MANY}:
                transfer.move("failed", error="contention")
            else:
                transfer.due = again
        return sum(transfer.due == NEVER for transfer in chosen)

    def retry(self, label: str, key: str | None) -> Answer:
        """Let one that failed for a passing reason wait to be booked again."""
        known = self._known(key, ("retry", label))
        if known is not None:
            return known
        transfer = self.transfers[label]
        if transfer.history[-1] != "failed":
            return Answer("still_processing" if transfer.history[-1] == "processing" else "not_failed")
        if not transfer.may_be_retried:
            return Answer("parked" if transfer.error in PASSING else "not_retryable")
        transfer.move("processing", due=self._moment())
        self._keep(key, ("retry", label), label)
        return transfer.answer()

    def books(self) -> tuple[Any, ...]:
        """Return all that can be compared."""
        sums = {path: (box.debits, box.credits, box.bookings) for path, box in self.boxes.items()}
        return sums, {label: (one.history, one.error, one.attempts) for label, one in self.transfers.items()}

    def _unfit(self, ask: Ask) -> Answer | None:
        """Return the refusal of what could never be booked."""
        if not ask.accounts <= self.boxes.keys():
            return Answer("account_unknown")
        if ask.debit == ask.credit:
            return Answer("same_account")
        if self.boxes[ask.debit].currency != self.boxes[ask.credit].currency:
            return Answer("currency_mismatch")
        return Answer("execute_at_too_far") if ask.hours > YEAR_H else None

    def _known(self, key: str | None, body: Any) -> Answer | None:
        """Return the answer to a key that is taken."""
        if key is None or key not in self.keys:
            return None
        used_for, label = self.keys[key]
        return self._replay(label) if used_for == body else Answer("idempotency_key_reused")

    def _replay(self, label: str) -> Answer:
        return self.transfers[label].answer(replayed=True)

    def _keep(self, key: str | None, body: Any, label: str) -> None:
        if key is not None:
            self.keys[key] = body, label

    def _moment(self, hours: int = 0) -> Moment:
        """Return a moment in so many hours, behind everything that was told one of the same hour."""
        self.places += 1
        return self.hour + hours, self.places

    def _post(self, ask: Ask) -> Answer:
        self._keep(ask.key, ask.body, ask.label)
        transfer = self.transfers[ask.label] = Transfer(ask)
        self._book(transfer)
        return transfer.answer()

    def _accept(self, ask: Ask) -> Answer:
        objection = self._objection(ask)
        if objection is not None and ask.hours <= 0:
            return Answer(objection)
        self._keep(ask.key, ask.body, ask.label)
        transfer = self.transfers[ask.label] = Transfer(ask)
        transfer.move("processing", due=self._moment(hours=max(ask.hours, 0)))
        return transfer.answer()

    def _book(self, transfer: Transfer) -> None:
        ask = transfer.ask
        objection = self._objection(ask)
        transfer.move("failed" if objection else "completed", error=objection)
        if objection is None:
            debit, credit = self.boxes[ask.debit], self.boxes[ask.credit]
            debit.debits += ask.amount
            credit.credits += ask.amount
            debit.bookings += 1
            credit.bookings += 1

    def _objection(self, ask: Ask) -> str | None:
        debit, credit = self.boxes[ask.debit], self.boxes[ask.credit]
        return debit.objection("debit", ask.amount) or credit.objection("credit", ask.amount)
