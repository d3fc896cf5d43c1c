"""Transactions for who keeps a copy of them."""

from __future__ import annotations

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from config.api import pages
from config.api.filters import refuse_odd_parameters
from config.api.openapi import whole
from config.api.positions import read_position, write_position
from config.api.principal import principal_of
from ledger.api.v2.events import LIMIT
from ledger.domain.shapes import SyncShape
from ledger.queries.transaction_sync import transactions_since


class TransactionSyncViewSet(ViewSet):
    """What came and changed of the transactions of the client that asks."""

    required_scopes = {"list": "transactions:read"}
    refused = {"list": (410,)}

    @extend_schema(
        operation_id="sync_transactions",
        parameters=[
            OpenApiParameter(
                "cursor",
                {"type": "string", "maxLength": pages.CURSOR_BYTES_MAX},
                description="The `next_cursor` of an earlier answer; without it all that is kept.",
            ),
            OpenApiParameter("limit", LIMIT, description="How many events are looked at."),
        ],
        responses=whole(SyncShape),
        summary="Transactions that came or changed since a cursor",
    )
    def list(self, request: Request) -> Response:
        """Keep a copy: put in what is added, replace what is modified, and go on with the cursor.

        A transaction appears a moment after its first outcome, and again whenever its status or its sums have moved;
        what is still `processing` does not. None is passed over, however many are written meanwhile. A cursor whose
        events are not kept any more is answered with 410: begin anew without one.
        """
        refuse_odd_parameters(request.query_params, known=("cursor", "limit"))
        client_id = principal_of(request).client_id
        reader, cursor = f"transactions/sync/{client_id}", request.query_params.get("cursor")
        after = None if cursor is None else read_position(cursor, of=reader)
        found = transactions_since(client_id, after, limit=pages.limit_of(request))
        return Response(
            SyncShape(
                added=found.added,
                modified=found.modified,
                next_cursor=write_position(found.until, of=reader),
                has_more=found.has_more,
            )
        )
