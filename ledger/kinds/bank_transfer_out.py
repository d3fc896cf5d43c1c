from ledger.domain.accounts import AccountKind
from ledger.kinds.base import Counter, TransactionKind

KIND = TransactionKind(
    name="bank_transfer_out",
    summary="Money sent to another bank.",
    customer_is_debited=True,
    counter=Counter("banks", AccountKind.ASSET),
)
