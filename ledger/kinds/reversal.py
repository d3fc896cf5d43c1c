from ledger.kinds.base import TransactionKind

KIND = TransactionKind(
    name="reversal",
    summary="What an earlier transaction booked, taken back in full or in part.",
    customer_is_debited=False,
    is_asked_by_name=False,
)
