"""What happened to a client's money and accounts, event by event."""

from __future__ import annotations

from django.http import QueryDict
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from config.api import pages
from config.api.filters import LIST_LENGTH_MAX, ParametersRefused, refuse_odd_parameters
from config.api.openapi import whole
from config.api.positions import read_position, write_position
from config.api.principal import principal_of
from config.runtime.errors import FieldError
from ledger.events.feed import events_after
from ledger.events.shapes import EventsShape
from ledger.events.types import EventType

LIMIT = {"type": "integer", "minimum": 1, "maximum": pages.LIMIT_MAX, "default": pages.LIMIT_DEFAULT}
_FAMILIES = {event_type.partition(".")[0] for event_type in EventType}
# What may be asked for, and which types that is.
_TYPES = (
    {event_type.value: {event_type.value} for event_type in EventType}
    | {f"{family}.*": {one.value for one in EventType if one.startswith(f"{family}.")} for family in _FAMILIES}
    | {"*": {event_type.value for event_type in EventType}}
)
TYPES = {
    "type": "array",
    "items": {"type": "string", "enum": sorted(_TYPES)},
    "minItems": 1,
    "maxItems": LIST_LENGTH_MAX,
}


class EventViewSet(ViewSet):
    """The events of the client that asks."""

    required_scopes = {"list": "events:read"}
    refused = {"list": (410,)}

    @extend_schema(
        operation_id="list_events",
        parameters=[
            OpenApiParameter(
                "types", TYPES, description="Such as account.frozen, transaction.*.", style="form", explode=False
            ),
            OpenApiParameter(
                "after",
                {"type": "string", "maxLength": pages.CURSOR_BYTES_MAX},
                description="The `next_cursor` of an earlier answer; without it the oldest events that are kept.",
            ),
            OpenApiParameter("limit", LIMIT),
        ],
        responses=whole(EventsShape),
        summary="What happened, in order",
    )
    def list(self, request: Request) -> Response:
        """Go on after a cursor: whoever does so again and again sees every event once, those of a key in their order.

        An event appears here a moment after its commit. Of some `types` only, a page may be short or empty although
        others follow: go on with its cursor. A cursor whose events are not kept any more is answered with 410.
        """
        refuse_odd_parameters(request.query_params, known=("types", "after", "limit"))
        client_id = principal_of(request).client_id
        reader, cursor = f"events/{client_id}", request.query_params.get("after")
        after = None if cursor is None else read_position(cursor, of=reader)
        types, limit = _types(request.query_params), pages.limit_of(request)
        found = events_after(client_id, after, types=types, limit=limit)
        return Response(EventsShape(data=found.rows, next_cursor=write_position(found.until, of=reader)))


def _types(parameters: QueryDict) -> set[str] | None:
    """Return the types that are asked for, None for all.

    Raises:
        ParametersRefused: one matches no type.
    """
    if "types" not in parameters:
        return None
    wanted = str(parameters["types"]).split(",")
    unknown = [name for name in wanted if name not in _TYPES]
    if unknown or len(wanted) > LIST_LENGTH_MAX:
        detail = f"{unknown[0][:48]!r} is no type of event." if unknown else f"At most {LIST_LENGTH_MAX} types."
        raise ParametersRefused(errors=(FieldError("types", "parameter_invalid", detail),))
    return {event_type for name in wanted for event_type in _TYPES[name]}
