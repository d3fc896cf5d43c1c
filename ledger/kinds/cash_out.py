from ledger.domain.accounts import AccountKind
from ledger.kinds.base import Counter, TransactionKind

KIND = TransactionKind(
    name="cash_out",
    summary="Cash paid out over the counter.",
    customer_is_debited=True,
    counter=Counter("cash", AccountKind.ASSET),
)
