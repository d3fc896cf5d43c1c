"""Transactions in plain Python, one after the other: booked at once, accepted and booked later, retried."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from dataclasses import replace

from tests.ledger.model.agreements import Agreed, Legs, agreed
from tests.ledger.model.asks import Answer, Ask
from tests.ledger.model.books import ENOUGH, NEVER, PASSING, TOO_MANY, Books, Transaction

DAY_H = 24
# So far ahead a transaction may be asked for, so long it is held unless it says so, and at most, and so far back it may
# have taken effect.
AHEAD_MAX_H, HELD_H, HELD_MAX_H, BACK_MAX_H = 366 * DAY_H, 7 * DAY_H, 31 * DAY_H, 90 * DAY_H
# The hour of what says nothing of when it takes effect: the books' clock is not ours to move.
BOOKED_NOW = 0


class Transfers(Books):
    """Whatever moves money between accounts. The pause before another attempt is an hour."""

    def submit(self, ask: Ask, *, wait: bool) -> Answer:
        """Book it if that is waited for and its time has come; else accept it."""
        return self.post([ask])[0] if wait and ask.hours <= 0 else self.accept([ask])[0]

    def post(self, asks: list[Ask]) -> list[Answer]:
        """Book at once, whatever their time; what cannot be booked has failed."""
        return [self._unstored(ask) or self._post(ask) for ask in asks]

    def accept(self, asks: list[Ask]) -> list[Answer]:
        """Let them wait to be booked; refused is what would fail now."""
        return [self._unstored(ask) or self._accept(ask) for ask in asks]

    def try_one(self, ask: Ask) -> Answer:
        """Say what booking would come to, whatever its key was used for, without a trace."""
        if ask.hours > 0:
            return self._unfit(ask) or Answer("execute_at_in_dry_run")
        trial = deepcopy(self)
        told = trial.post([replace(ask, key=None)])[0]
        is_failed = told.label is not None and trial.transactions[told.label].error is not None
        return Answer(told.code, None if is_failed else told.label)

    def post_due(self, size: int, locked: str | None = None) -> int:
        """Book the next that are due; who needs an account that somebody holds tries in vain. Return how many left."""
        again = self._moment(hours=1)
        waiting = sorted(self.transactions.values(), key=lambda one: one.due)
        chosen = [one for one in waiting if one.due[0] <= self.hour][:size]
        for one in chosen:
            if locked not in one.agreed.paths:
                self._book(one)
                continue
            one.attempts += 1
            if one.attempts in {ENOUGH, TOO_MANY}:
                one.move("failed", one.agreed.amount, error="contention")
            else:
                one.due = again
        return sum(one.due == NEVER for one in chosen)

    def retry(self, label: str, key: str | None) -> Answer:
        """Let one that failed for a passing reason wait to be booked again."""
        known = self._known(key, ("retry", label))
        if known is not None:
            return known
        one = self.transactions[label]
        if one.status != "failed":
            return Answer("still_processing" if one.status == "processing" else "not_failed")
        if not one.may_be_retried:
            return Answer("parked" if one.error in PASSING else "not_retryable")
        one.move("processing", one.agreed.amount, due=self._moment())
        self._keep(key, ("retry", label), label)
        return one.answer()

    def needed(self, ask: Ask) -> set[str]:
        """Return the accounts whose locks its booking takes: none, if it is refused without a look at them."""
        found = agreed(ask, self.boxes)
        return set() if isinstance(found, str) or self._untimely(ask) else found.paths

    def _unstored(self, ask: Ask) -> Answer | None:
        """Return the answer to what is not stored: a refusal, or what is known of its key."""
        return self._unfit(ask) or self._known(ask.key, ask.body) or self._overtaken(ask)

    def _unfit(self, ask: Ask) -> Answer | None:
        """Return the refusal of what could never be booked."""
        found = agreed(ask, self.boxes)
        code = found if isinstance(found, str) else self._untimely(ask)
        return None if code is None else Answer(code)

    def _untimely(self, ask: Ask) -> str | None:
        """Return what is wrong with its moments, which are measured by that at which it is asked."""
        starts = max(ask.hours, 0)
        if starts > AHEAD_MAX_H:
            return "execute_at_too_far"
        if ask.back is not None and ask.back < 0:
            return "effective_at_in_future"
        if ask.lasts is not None and not ask.is_held:
            return "expires_at_without_hold"
        if ask.lasts is not None and ask.lasts > starts + HELD_MAX_H:
            return "expires_at_out_of_range"
        return None

    def _overtaken(self, ask: Ask) -> Answer | None:
        """Return the refusal of what only time may have made wrong: a key that is taken answers before it."""
        if ask.lasts is not None and ask.lasts <= max(ask.hours, 0):
            return Answer("expires_at_out_of_range")
        return Answer("effective_at_too_old") if ask.back is not None and ask.back > BACK_MAX_H else None

    def _new(self, ask: Ask, found: Agreed) -> Transaction:
        starts = ask.asked + max(ask.hours, 0)
        effective = BOOKED_NOW if ask.hours <= 0 else starts
        if ask.back is not None:
            effective = ask.asked - ask.back
        ends = None
        if ask.is_held:
            ends = starts + HELD_H if ask.lasts is None else ask.asked + ask.lasts
        one = self.transactions[ask.label] = Transaction(ask, found, effective, ends)
        self._keep(ask.key, ask.body, ask.label)
        return one

    def _post(self, ask: Ask) -> Answer:
        found = agreed(ask, self.boxes)
        assert not isinstance(found, str)
        one = self._new(ask, found)
        self._book(one)
        return one.answer()

    def _accept(self, ask: Ask) -> Answer:
        found = agreed(ask, self.boxes)
        assert not isinstance(found, str)
        objection = self._objection(found.legs)
        if objection is not None and ask.hours <= 0:
            return Answer(objection)
        one = self._new(ask, found)
        one.move("processing", found.amount, due=self._moment(hours=max(ask.hours, 0)))
        return one.answer()

    def _book(self, one: Transaction) -> None:
        """Book it, or hold it if that is asked, or let it fail."""
        amount, legs, label = one.agreed.amount, one.agreed.legs, one.ask.label
        is_late = one.ends is not None and one.ends <= self.hour
        objection = "hold_expired" if is_late else self._objection(legs)
        if objection is not None:
            one.move("failed", amount, error=objection)
        elif one.ends is not None:
            one.move("pending", amount)
            self._write(label, "hold", "held", legs, one.effective)
        else:
            one.move("completed", amount)
            one.booked = amount
            self._write(label, "reversal" if one.ask.takes_back else "post", "posted", legs, one.effective)

    def _objection(self, legs: Legs) -> str | None:
        """Return why they cannot be booked; what comes to one account is measured together."""
        totals = Counter[str]()
        for path, amount in legs:
            totals[path] += amount
        return next(filter(None, (self.boxes[path].objection(amount) for path, amount in totals.items())), None)
