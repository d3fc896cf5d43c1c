"""Batches: submit many transactions at once, see how far they are, read their items."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from msgspec import Struct
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from config.api.answers import posted
from config.api.body import BODY_LIMIT_MAX
from config.api.decoding import refuse_body
from config.api.filters import parse_flag, refuse_odd_parameters
from config.api.idempotency import HEADER, fingerprint, parse_key
from config.api.openapi import header
from config.api.openapi import page_of as page_schema
from config.api.pages import PARAMETERS, Page, PageQuery, page_of
from config.api.prefer import RESPOND_ASYNC, parse_prefer
from config.api.principal import principal_of
from config.api.problems import STATUS, problem, status_of
from config.runtime.clock import now
from config.runtime.logging import annotate, request_id
from ledger.actors import wake_batch_posters, wake_posters
from ledger.api.v2.bodies import BatchIn, batch_of
from ledger.api.v2.claims import claim_of
from ledger.api.v2.transactions import DRY_RUN
from ledger.api.v2.transactions import OPERATION as SINGLE
from ledger.clients.throttles import COST, charge
from ledger.clients.tiers import batch_cost, check_batch_size
from ledger.domain.batches import BatchDetailShape, BatchShape, ItemResult, PlaceShape
from ledger.domain.shapes import TransactionShape
from ledger.domain.states import Status
from ledger.models import Batch, BatchItem
from ledger.queries.batches import batch_detail, batch_shape, batches_of, get_batch, item_results, items_of
from ledger.services.batches.items import places_of
from ledger.services.batches.retry import OPERATION as RETRY
from ledger.services.batches.retry import retry_batch
from ledger.services.batches.submit import OPERATION, REVERSE, SubmittedBatch, reverse_batch, submit_batch, try_batch
from ledger.services.idempotency import Claim
from ledger.services.transactions import failure_in

PREFER = header("Prefer", {"type": "string"}, description=f"`{RESPOND_ASYNC}` (RFC 7240): answer 202, post in turns.")


class ItemErrorShape(Struct, frozen=True, kw_only=True):
    """Why an item has no booking, and whether it may be retried; `errors` are the places of the batch's body."""

    code: str
    detail: str
    retryable: bool = False
    errors: list[PlaceShape] = []


class BatchItemShape(Struct, frozen=True, kw_only=True):
    """What became of an item: `status` is what it would have been answered with alone, 202 while it waits.

    One that the books refused has its transaction and its error, one that made no transaction the error alone.
    """

    index: int
    status: int
    transaction: TransactionShape | None
    error: ItemErrorShape | None
    replayed: bool


class BatchAnswer(BatchDetailShape, frozen=True, kw_only=True):
    """A batch with its items, in their order."""

    items: list[BatchItemShape]


