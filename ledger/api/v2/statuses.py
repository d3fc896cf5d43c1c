"""Where a transaction stands, by its id or its receipt code; and the transaction behind a receipt."""

from __future__ import annotations

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from config.api.filters import refuse_odd_parameters
from ledger.api.reach import reach_of
from ledger.domain.receipts import transaction_id_of
from ledger.domain.shapes import TransactionShape
from ledger.errors import ReceiptMalformed
from ledger.status import StatusShape


class StatusViewSet(ViewSet):
    """Where transactions of who asks stand."""

    lookup_value_converter = "uuid"
    required_scopes = {"retrieve": "transactions:read"}
    open_to_users = {"retrieve"}

    @extend_schema(
        operation_id="get_transaction_status", responses=StatusShape, summary="See where a transaction stands"
    )
    def retrieve(self, request: Request, pk: UUID) -> Response:
        """Say where it stood at most a second ago. Of two answers, the one with the higher `version` is the later."""
        refuse_odd_parameters(request.query_params, known=())
        return Response(reach_of(request).status(pk))


class ReceiptViewSet(ViewSet):
    """Transactions by receipt code."""

    required_scopes = {"retrieve": "transactions:read", "transaction": "transactions:read"}
    refused = {"retrieve": (422,), "transaction": (422,)}
    open_to_users = {"retrieve", "transaction"}

    @extend_schema(
        operation_id="get_receipt", responses=StatusShape, summary="See where the transaction of a receipt stands"
    )
    def retrieve(self, request: Request, code: str) -> Response:
        """Say where it stood at most a second ago. Of two answers, the one with the higher `version` is the later."""
        refuse_odd_parameters(request.query_params, known=())
        return Response(reach_of(request).status(_transaction_id(code)))

    @extend_schema(
        operation_id="get_receipt_transaction",
        responses=TransactionShape,
        summary="Look at the transaction of a receipt",
    )
    def transaction(self, request: Request, code: str) -> Response:
        refuse_odd_parameters(request.query_params, known=())
        return Response(reach_of(request).transaction(_transaction_id(code)))


def _transaction_id(code: str) -> UUID:
    transaction_id = transaction_id_of(code)
    if transaction_id is None:
        raise ReceiptMalformed
    return transaction_id
