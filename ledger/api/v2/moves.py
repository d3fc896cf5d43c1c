"""What is done to a transaction that stands: capture, void, reverse."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from config.api.answers import posted
from config.api.decoding import decode
from config.api.filters import refuse_odd_parameters
from config.api.idempotency import fingerprint, parse_key
from config.api.principal import principal_of
from config.api.problems import problem
from config.runtime.logging import annotate, request_id
from ledger.api.v2.bodies import CaptureIn, ReversalIn, VoidIn, check_metadata
from ledger.domain.shapes import TransactionShape
from ledger.services.holds import CAPTURE, VOID, Moved, capture_transaction, void_transaction
from ledger.services.idempotency import Claim
from ledger.services.reversals import OPERATION as REVERSE
from ledger.services.reversals import Reversal, reverse_transaction


class MoveViewSet(ViewSet):
    """Holds that are captured or let go, and what is taken back, of the client that asks."""

    lookup_value_converter = "uuid"
    required_scopes = {
        "capture": "transactions:write",
        "void": "transactions:write",
        "reverse": "transactions:write",
    }
    located = {"reverse": (201,)}
    idempotency_required = {"capture", "void", "reverse"}

    @extend_schema(
        operation_id="capture_transaction",
        request=CaptureIn,
        responses=TransactionShape,
        summary="Book what is held, all of it or a part",
    )
    def capture(self, request: Request, pk: UUID) -> Response:
        """Book the amount, or all that is still held; several captures are possible. `final` lets go what is left."""
        data, key = _asked(request)
        body = decode(data, CaptureIn)
        moved = capture_transaction(
            transaction_id=pk,
            amount=body.amount,
            is_final=body.final or body.amount is None,
            claim=Claim(key, CAPTURE, fingerprint(CAPTURE, [str(pk), data])),
            **_by(request),
        )
        return _answer(moved)

    @extend_schema(
        operation_id="void_transaction", request=VoidIn, responses=TransactionShape, summary="Let go what is held"
    )
    def void(self, request: Request, pk: UUID) -> Response:
        """End the hold: `voided`, or `completed` where some of it was captured."""
        data, key = _asked(request)
        body = decode(data, VoidIn)
        moved = void_transaction(
            transaction_id=pk,
            reason=body.reason or "",
            claim=Claim(key, VOID, fingerprint(VOID, [str(pk), data])),
            **_by(request),
        )
        return _answer(moved)

    @extend_schema(
        operation_id="reverse_transaction",
        request=ReversalIn,
        responses={201: TransactionShape},
        summary="Take back what was booked",
    )
    def reverse(self, request: Request, pk: UUID) -> HttpResponse:
        """Book the money back by a transaction of its own, in full or in part, until all of the original is back.

        What the books refuse (too little money, a frozen account) is stored as failed, as any transaction.
        """
        data, key = _asked(request)
        body = decode(data, ReversalIn)
        check_metadata(body.metadata)
        submitted = reverse_transaction(
            transaction_id=pk,
            reversal=Reversal(
                amount=body.amount,
                reference=body.reference,
                description=body.description,
                metadata=body.metadata,
                idempotency_key=key,
                request_hash=fingerprint(REVERSE, [str(pk), data]),
            ),
            **_by(request),
        )
        shape = submitted.transaction
        annotate(transaction_id=str(shape.id), receipt_code=shape.receipt_code, replayed=submitted.replayed)
        headers = posted(f"/v2/transactions/{shape.id}", replayed=submitted.replayed)
        if submitted.failure is not None:
            return problem(submitted.failure, request, headers=headers)
        return Response(shape, status=201, headers=headers)


def _asked(request: Request) -> tuple[Any, str]:
    refuse_odd_parameters(request.query_params, known=())
    key = parse_key(request.META.get("HTTP_IDEMPOTENCY_KEY"), required=True)
    assert key is not None
    return request.data, key


def _by(request: Request) -> dict[str, Any]:
    principal = principal_of(request)
    return {"client_id": principal.client_id, "actor": principal.actor, "request_id": request_id()}


def _answer(moved: Moved) -> Response:
    annotate(transaction_id=str(moved.transaction.id), replayed=moved.replayed)
    return Response(moved.transaction, headers={"Idempotent-Replayed": "true"} if moved.replayed else {})
