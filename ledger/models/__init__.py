from ledger.models.accounts import Account, Balance, Currency
from ledger.models.batches import Batch, BatchItem
from ledger.models.holds import OpenHold
from ledger.models.journals import Entry, Journal, TimeShift
from ledger.models.queue import QueuedPosting
from ledger.models.reconciliations import Reconciliation, ReconciliationBreak
from ledger.models.transactions import Transaction, TransactionEvent

__all__ = [
    "Account",
    "Balance",
    "Batch",
    "BatchItem",
    "Currency",
    "Entry",
    "Journal",
    "OpenHold",
    "QueuedPosting",
    "Reconciliation",
    "ReconciliationBreak",
    "TimeShift",
    "Transaction",
    "TransactionEvent",
]
