"""Dead letters: messages that could not be handled, to look at, to have handled again, or to give up."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import django_filters
from django.db.models import QuerySet
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from msgspec import UNSET, Meta, Struct, UnsetType
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from config.api.decoding import Body, decode
from config.api.filters import StrictFilterSet, refuse_odd_parameters
from config.api.idempotency import HEADER, parse_key
from config.api.openapi import page_of as page_schema
from config.api.openapi import whole
from config.api.pages import Page, PageQuery, page_of
from config.api.principal import principal_of
from config.api.problems import problem
from config.runtime.logging import annotate, request_id
from ledger.api.v2.claims import claim_of
from ledger.api.v2.filters import CreatedFilter
from ledger.events.dead_letters import letter_shape
from ledger.events.errors import DeadLettersUnclear, DeadLetterUnknown
from ledger.events.models import DeadLetter, LetterStatus
from ledger.events.shapes import DeadLetterDetailShape, DeadLetterShape, TallyShape
from ledger.queries.dead_letters import Selection, get_letter, letter_detail, letters_of, tally
from ledger.services.dead_letters import (
    DISCARD,
    RATE_PER_S,
    REPLAY,
    REPLAYS_MAX,
    Handled,
    discard_dead_letter,
    replay_dead_letter,
    replay_dead_letters,
)

LETTERS_MAX = 1000
RATE_PER_S_MAX = 1000
# Well within what a proxy waits for an answer, and a process that is told to stop.
ANSWER_WITHIN_S = 20.0

ReasonText = Annotated[str, Meta(max_length=500, description="It stands in the letter and in the audit trail.")]


class DeadLetterFilters(StrictFilterSet):
    """The filters of GET /v2/dead-letters; `created_at` is a range of ids, the others are looked for inside it."""

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

    _CUTS = frozenset({"created_at__gte", "created_at__lt"})

    def scope(self, client_id: int) -> QuerySet[DeadLetter]:
        """Return the indexed rows to look through."""
        rows = letters_of(client_id)
        for name in self._CUTS:
            rows = self.filters[name].filter(rows, self.form.cleaned_data[name])
        return rows

    @property
    def look(self) -> Callable[[QuerySet[Any]], QuerySet[Any]] | None:
        """Return what narrows the scope without an index, or None when nothing does."""
        return self.narrow if self.data.keys() & self.filters.keys() - self._CUTS else None


class ReplayIn(Body, frozen=True, kw_only=True):
    """Why a message is handled again, if that is to be said."""

    reason: ReasonText = ""


class DiscardIn(Body, frozen=True, kw_only=True):
    """Why a message is given up for good."""

    reason: Annotated[str, Meta(min_length=1, max_length=500, pattern=r"\S")]


class OpenLettersIn(Body, frozen=True, kw_only=True):
    """Open dead letters: all for which everything holds that is said here."""

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


class ReplaysShape(Struct, frozen=True, kw_only=True):
    """What became of dead letters: `refused` counts by its code what kept them from being handled.

    `found` counts them as they stood before. What is `not_reached` was not begun in time; `has_more` says that the
    filter means others beside.
    """

    dry_run: bool
    found: list[TallyShape]
    replayed: int
    refused: dict[str, int]
    not_reached: int
    has_more: bool


class DeadLetterViewSet(ViewSet):
    """The dead letters of the client that asks."""

    lookup_value_converter = "uuid"
    required_scopes = {
        "list": "operations:read",
        "retrieve": "operations:read",
        "replay": "operations:write",
        "replay_many": "operations:write",
        "discard": "operations:write",
    }
    paged = {"list"}
    filterset_class = DeadLetterFilters

    @extend_schema(responses=page_schema(DeadLetterShape), summary="List dead letters, newest first")
    def list(self, request: Request) -> Response:
        filters = DeadLetterFilters.read(request.query_params)
        scope, query = filters.scope(principal_of(request).client_id), PageQuery.of(request, filters=filters.canonical)
        page: Page[DeadLetter] = page_of(scope, query, narrow=filters.look)
        return Response(page.answer(letter_shape))

    @extend_schema(responses=DeadLetterDetailShape, summary="Look at a dead letter and its message")
    def retrieve(self, request: Request, pk: UUID) -> Response:
        refuse_odd_parameters(request.query_params, known=())
        return Response(letter_detail(get_letter(principal_of(request).client_id, pk)))

    @extend_schema(request=ReplayIn, responses=DeadLetterShape, summary="Have the message handled again")
    def replay(self, request: Request, pk: UUID) -> HttpResponse:
        """Hand the message to what could not handle it, and answer when that is over.

        One that fails again is refused with `replay_failed` and stays open; after five times it is `replay_exhausted`.
        Messages of one consumer and key are handled in their order: while an older one is open, it is refused with
        `dead_letter_behind`.
        """
        refuse_odd_parameters(request.query_params, known=())
        claim = claim_of(request, REPLAY, [str(pk), request.data])
        body = decode(request.data, ReplayIn)
        return _answer(request, replay_dead_letter(letter_id=pk, reason=body.reason, claim=claim, **_by(request)))

    @extend_schema(request=DiscardIn, responses=DeadLetterShape, summary="Give a message up for good")
    def discard(self, request: Request, pk: UUID) -> HttpResponse:
        refuse_odd_parameters(request.query_params, known=())
        claim = claim_of(request, DISCARD, [str(pk), request.data])
        body = decode(request.data, DiscardIn)
        return _answer(request, discard_dead_letter(letter_id=pk, reason=body.reason, claim=claim, **_by(request)))

    @extend_schema(
        operation_id="dead_letters_replay_many",
        request=ReplaysIn,
        responses=whole(ReplaysShape),
        summary="Have many messages handled again",
    )
    def replay_many(self, request: Request) -> Response:
        """Replay open dead letters, up to 1,000, one after the other in the order in which they were recorded.

        Each stands for itself: what is refused holds back no other but those behind it. A message that was handled is
        not handled again: the request may be repeated for what was not reached, with or without a key.
        """
        refuse_odd_parameters(request.query_params, known=())
        parse_key(request.headers.get(HEADER), required=False)
        body = decode(request.data, ReplaysIn)
        client_id = principal_of(request).client_id
        ids = _chosen(client_id, body)
        has_more = len(ids) > LETTERS_MAX
        ids = ids[:LETTERS_MAX]
        found = tally(Selection(client_id=client_id, ids=ids).rows, replays_max=REPLAYS_MAX)
        outcomes = Counter[str]() if body.dry_run else _replayed(request, body, ids)
        not_reached = 0 if body.dry_run else len(ids) - outcomes.total()
        replayed = outcomes.pop("", 0)
        annotate(dead_letters=len(ids), replayed=replayed)
        return Response(
            ReplaysShape(
                dry_run=body.dry_run,
                found=found,
                replayed=replayed,
                refused=dict(sorted(outcomes.items())),
                not_reached=not_reached,
                has_more=has_more,
            )
        )


def _chosen(client_id: int, body: ReplaysIn) -> list[UUID]:
    """Return which letters are meant, and one more than may be if there are more.

    Raises:
        DeadLettersUnclear: neither ids nor a filter is given, or both are.
        DeadLetterUnknown: an id is none of the client's.
    """
    if (body.ids is UNSET) == (body.filter is UNSET):
        raise DeadLettersUnclear.at("")
    if body.filter is not UNSET:
        asked = body.filter
        rows = Selection(
            client_id=client_id,
            consumer=asked.consumer,
            error_code=asked.error_code,
            topic=asked.topic,
            key=asked.key,
            since=asked.created_at__gte,
            until=asked.created_at__lt,
        ).rows
        return list(rows.values_list("pk", flat=True)[: LETTERS_MAX + 1])
    assert body.ids is not UNSET
    own = set(letters_of(client_id).filter(pk__in=body.ids).values_list("pk", flat=True))
    unknown = [place for place, letter_id in enumerate(body.ids) if letter_id not in own]
    if unknown:
        raise DeadLetterUnknown.at(f"/ids/{unknown[0]}")
    return sorted(own)


def _replayed(request: Request, body: ReplaysIn, ids: list[UUID]) -> Counter[str]:
    """Replay as many as there is time for; count the codes of what kept them from being handled."""
    outcomes, until = Counter[str](), time.monotonic() + ANSWER_WITHIN_S
    for _, code in replay_dead_letters(ids, rate_per_s=body.rate_per_s, reason=body.reason, **_by(request)):
        outcomes[code] += 1
        if time.monotonic() > until:
            break
    return outcomes


def _by(request: Request) -> dict[str, Any]:
    principal = principal_of(request)
    return {"client_id": principal.client_id, "actor": principal.actor, "request_id": request_id()}


def _answer(request: Request, handled: Handled) -> HttpResponse:
    annotate(dead_letter_id=str(handled.letter.id), replayed=handled.repeated)
    headers = {"Idempotent-Replayed": "true"} if handled.repeated else {}
    if handled.failure is not None:
        return problem(handled.failure, request, headers=headers)
    return Response(handled.letter, headers=headers)
