"""Transactions: submit, list, look at, history; receipts lead to them."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from config.api.decoding import decode
from config.api.filters import refuse_odd_parameters
from config.api.idempotency import HEADER, fingerprint, parse_key
from config.api.openapi import Problem
from config.api.openapi import page_of as page_schema
from config.api.pages import PageQuery, page_of
from config.api.prefer import parse_prefer
from config.api.principal import principal_of
from config.api.problems import CONTENT_TYPE as PROBLEM
from config.api.problems import problem
from config.runtime.clock import now
from config.runtime.logging import annotate, request_id
from ledger.api.v2.bodies import TransactionIn, check_metadata
from ledger.api.v2.filters import TransactionFilters
from ledger.domain.receipts import transaction_id_of
from ledger.domain.shapes import HistoryShape, TransactionShape
from ledger.errors import ReceiptMalformed
from ledger.queries.transactions import get_transaction, history_of, transaction_shape
from ledger.services.transactions import Submission, submit_transaction

OPERATION = "transactions.submit"
WAIT_S = 30


class TransactionViewSet(ViewSet):
    """Transactions of the client that asks."""

    lookup_value_converter = "uuid"
    required_scopes = {
        "create": "transactions:write",
        "list": "transactions:read",
        "retrieve": "transactions:read",
        "history": "transactions:read",
    }
    idempotency_required = {"create"}
    prefer_honoured = {"create"}
    paged = {"list"}
    filterset_class = TransactionFilters

    @extend_schema(request=TransactionIn, responses={201: TransactionShape}, summary="Move money")
    def create(self, request: Request) -> HttpResponse:
        """Post a transaction and answer when it is booked.

        What the books refuse (too little money, a frozen account) is stored as failed, with a receipt, and answered
        as a problem; the same key replays it.
        """
        refuse_odd_parameters(request.query_params, known=())
        key = parse_key(request.headers.get(HEADER), required=True)
        preferences = parse_prefer(request.headers.get("Prefer"))
        body = decode(request.data, TransactionIn)
        check_metadata(body.metadata)
        submitted = submit_transaction(
            client_id=principal_of(request).client_id,
            submission=Submission(
                type=body.type,
                debit_account=body.debit_account,
                credit_account=body.credit_account,
                amount=body.amount,
                currency=body.currency,
                reference=body.reference,
                description=body.description,
                metadata=body.metadata,
                effective_at=body.effective_at,
                idempotency_key=key,
                request_hash=fingerprint(OPERATION, request.data),
            ),
            actor=principal_of(request).actor,
            request_id=request_id(),
            now=now(),
            timeout_s=preferences.wait_s or WAIT_S,
        )
        shape = submitted.transaction
        annotate(transaction_id=str(shape.id), receipt_code=shape.receipt_code, replayed=submitted.replayed)
        headers = {"Location": f"/v2/transactions/{shape.id}"}
        if preferences.applied:
            headers["Preference-Applied"] = preferences.applied
        if submitted.replayed:
            headers["Idempotent-Replayed"] = "true"
        failure = submitted.failure
        if failure is not None:
            answer = problem(failure, request._request)  # noqa: SLF001  (no public name for Django's request)
            for name, value in headers.items():
                answer.headers[name] = value
            return answer
        return Response(shape, status=201, headers=headers)

    @extend_schema(responses=page_schema(TransactionShape), summary="List transactions, newest first")
    def list(self, request: Request) -> Response:
        filters = TransactionFilters.read(request.query_params)
        scopes = filters.scopes(principal_of(request).client_id)
        page = page_of(scopes, PageQuery.of(request, filters=filters.canonical), narrow=filters.look)
        return Response(page.answer(transaction_shape))

    @extend_schema(responses=TransactionShape, summary="Look at a transaction")
    def retrieve(self, request: Request, pk: UUID) -> Response:
        refuse_odd_parameters(request.query_params, known=())
        return Response(transaction_shape(get_transaction(principal_of(request).client_id, pk)))

    @extend_schema(responses=HistoryShape, summary="Every step of a transaction, oldest first")
    def history(self, request: Request, pk: UUID) -> Response:
        refuse_odd_parameters(request.query_params, known=())
        return Response(HistoryShape(data=history_of(get_transaction(principal_of(request).client_id, pk))))


class ReceiptViewSet(ViewSet):
    """Transactions by receipt code."""

    required_scopes = {"retrieve": "transactions:read"}

    @extend_schema(
        responses={200: TransactionShape, (422, PROBLEM): Problem}, summary="Look at the transaction of a receipt"
    )
    def retrieve(self, request: Request, code: str) -> Response:
        refuse_odd_parameters(request.query_params, known=())
        transaction_id = transaction_id_of(code)
        if transaction_id is None:
            raise ReceiptMalformed
        return Response(transaction_shape(get_transaction(principal_of(request).client_id, transaction_id)))
