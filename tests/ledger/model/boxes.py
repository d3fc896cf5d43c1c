"""One account in plain Python."""

from __future__ import annotations

from dataclasses import dataclass

DEBIT_NORMAL = {"asset", "expense"}


@dataclass
class Box:
    """What went in on each side, and what it refuses."""

    kind: str
    currency: str = "USD"
    floor: int | None = None
    ceiling: int | None = None
    frozen: str = "none"
    debits: int = 0
    credits: int = 0
    bookings: int = 0

    @property
    def balance(self) -> int:
        difference = self.debits - self.credits
        return difference if self.kind in DEBIT_NORMAL else -difference

    def objection(self, side: str, amount: int) -> str | None:
        if self.frozen in {f"{side}s", "both"}:
            return "account_frozen"
        rises = (side == "debit") == (self.kind in DEBIT_NORMAL)
        after = self.balance + amount if rises else self.balance - amount
        if rises and self.ceiling is not None and after > self.ceiling:
            return "ceiling_exceeded"
        if not rises and self.floor is not None and after < self.floor:
            return "insufficient_funds"
        return None
