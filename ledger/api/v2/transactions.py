"""Transactions: submit, list, look at, history."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

import msgspec
from django.http import HttpResponse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from config.api.answers import answer, posted
from config.api.decoding import decode, refuse_body
from config.api.encoding import encode
from config.api.filters import parse_flag, refuse_odd_parameters
from config.api.idempotency import fingerprint, parse_key
from config.api.openapi import page_of as page_schema
from config.api.pages import PageQuery, page_of
from config.api.prefer import parse_prefer
from config.api.principal import principal_of
from config.api.problems import problem
from config.runtime.clock import now
from config.runtime.logging import annotate, request_id
from ledger.actors import wake_posters
from ledger.api.reach import reach_of
from ledger.api.v2.bodies import TransactionIn, submission_of
from ledger.api.v2.claims import claim_of
from ledger.domain.shapes import AcceptedShape, HistoryShape, TransactionShape
from ledger.domain.states import Status
from ledger.filters import TransactionFilters
from ledger.lists import first_page
from ledger.queries.transactions import get_transaction, history_of
from ledger.services.retry import OPERATION as RETRY
from ledger.services.retry import retry_transaction
from ledger.services.transactions import failure_in, submit_transaction, try_transaction

OPERATION = "transactions.submit"
DRY_RUN = OpenApiParameter("dry_run", bool, description="Do all of it, answer what came of it, and roll it back.")


class TransactionViewSet(ViewSet):
    """Transactions of who asks."""

    lookup_value_converter = "uuid"
    required_scopes = {
        "create": "transactions:write",
        "list": "transactions:read",
        "retrieve": "transactions:read",
        "history": "transactions:read",
        "retry": "transactions:write",
    }
    open_to_users = {"list", "retrieve"}
    idempotency_required = {"create"}
    prefer_honoured = {"create"}
    located = {"create": (201, 202), "retry": (200, 202)}
    tried = {"create": (200,)}
    paged = {"list"}
    filterset_class = TransactionFilters

    @extend_schema(
        operation_id="create_transaction",
        request=TransactionIn,
        parameters=[DRY_RUN],
        responses={200: TransactionShape, 201: TransactionShape, 202: AcceptedShape},
        summary="Move money",
    )
    def create(self, request: Request) -> HttpResponse:
        """Accept a transaction, or with `Prefer: wait=N` answer when it is booked.

        Accepted it is `processing` and has its receipt; what cannot succeed now is refused and leaves no row. One that
        is waited for and that the books refuse (too little money, a frozen account) is stored as failed, with a
        receipt, and answered as a problem; the same key replays it.

        When N seconds pass before its booking begins, it is accepted. A booking that has begun waits for accounts that
        others have locked as long as the longest N among those that share its commit, at most 5 s; then it is refused
        with `posting_contended`, leaves no row, and may be sent again with its key.

        With `dry_run=true` all is done and rolled back, and the answer is 200. What stands now says nothing of a later
        time: one with `execute_at` is then refused with `execute_at_in_dry_run`.
        """
        started = time.perf_counter()
        refuse_odd_parameters(request.query_params, known=("dry_run",))
        is_dry = parse_flag(request.query_params, "dry_run")
        # From META, since `headers` would make a mapping of all of them to find these two.
        key = parse_key(request.META.get("HTTP_IDEMPOTENCY_KEY"), required=True)
        preferences = parse_prefer(request.META.get("HTTP_PREFER"))
        data = request.data
        body = decode(data, TransactionIn)
        asked: dict[str, Any] = {
            "client_id": principal_of(request).client_id,
            "submission": submission_of(body, key=key, request_hash=fingerprint(OPERATION, data)),
            "actor": principal_of(request).actor,
            "request_id": request_id(),
            "now": now(),
        }
        if is_dry:
            return Response(try_transaction(**asked), headers={"Dry-Run": "true"})
        submitted = submit_transaction(**asked, wait_s=preferences.wait_s)
        shape = submitted.transaction
        annotate(transaction_id=str(shape.id), receipt_code=shape.receipt_code, replayed=submitted.replayed)
        is_running = shape.status == Status.PROCESSING
        headers = posted(
            f"/v2/transactions/{shape.id}",
            replayed=submitted.replayed,
            applied=preferences.applied(waited=not is_running),
            is_running=is_running,
        )
        failure = submitted.failure
        if failure is not None:
            return problem(failure, request, headers=headers)
        if not is_running:
            return Response(shape, status=201, headers=headers)
        if not submitted.replayed:
            wake_posters()
        elapsed_ms = round((time.perf_counter() - started) * 1000, 3)
        accepted = AcceptedShape(**msgspec.structs.asdict(shape), processing_time_ms=elapsed_ms)
        return answer(accepted, status=202, headers=headers)

    @extend_schema(
        operation_id="retry_transaction",
        request=None,
        responses={202: TransactionShape, 200: TransactionShape},
        summary="Retry what failed for a passing reason",
    )
    def retry(self, request: Request, pk: UUID) -> HttpResponse:
        """Put a failed transaction back into the queue, if its failure says `retryable`.

        One that has been tried five times is refused with `parked`. A replay answers what has become of it since.
        """
        refuse_odd_parameters(request.query_params, known=())
        refuse_body(request.data)
        retried = retry_transaction(
            client_id=principal_of(request).client_id,
            transaction_id=pk,
            actor=principal_of(request).actor,
            request_id=request_id(),
            claim=claim_of(request, RETRY, str(pk)),
        )
        wake_posters()
        is_running = retried.transaction.status == Status.PROCESSING
        headers = posted(f"/v2/transactions/{pk}", replayed=retried.replayed, is_running=is_running)
        failure = failure_in(retried.transaction)
        if failure is not None:
            return problem(failure, request, headers=headers)
        return Response(retried.transaction, status=202 if is_running else 200, headers=headers)

    @extend_schema(
        operation_id="list_transactions",
        responses=page_schema(TransactionShape),
        summary="List transactions, newest first",
    )
    def list(self, request: Request) -> HttpResponse:
        filters = TransactionFilters.read(request.query_params)
        reach, query = reach_of(request), PageQuery.of(request, filters=filters.canonical)

        def page() -> bytes:
            since = time.monotonic()
            rows = page_of(filters.scopes(reach), query, narrow=filters.look)
            return encode(rows.answer_all(reach.shown(rows.rows, since=since)))

        version = None if query.cursor else filters.version(reach)
        found = page() if version is None else first_page(version, query.name, page)
        return answer(msgspec.Raw(found))

    @extend_schema(operation_id="get_transaction", responses=TransactionShape, summary="Look at a transaction")
    def retrieve(self, request: Request, pk: UUID) -> Response:
        refuse_odd_parameters(request.query_params, known=())
        return Response(reach_of(request).transaction(pk))

    @extend_schema(
        operation_id="get_transaction_history",
        responses=HistoryShape,
        summary="Every step of a transaction, oldest first",
    )
    def history(self, request: Request, pk: UUID) -> Response:
        refuse_odd_parameters(request.query_params, known=())
        return Response(HistoryShape(data=history_of(get_transaction(principal_of(request).client_id, pk))))
