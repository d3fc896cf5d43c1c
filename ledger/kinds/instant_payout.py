from ledger.domain.accounts import AccountKind
from ledger.kinds.base import Counter, TransactionKind

KIND = TransactionKind(
    name="instant_payout",
    summary="A payout within seconds to a card or an account elsewhere; it costs 1 % of the amount.",
    customer_is_debited=True,
    counter=Counter("payouts", AccountKind.ASSET),
    fee_basis_points=100,
)
