from ledger.models.accounts import Account, Balance, Currency
from ledger.models.journals import Entry, Journal
from ledger.models.transactions import Transaction, TransactionEvent

__all__ = ["Account", "Balance", "Currency", "Entry", "Journal", "Transaction", "TransactionEvent"]
