"""The routes of v2."""

from __future__ import annotations

from django.urls import path

from ledger.api.v2.account_changes import AccountChangeViewSet
from ledger.api.v2.account_statements import AccountStatementViewSet
from ledger.api.v2.accounts import AccountViewSet
from ledger.api.v2.batches import BatchViewSet
from ledger.api.v2.dead_letters import DeadLetterViewSet
from ledger.api.v2.events import EventViewSet
from ledger.api.v2.keys import KeyViewSet
from ledger.api.v2.me import MeView
from ledger.api.v2.moves import MoveViewSet
from ledger.api.v2.proofs import ProofViewSet
from ledger.api.v2.reconciliations import ReconciliationViewSet
from ledger.api.v2.statuses import ReceiptViewSet, StatusViewSet
from ledger.api.v2.tokens import TokenViewSet
from ledger.api.v2.transaction_sync import TransactionSyncViewSet
from ledger.api.v2.transactions import TransactionViewSet
from ledger.api.v2.trial_balance import TrialBalanceViewSet

urlpatterns = [
    path("transactions", TransactionViewSet.as_view({"get": "list", "post": "create"}), name="transactions"),
    path("transactions/batch", BatchViewSet.as_view({"post": "create"}), name="transaction-batch"),
    path("transactions/sync", TransactionSyncViewSet.as_view({"get": "list"}), name="transaction-sync"),
    path("transactions/<uuid:pk>", TransactionViewSet.as_view({"get": "retrieve"}), name="transaction"),
    path("transactions/<uuid:pk>/history", TransactionViewSet.as_view({"get": "history"}), name="transaction-history"),
    path("transactions/<uuid:pk>/proof", ProofViewSet.as_view({"get": "retrieve"}), name="transaction-proof"),
    path("transactions/<uuid:pk>/retry", TransactionViewSet.as_view({"post": "retry"}), name="transaction-retry"),
    path("transactions/<uuid:pk>/capture", MoveViewSet.as_view({"post": "capture"}), name="transaction-capture"),
    path("transactions/<uuid:pk>/void", MoveViewSet.as_view({"post": "void"}), name="transaction-void"),
    path("transactions/<uuid:pk>/reverse", MoveViewSet.as_view({"post": "reverse"}), name="transaction-reverse"),
    path("transactions/<uuid:pk>/status", StatusViewSet.as_view({"get": "retrieve"}), name="transaction-status"),
    path("accounts", AccountViewSet.as_view({"get": "list", "post": "create"}), name="accounts"),
    path("accounts/<uuid:pk>", AccountViewSet.as_view({"get": "retrieve"}), name="account"),
    path("accounts/<uuid:pk>/balance", AccountViewSet.as_view({"get": "balance"}), name="account-balance"),
    path("accounts/<uuid:pk>/entries", AccountViewSet.as_view({"get": "entries"}), name="account-entries"),
    path(
        "accounts/<uuid:pk>/statement", AccountStatementViewSet.as_view({"get": "retrieve"}), name="account-statement"
    ),
    path("accounts/<uuid:pk>/freeze", AccountChangeViewSet.as_view({"post": "freeze"}), name="account-freeze"),
    path("accounts/<uuid:pk>/unfreeze", AccountChangeViewSet.as_view({"post": "unfreeze"}), name="account-unfreeze"),
    path("accounts/<uuid:pk>/close", AccountChangeViewSet.as_view({"post": "close"}), name="account-close"),
    path("accounts/<uuid:pk>/reopen", AccountChangeViewSet.as_view({"post": "reopen"}), name="account-reopen"),
    path("accounts/<uuid:pk>/limits", AccountChangeViewSet.as_view({"post": "limits"}), name="account-limits"),
    path("accounts/<uuid:pk>/history", AccountChangeViewSet.as_view({"get": "history"}), name="account-history"),
    path("trial-balance", TrialBalanceViewSet.as_view({"get": "retrieve"}), name="trial-balance"),
    path("batches", BatchViewSet.as_view({"get": "list"}), name="batches"),
    path("batches/<uuid:pk>", BatchViewSet.as_view({"get": "retrieve"}), name="batch"),
    path("batches/<uuid:pk>/items", BatchViewSet.as_view({"get": "items"}), name="batch-items"),
    path("batches/<uuid:pk>/retry", BatchViewSet.as_view({"post": "retry"}), name="batch-retry"),
    path("batches/<uuid:pk>/reverse", BatchViewSet.as_view({"post": "reverse"}), name="batch-reverse"),
    path("events", EventViewSet.as_view({"get": "list"}), name="events"),
    path("dead-letters", DeadLetterViewSet.as_view({"get": "list"}), name="dead-letters"),
    path("dead-letters/replay", DeadLetterViewSet.as_view({"post": "replay_many"}), name="dead-letter-replays"),
    path("dead-letters/<uuid:pk>", DeadLetterViewSet.as_view({"get": "retrieve"}), name="dead-letter"),
    path("dead-letters/<uuid:pk>/replay", DeadLetterViewSet.as_view({"post": "replay"}), name="dead-letter-replay"),
    path("dead-letters/<uuid:pk>/discard", DeadLetterViewSet.as_view({"post": "discard"}), name="dead-letter-discard"),
    path("reconciliations", ReconciliationViewSet.as_view({"get": "list", "post": "create"}), name="reconciliations"),
    path("reconciliations/<uuid:pk>", ReconciliationViewSet.as_view({"get": "retrieve"}), name="reconciliation"),
    path("receipts/<str:code>", ReceiptViewSet.as_view({"get": "retrieve"}), name="receipt"),
    path("receipts/<str:code>/transaction", ReceiptViewSet.as_view({"get": "transaction"}), name="receipt-transaction"),
    path("me", MeView.as_view(), name="me"),
    path("tokens", TokenViewSet.as_view({"post": "create"}), name="tokens"),
    path("keys", KeyViewSet.as_view({"get": "list", "post": "create"}), name="keys"),
    path("keys/<str:pk>", KeyViewSet.as_view({"get": "retrieve"}), name="key"),
    path("keys/<str:pk>/rotate", KeyViewSet.as_view({"post": "rotate"}), name="key-rotation"),
    path("keys/<str:pk>/revoke", KeyViewSet.as_view({"post": "revoke"}), name="key-revocation"),
]
