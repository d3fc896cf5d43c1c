from ledger.domain.accounts import AccountKind
from ledger.kinds.base import Counter, TransactionKind

KIND = TransactionKind(
    name="card",
    summary="A card withdrawal or payment, owed to the card scheme.",
    customer_is_debited=True,
    counter=Counter("cards", AccountKind.LIABILITY),
)