class BatchViewSet(ViewSet):
    """Batches of the client that asks."""

    lookup_value_converter = "uuid"
    body_limit = BODY_LIMIT_MAX
    required_scopes = {
        "create": "transactions:write",
        "list": "transactions:read",
        "retrieve": "transactions:read",
        "items": "transactions:read",
        "retry": "transactions:write",
        "reverse": "transactions:write",
    }
    quota_costs = {"retry": 10, "reverse": 10}
    idempotency_required = {"create", "reverse"}
    located = {"create": (202, 207), "retry": (200, 202), "reverse": (207,)}
    tried = {"create": (207,)}
    paged = {"list", "items"}
    unfiltered = {"list", "items"}

    @extend_schema(
        operation_id="create_batch",
        request=BatchIn,
        parameters=[PREFER, DRY_RUN],
        responses={207: BatchAnswer, 202: BatchDetailShape},
        summary="Move money many times",
    )
    def create(self, request: Request) -> HttpResponse:
        """Post up to 1,000 transactions in one commit and answer one result for each, in order.

        In mode `partial` each item stands alone, or with those of its `group`; in mode `atomic` all are booked or the
        batch is refused, and stored as refused. A larger one, up to 10,000 items, and with `Prefer: respond-async` any
        one in mode `partial`, is answered with 202 and posted in turns with other batches. With `dry_run=true` all is
        done, for up to 1,000 items, and rolled back.

        It costs a token of the quota for each 20 items begun. How many it may have depends on the client's tier.
        """
        refuse_odd_parameters(request.query_params, known=("dry_run",))
        is_dry = parse_flag(request.query_params, "dry_run")
        key = parse_key(request.headers.get(HEADER), required=True) or ""
        preferences = parse_prefer(request.headers.get("Prefer"))
        mode, items = batch_of(request.data, operation=SINGLE)
        check_batch_size(tier=principal_of(request).tier, count=len(items))
        if more := batch_cost(len(items)) - COST:
            charge(request, more)
        asked: dict[str, Any] = {
            "client_id": principal_of(request).client_id,
            "mode": mode,
            "items": items,
            "claim": Claim(key, OPERATION, fingerprint(OPERATION, request.data)),
            "actor": principal_of(request).actor,
            "request_id": request_id(),
            "now": now(),
        }
        if is_dry:
            tried = try_batch(**asked)
            return Response(_whole(tried), status=207, headers={"Dry-Run": "true"})
        submitted = submit_batch(**asked, respond_async=preferences.respond_async)
        annotate(batch_id=str(submitted.batch.id), items=len(items), replayed=submitted.replayed)
        return _answer(request, submitted, is_async=preferences.respond_async)

    @extend_schema(
        operation_id="retry_batch",
        request=None,
        responses={202: BatchDetailShape, 200: BatchDetailShape},
        summary="Retry what failed for a passing reason",
    )
    def retry(self, request: Request, pk: UUID) -> Response:
        """Have posted again those items whose error says `retryable`; the others stay as they are.

        Where all that failed for a passing reason has been tried five times, it is refused with `parked`, where nothing
        did with `not_retryable`.
        """
        refuse_odd_parameters(request.query_params, known=())
        refuse_body(request.data)
        retried = retry_batch(
            client_id=principal_of(request).client_id,
            batch_id=pk,
            actor=principal_of(request).actor,
            request_id=request_id(),
            claim=claim_of(request, RETRY, str(pk)),
        )
        wake_posters()
        wake_batch_posters()
        counts = retried.batch.counts
        is_running = counts.waiting + counts.processing > 0
        headers = posted(f"/v2/batches/{pk}", replayed=retried.replayed, is_running=is_running)
        return Response(retried.batch, status=202 if is_running else 200, headers=headers)

    @extend_schema(
        operation_id="reverse_batch",
        request=None,
        responses={207: BatchAnswer},
        summary="Take back all that is booked of a batch",
    )
    def reverse(self, request: Request, pk: UUID) -> HttpResponse:
        """Take back every transaction of a batch, up to 1,000 and as far as they are not yet: all or nothing.

        The answer is an atomic batch of its own, whose items are the reversals, that of the last transaction first.
        """
        refuse_odd_parameters(request.query_params, known=())
        refuse_body(request.data)
        key = parse_key(request.headers.get(HEADER), required=True) or ""
        submitted = reverse_batch(
            client_id=principal_of(request).client_id,
            batch_id=pk,
            claim=Claim(key, REVERSE, fingerprint(REVERSE, str(pk))),
            actor=principal_of(request).actor,
            request_id=request_id(),
            now=now(),
        )
        annotate(batch_id=str(submitted.batch.id), replayed=submitted.replayed)
        return _answer(request, submitted, is_async=False)

    @extend_schema(operation_id="list_batches", responses=page_schema(BatchShape), summary="List batches, newest first")
    def list(self, request: Request) -> Response:
        refuse_odd_parameters(request.query_params, known=PARAMETERS)
        page: Page[Batch] = page_of(batches_of(principal_of(request).client_id), PageQuery.of(request))
        return Response(page.answer(batch_shape))

    @extend_schema(operation_id="get_batch", responses=BatchDetailShape, summary="Look at a batch, and how far it is")
    def retrieve(self, request: Request, pk: UUID) -> Response:
        refuse_odd_parameters(request.query_params, known=())
        return Response(batch_detail(get_batch(principal_of(request).client_id, pk)))

    @extend_schema(
        operation_id="list_batch_items",
        responses=page_schema(BatchItemShape),
        summary="The items of a batch, in their order",
    )
    def items(self, request: Request, pk: UUID) -> Response:
        refuse_odd_parameters(request.query_params, known=PARAMETERS)
        scope = items_of(get_batch(principal_of(request).client_id, pk))
        page: Page[BatchItem] = page_of(scope, PageQuery.of(request), field="index", descending=False)
        results = {result.index: result for result in item_results(page.rows)}
        return Response(page.answer(lambda row: _item_shape(results[row.index])))


def _answer(request: Request, submitted: SubmittedBatch, *, is_async: bool) -> HttpResponse:
    is_running, failure = submitted.is_running, submitted.failure
    headers = posted(
        f"/v2/batches/{submitted.batch.id}",
        replayed=submitted.replayed,
        applied=RESPOND_ASYNC if is_async and is_running else "",
        is_running=is_running,
    )
    if failure is not None:
        return problem(failure, request, headers=headers)
    if not is_running:
        return Response(_whole(submitted), status=207, headers=headers)
    if not submitted.replayed:
        wake_batch_posters()
    return Response(submitted.batch, status=202, headers=headers)


def _whole(submitted: SubmittedBatch) -> BatchAnswer:
    batch = submitted.batch
    return BatchAnswer(
        id=batch.id,
        mode=batch.mode,
        status=batch.status,
        counts=batch.counts,
        created_at=batch.created_at,
        completed_at=batch.completed_at,
        items=[_item_shape(result) for result in submitted.results],
    )


def _item_shape(result: ItemResult) -> BatchItemShape:
    status, error = _judged(result)
    return BatchItemShape(
        index=result.index, status=status, transaction=result.transaction, error=error, replayed=result.replayed
    )


def _judged(result: ItemResult) -> tuple[int, ItemErrorShape | None]:
    refusal, transaction = result.refusal, result.transaction
    if refusal is not None:
        return STATUS[refusal.kind], ItemErrorShape(
            code=refusal.code, detail=refusal.detail, retryable=refusal.retryable, errors=refusal.errors
        )
    if transaction is None or transaction.status == Status.PROCESSING:
        return 202, None
    failure = failure_in(transaction)
    if failure is None or transaction.error is None:
        return 201, None
    return status_of(failure), ItemErrorShape(
        code=failure.code,
        detail=failure.detail,
        retryable=transaction.error.retryable,
        errors=places_of(result.index, failure),
    )
