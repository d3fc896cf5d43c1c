"""The transaction types. A new one is a file here, whose KIND it is, and its name in the list."""

from __future__ import annotations

from importlib import import_module

from ledger.kinds.base import Counter, TransactionKind

_MODULES = (
    "transfer",
    "cash_in",
    "cash_out",
    "bank_transfer_in",
    "bank_transfer_out",
    "card",
    "instant_payout",
    "interest",
    "fee",
    "penalty_interest",
    "reversal",
)

KINDS: dict[str, TransactionKind] = {
    kind.name: kind for kind in (import_module(f"{__name__}.{module}").KIND for module in _MODULES)
}

__all__ = ["KINDS", "Counter", "TransactionKind"]
