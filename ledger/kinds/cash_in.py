from ledger.domain.accounts import AccountKind
from ledger.kinds.base import Counter, TransactionKind

KIND = TransactionKind(
    name="cash_in",
    summary="Cash paid in over the counter.",
    customer_is_debited=False,
    counter=Counter("cash", AccountKind.ASSET),
)
