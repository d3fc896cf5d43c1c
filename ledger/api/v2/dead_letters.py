"""Dead letters: messages that could not be handled, to look at, to have handled again, or to give up."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Annotated, Any
from uuid import UUID

import django_filters
from django.db.models import QuerySet
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from msgspec import UNSET, Meta, UnsetType
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from config.api.decoding import Body, decode
from config.api.filters import StrictFilterSet, refuse_odd_parameters
from config.api.openapi import page_of as page_schema
from config.api.openapi import whole
from config.api.pages import Page, PageQuery, page_of
from config.api.principal import principal_of
from config.api.problems import problem
from config.runtime.logging import annotate, request_id
from ledger.api.v2.claims import claim_of
from ledger.clients.models import CLIENT_NAME_LENGTH_MAX
from ledger.events.dead_letters import letter_shape, without_messages
from ledger.events.errors import ClientUnknown, DeadLettersUnclear, DeadLetterUnknown
from ledger.events.models import DeadLetter, LetterStatus
from ledger.events.shapes import DeadLetterDetailShape, DeadLetterShape, ReplaysShape
from ledger.filters import CreatedFilter
from ledger.queries.clients import find_client
from ledger.queries.dead_letters import Selection, get_letter, letter_detail
from ledger.services.dead_letter_runs import RATE_PER_S, REPLAY_MANY, Chosen, plan_replays, run_replays
from ledger.services.dead_letters import DISCARD, REPLAY, Handled, discard_dead_letter, replay_dead_letter

LETTERS_MAX = 1000
RATE_PER_S_MAX = 1000

ReasonText = Annotated[str, Meta(max_length=500, description="It stands in the letter and in the audit trail.")]


class ClientFilter(django_filters.CharFilter):
    """Whose a letter is, by name or id; of a client that there is not there are no letters."""

    def filter(self, qs: QuerySet[Any], value: str) -> QuerySet[Any]:
        if not value:
            return qs
        client = find_client(value)
        return qs.none() if client is None else qs.filter(client_id=client.pk)


class DeadLetterFilters(StrictFilterSet):
    """The filters of GET /v2/dead-letters.

    `created_at` is a range of ids, `client` has an index, and so has the status `open`, which serves without a client:
    they cut the scope. The others are looked for inside it.
    """

    client = ClientFilter(max_length=CLIENT_NAME_LENGTH_MAX, strip=False, help_text="A name, or an id.")
    status = django_filters.ChoiceFilter(choices=LetterStatus.choices)
    consumer = django_filters.CharFilter(max_length=128)
    error_code = django_filters.CharFilter(max_length=64)
    topic = django_filters.CharFilter(max_length=249)
    key = django_filters.CharFilter(max_length=1000)
    created_at__gte = CreatedFilter(lookup_expr="gte")
    created_at__lt = CreatedFilter(lookup_expr="lt")

    class Meta:
        model = DeadLetter
        fields: list[str] = []

    @property
    def scope(self) -> QuerySet[DeadLetter]:
        """The indexed rows to look through."""
        rows = without_messages(DeadLetter.objects.all())
        for name in self._cuts:
            rows = self.filters[name].filter(rows, self.form.cleaned_data[name])
        return rows

    @property
    def look(self) -> Callable[[QuerySet[Any]], QuerySet[Any]] | None:
        """Return what narrows the scope without an index, or None when nothing does."""
        return self.narrow if self.given - self._cuts else None

    @property
    def _cuts(self) -> set[str]:
        is_by_status = "client" not in self.data and self.data.get("status") == LetterStatus.OPEN
        return {"client", "created_at__gte", "created_at__lt"} | ({"status"} if is_by_status else set())


class ReplayIn(Body, frozen=True, kw_only=True):
    """Why a message is handled again, if that is to be said."""

    reason: ReasonText = ""


class DiscardIn(Body, frozen=True, kw_only=True):
    """Why a message is given up for good."""

    reason: Annotated[str, Meta(min_length=1, max_length=500, pattern=r"\S")]


class OpenLettersIn(Body, frozen=True, kw_only=True):
    """Open dead letters: all for which everything holds that is said here."""

    client: (
        Annotated[str, Meta(min_length=1, max_length=CLIENT_NAME_LENGTH_MAX, description="A name, or an id.")] | None
    ) = None
    consumer: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    error_code: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    topic: Annotated[str, Meta(min_length=1, max_length=249)] | None = None
    key: Annotated[str, Meta(max_length=1000)] | None = None
    created_at__gte: Annotated[datetime, Meta(tz=True)] | None = None
    created_at__lt: Annotated[datetime, Meta(tz=True)] | None = None


class ReplaysIn(ReplayIn, frozen=True, kw_only=True):
    """Which dead letters, either by `ids` or by a `filter`, of which the oldest 1,000 are taken."""

    ids: Annotated[list[UUID], Meta(min_length=1, max_length=LETTERS_MAX)] | UnsetType = UNSET
    filter: OpenLettersIn | UnsetType = UNSET
    dry_run: Annotated[bool, Meta(description="Only say what would be replayed.")] = False
    rate_per_s: Annotated[int, Meta(ge=1, le=RATE_PER_S_MAX, description="How many are begun a second at most.")] = (
        RATE_PER_S
    )


class DeadLetterViewSet(ViewSet):
    """The dead letters of all clients, and those of none."""

    lookup_value_converter = "uuid"
    required_scopes = {
        "list": "operations:read",
        "retrieve": "operations:read",
        "replay": "operations:write",
        "replay_many": "operations:write",
        "discard": "operations:write",
    }
    quota_costs = {"replay_many": 10}
    paged = {"list"}
    filterset_class = DeadLetterFilters

    @extend_schema(
        operation_id="list_dead_letters",
        responses=page_schema(DeadLetterShape),
        summary="List dead letters, newest first",
    )
    def list(self, request: Request) -> Response:
        filters = DeadLetterFilters.read(request.query_params)
        query = PageQuery.of(request, filters=filters.canonical)
        page: Page[DeadLetter] = page_of(filters.scope, query, narrow=filters.look)
        return Response(page.answer(letter_shape))

    @extend_schema(
        operation_id="get_dead_letter", responses=DeadLetterDetailShape, summary="Look at a dead letter and its message"
    )
    def retrieve(self, request: Request, pk: UUID) -> Response:
        refuse_odd_parameters(request.query_params, known=())
        return Response(letter_detail(get_letter(pk)))

    @extend_schema(
        operation_id="replay_dead_letter",
        request=ReplayIn,
        responses=DeadLetterShape,
        summary="Have the message handled again",
    )
    def replay(self, request: Request, pk: UUID) -> HttpResponse:
        """Hand the message to what could not handle it, and answer when that is over.

        One that fails again is refused with `replay_failed` and stays open; after five times it is `replay_exhausted`.
        Messages of one consumer and key are handled in their order: while an older one is open, it is refused with
        `dead_letter_behind`.
        """
        refuse_odd_parameters(request.query_params, known=())
        claim = claim_of(request, REPLAY, [str(pk), request.data])
        body = decode(request.data, ReplayIn)
        return _answer(request, replay_dead_letter(letter_id=pk, reason=body.reason, claim=claim, **_asker(request)))

    @extend_schema(
        operation_id="discard_dead_letter",
        request=DiscardIn,
        responses=DeadLetterShape,
        summary="Give a message up for good",
    )
    def discard(self, request: Request, pk: UUID) -> HttpResponse:
        refuse_odd_parameters(request.query_params, known=())
        claim = claim_of(request, DISCARD, [str(pk), request.data])
        body = decode(request.data, DiscardIn)
        return _answer(request, discard_dead_letter(letter_id=pk, reason=body.reason, claim=claim, **_asker(request)))

    @extend_schema(
        operation_id="replay_dead_letters",
        request=ReplaysIn,
        responses=whole(ReplaysShape),
        summary="Have many messages handled again",
    )
    def replay_many(self, request: Request) -> Response:
        """Replay open dead letters, up to 1,000, one after the other in the order in which they were recorded.

        Each stands for itself: what is refused holds back no other but those behind it. A message that was handled is
        not handled again: the request may be repeated for what was not reached, without a key or with another one. With
        the same key nothing is replayed again, and the answer is the same. A dry run uses no key.
        """
        refuse_odd_parameters(request.query_params, known=())
        claim = claim_of(request, REPLAY_MANY, request.data)
        body = decode(request.data, ReplaysIn)
        choose = partial(_chosen, body)
        if body.dry_run:
            return Response(plan_replays(choose()))
        ran = run_replays(choose, rate_per_s=body.rate_per_s, reason=body.reason, claim=claim, **_asker(request))
        annotate(replayed=ran.report.replayed, repeated=ran.repeated)
        return Response(ran.report, headers=_headers(repeated=ran.repeated))


def _chosen(body: ReplaysIn) -> Chosen:
    """Return which letters are meant.

    Raises:
        DeadLettersUnclear: neither ids nor a filter is given, or both are.
        ClientUnknown: the filter names a client that there is not.
        DeadLetterUnknown: there is no letter with one of the ids.
    """
    if (body.ids is UNSET) == (body.filter is UNSET):
        raise DeadLettersUnclear.at("")
    if body.filter is not UNSET:
        ids = list(_selection(body.filter).rows.values_list("pk", flat=True)[: LETTERS_MAX + 1])
        return Chosen(ids[:LETTERS_MAX], has_more=len(ids) > LETTERS_MAX)
    assert body.ids is not UNSET
    found = set(DeadLetter.objects.filter(pk__in=body.ids).values_list("pk", flat=True))
    unknown = [place for place, letter_id in enumerate(body.ids) if letter_id not in found]
    if unknown:
        raise DeadLetterUnknown.at(f"/ids/{unknown[0]}")
    return Chosen(sorted(found))


def _selection(asked: OpenLettersIn) -> Selection:
    client = None if asked.client is None else find_client(asked.client)
    if asked.client is not None and client is None:
        raise ClientUnknown.at("/filter/client")
    return Selection(
        client_id=None if client is None else client.pk,
        consumer=asked.consumer,
        error_code=asked.error_code,
        topic=asked.topic,
        key=asked.key,
        since=asked.created_at__gte,
        until=asked.created_at__lt,
    )


def _asker(request: Request) -> dict[str, Any]:
    principal = principal_of(request)
    return {"caller_id": principal.client_id, "actor": principal.actor, "request_id": request_id()}


def _answer(request: Request, handled: Handled) -> HttpResponse:
    annotate(dead_letter_id=str(handled.letter.id), repeated=handled.repeated)
    headers = _headers(repeated=handled.repeated)
    if handled.failure is not None:
        return problem(handled.failure, request, headers=headers)
    return Response(handled.letter, headers=headers)


def _headers(*, repeated: bool) -> dict[str, str]:
    return {"Idempotent-Replayed": "true"} if repeated else {}
