"""Reversals in plain Python: a transaction of its own that takes back what another booked, once all in all."""

from __future__ import annotations

from tests.ledger.model.agreements import Agreed
from tests.ledger.model.asks import Answer, Ask
from tests.ledger.model.books import Transaction
from tests.ledger.model.holds import Holds
from tests.ledger.model.transfers import BOOKED_NOW

UNBOOKED = {"processing": "still_processing", "failed": "not_reversible"}


class Reversals(Holds):
    """An ask that takes back is posted as every other, but for what keeps it from being stored."""

    def reverse(self, ask: Ask) -> Answer:
        return self.post([ask])[0]

    def needed(self, ask: Ask) -> set[str]:
        return self.transactions[ask.takes_back].agreed.paths if ask.takes_back else super().needed(ask)

    def _unfit(self, ask: Ask) -> Answer | None:
        return None if ask.takes_back else super()._unfit(ask)

    def _post(self, ask: Ask) -> Answer:
        if ask.takes_back is None:
            return super()._post(ask)
        original = self.transactions[ask.takes_back]
        amount = ask.amount or original.booked - original.reversed or original.agreed.amount
        objection = _irreversible(original, amount)
        if objection is not None:
            return Answer(objection)
        back = [(path, -leg) for path, leg in original.agreed.portion(amount)]
        if not original.ask.legs:  # of a debit and its credit the debit comes first
            back = [leg for both in zip(back[1::2], back[::2], strict=True) for leg in both]
        one = self._new(ask, Agreed(amount, tuple(back), original.agreed.is_divisible))
        one.effective = BOOKED_NOW
        self._book(one)
        if one.error is None:
            original.reversed += amount
            if original.reversed == original.booked:
                original.move("reversed", amount)
            else:
                original.moves += 1
        return one.answer()


def _irreversible(original: Transaction, amount: int) -> str | None:
    if original.status in UNBOOKED:
        return UNBOOKED[original.status]
    if amount > original.agreed.amount:
        return "reversal_exceeds_original"
    if amount != original.agreed.amount and not original.agreed.is_divisible:
        return "not_divisible"
    if original.ask.takes_back is not None:
        return "reversal_of_reversal"
    if original.status not in {"completed", "reversed"}:
        return "not_reversible"
    return "reversal_exceeds_original" if original.reversed + amount > original.booked else None
