from ledger.domain.accounts import AccountKind
from ledger.kinds.base import Counter, TransactionKind

KIND = TransactionKind(
    name="penalty_interest",
    summary="Interest charged for an overdrawn account.",
    customer_is_debited=True,
    counter=Counter("penalty_interest", AccountKind.INCOME),
)
