"""Holds in plain Python: captured in parts or as a whole, voided, expired."""

from __future__ import annotations

from tests.ledger.model.asks import Answer
from tests.ledger.model.books import Transaction
from tests.ledger.model.transfers import BOOKED_NOW, Transfers

OVER = {
    "processing": "still_processing",
    "failed": "not_held",
    "completed": "hold_captured",
    "reversed": "hold_captured",
    "voided": "hold_voided",
    "expired": "hold_expired",
}


class Holds(Transfers):
    """What is held has its room on every account, until it ends once."""

    def capture(self, label: str, amount: int | None, *, is_final: bool, key: str) -> Answer:
        """Book what is held, or so much of it; what is final lets the rest go."""
        body = ("capture", label, amount, is_final)
        known = self._known(key, body)
        if known is not None:
            return known
        one = self.transactions[label]
        captured = one.held if amount is None else amount
        objection = self._over(one) or self._uncapturable(one, captured)
        if objection is not None:
            return Answer(objection)
        self._end(one, "capture", captured, one.held if is_final else captured)
        self._keep(key, body, label)
        return one.answer()

    def void(self, label: str, key: str) -> Answer:
        """Let go what is still held."""
        known = self._known(key, ("void", label))
        if known is not None:
            return known
        one = self.transactions[label]
        objection = self._over(one)
        if objection is not None:
            return Answer(objection)
        self._end(one, "void", 0, one.held)
        self._keep(key, ("void", label), label)
        return one.answer()

    def expire(self) -> None:
        """Let go what is held and whose time is over."""
        for one in self.transactions.values():
            if one.held and one.ends is not None and one.ends <= self.hour:
                self._end(one, "expire", 0, one.held)

    def _over(self, one: Transaction) -> str | None:
        """Return why nothing of it is held (any more): it is over at its time, also before somebody lets it go."""
        if one.ends is None:
            return "not_held"
        if one.status == "pending":
            return "hold_expired" if one.ends <= self.hour else None
        return OVER[one.status]

    def _uncapturable(self, one: Transaction, amount: int) -> str | None:
        if amount > one.held:
            return "capture_exceeds_hold"
        if amount != one.agreed.amount and not one.agreed.is_divisible:
            return "not_divisible"
        return next(filter(None, (self.boxes[path].refuses(leg) for path, leg in one.agreed.legs)), None)

    def _end(self, one: Transaction, journal: str, captured: int, let_go: int) -> None:
        is_over = let_go == one.held
        label, effective = one.ask.label, max(BOOKED_NOW, one.effective)
        self._write(label, journal, "held", tuple((path, -leg) for path, leg in one.agreed.portion(let_go)), effective)
        if captured:
            self._write(label, journal, "posted", one.agreed.portion(captured), effective)
        one.booked += captured
        ended = "completed" if one.booked else "expired" if journal == "expire" else "voided"
        one.move(ended if is_over else "pending", captured if one.booked else let_go)
