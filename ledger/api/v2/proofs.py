"""Whether what is booked of a transaction is in the record, and how to see it."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from config.api.filters import refuse_odd_parameters
from config.api.openapi import whole
from config.api.pages import CURSOR_BYTES_MAX, PageQuery, page_of
from config.api.principal import principal_of
from ledger.domain.proofs import ProofsShape
from ledger.queries.proofs import head_of_record, journals_of, proofs_of
from ledger.queries.transactions import get_transaction

# Each journal of a page may need the hashes of a block of its own.
PAGE = 10


class ProofViewSet(ViewSet):
    """Proofs of the transactions of the client that asks."""

    lookup_value_converter = "uuid"
    required_scopes = {"retrieve": "transactions:read"}

    @extend_schema(
        operation_id="get_transaction_proof",
        parameters=[OpenApiParameter("cursor", {"type": "string", "maxLength": CURSOR_BYTES_MAX})],
        responses=whole(ProofsShape),
        summary="Prove that what is booked of a transaction is in the record",
    )
    def retrieve(self, request: Request, pk: UUID) -> Response:
        """Say of each journal, ten on a page, which fields are hashed and what leads from them to a block.

        A journal is sealed a second or two after it was booked; until then `sealed` is false. What was not booked has
        no journals. How to check a proof: `docs/how-to/check-a-proof.md`.
        """
        refuse_odd_parameters(request.query_params, known=("cursor",))
        row = get_transaction(principal_of(request).client_id, pk)
        page = page_of(journals_of(row), replace(PageQuery.of(request), limit=PAGE), descending=False)
        proofs = proofs_of(page.rows)
        head = head_of_record()  # after the proofs: none of them is of a later block
        return Response(ProofsShape(data=proofs, head=head, next_cursor=page.next_cursor, prev_cursor=page.prev_cursor))
