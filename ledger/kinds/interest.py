from ledger.domain.accounts import AccountKind
from ledger.kinds.base import Counter, TransactionKind

KIND = TransactionKind(
    name="interest",
    summary="Interest paid to the customer.",
    customer_is_debited=False,
    counter=Counter("interest_paid", AccountKind.EXPENSE),
)
