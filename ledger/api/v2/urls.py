"""The routes of v2."""

from __future__ import annotations

from django.urls import path

from ledger.api.v2.accounts import AccountViewSet
from ledger.api.v2.transactions import ReceiptViewSet, TransactionViewSet

urlpatterns = [
    path("accounts", AccountViewSet.as_view({"get": "list", "post": "create"}), name="accounts"),
    path("accounts/<uuid:pk>", AccountViewSet.as_view({"get": "retrieve"}), name="account"),
    path("accounts/<uuid:pk>/balance", AccountViewSet.as_view({"get": "balance"}), name="account-balance"),
    path("accounts/<uuid:pk>/entries", AccountViewSet.as_view({"get": "entries"}), name="account-entries"),
    path("transactions", TransactionViewSet.as_view({"get": "list", "post": "create"}), name="transactions"),
    path("transactions/<uuid:pk>", TransactionViewSet.as_view({"get": "retrieve"}), name="transaction"),
    path("transactions/<uuid:pk>/history", TransactionViewSet.as_view({"get": "history"}), name="transaction-history"),
    path("receipts/<str:code>", ReceiptViewSet.as_view({"get": "retrieve"}), name="receipt"),
]
