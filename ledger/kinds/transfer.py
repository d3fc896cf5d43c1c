from ledger.kinds.base import TransactionKind

KIND = TransactionKind(
    name="transfer",
    summary="Money from one account to another of the same client.",
    customer_is_debited=True,
)
