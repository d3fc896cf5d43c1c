from ledger.domain.accounts import AccountKind
from ledger.kinds.base import Counter, TransactionKind

KIND = TransactionKind(
    name="fee",
    summary="A fee charged to the customer.",
    customer_is_debited=True,
    counter=Counter("fees", AccountKind.INCOME),
)
