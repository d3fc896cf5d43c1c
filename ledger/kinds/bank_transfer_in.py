from ledger.domain.accounts import AccountKind
from ledger.kinds.base import Counter, TransactionKind

KIND = TransactionKind(
    name="bank_transfer_in",
    summary="Money that came from another bank.",
    customer_is_debited=False,
    counter=Counter("banks", AccountKind.ASSET),
)
