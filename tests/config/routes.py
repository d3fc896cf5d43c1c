"""A URLconf with small views that show the HTTP kit through the whole Django stack."""

from __future__ import annotations

import time
from typing import Annotated, ClassVar
from uuid import UUID

import django_filters
import msgspec
import psycopg
from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.db import InterfaceError, OperationalError, connection, models, transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver, include, path
from drf_spectacular.utils import extend_schema
from rest_framework import exceptions, viewsets
from rest_framework.authentication import BaseAuthentication
from rest_framework.decorators import action
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from config.api.decoding import Body, decode
from config.api.filters import ChoicesFilter, MomentFilter, StrictFilterSet
from config.api.openapi import page_of as page_struct
from config.api.pages import PageQuery, page_of
from config.api.principal import Principal
from config.runtime.clock import rfc3339
from config.runtime.errors import DomainError, Invalid, Kind

handler400 = "config.api.problems.bad_request"
handler403 = "config.api.problems.permission_denied"
handler404 = "config.api.problems.not_found"
handler500 = "config.api.problems.server_error"


class ScopesAsToken(BaseAuthentication):
    """`Bearer <client id>:<scope>,<scope>`."""

    def authenticate(self, request: Request) -> tuple[Principal, Principal] | None:
        token = request.META.get("HTTP_AUTHORIZATION", "").removeprefix("Bearer ")
        if not token:
            return None
        client_id, _, scopes = token.partition(":")
        if not client_id.isdigit():
            raise exceptions.AuthenticationFailed
        principal = Principal(
            client_id=int(client_id),
            client_public_id=UUID(int=int(client_id)),
            client_name="test",
            tier="internal",
            key_id="TEST",
            scopes=frozenset(scopes.split(",")),
        )
        return principal, principal


class Empty(DomainError):
    """The till is empty."""

    kind, code = Kind.CONFLICT, "till_empty"


class Busy(DomainError):
    """Come back."""

    kind, code = Kind.BUSY, "till_busy"


class Owned(APIView):
    authentication_classes = [ScopesAsToken]


class Echo(Owned):
    required_scopes = {"POST": "echo:write"}

    def post(self, request: Request) -> Response:
        return Response({"echo": request.data}, status=201)


class BigEcho(Echo):
    body_limit = 16 << 20

    def post(self, request: Request) -> Response:
        return Response({"items": len(request.data)})


class Undeclared(Owned):
    def get(self, request: Request) -> Response:
        return Response({"secret": True})


class Item(Body, frozen=True, kw_only=True):
    """An item."""

    amount: Annotated[str, msgspec.Meta(pattern=r"^[0-9]+\Z")]


class Order(Body, frozen=True, kw_only=True):
    """An order."""

    items: list[Item]
    note: str | None = None


class OrderOut(msgspec.Struct):
    """An order as it was taken."""

    id: UUID
    items: list[Item]


class Row(models.Model):
    """Rows of a temporary table that the tests make."""

    id = models.BigIntegerField(primary_key=True)
    color = models.TextField()
    at = models.DateTimeField()

    objects: ClassVar[models.Manager[Row]] = models.Manager()

    class Meta:
        managed = False
        app_label = "config_tests"
        db_table = "config_test_row"


class RowFilters(StrictFilterSet):
    color = django_filters.CharFilter()
    color__in = ChoicesFilter(field_name="color", choices=["red", "blue"])
    at__gte = MomentFilter(field_name="at", lookup_expr="gte")
    odd = django_filters.BooleanFilter(field_name="id")
    id__lt = django_filters.NumberFilter(field_name="id", lookup_expr="lt")

    class Meta:
        model = Row
        fields: list[str] = []


class Orders(viewsets.ViewSet):
    authentication_classes = [ScopesAsToken]
    required_scopes = {"create": "orders:write", "list": "orders:read", "retrieve": "orders:read"}
    idempotency_required = frozenset({"create"})
    prefer_honoured = frozenset({"create"})
    paged = frozenset({"list"})
    filterset_class = RowFilters

    @extend_schema(request=Order, responses={201: OrderOut})
    def create(self, request: Request) -> Response:
        """Take an order."""
        order = decode(request.data, Order)
        return Response({"items": len(order.items)}, status=201)

    @extend_schema(responses=page_struct(OrderOut))
    def list(self, request: Request) -> Response:
        """List rows."""
        filters = RowFilters.read(request.query_params)
        query = PageQuery.of(request, filters=filters.canonical)
        page = page_of(Row.objects.all(), query, narrow=filters.narrow, window=1000)
        return Response(page.answer(lambda row: {"id": row.pk, "color": row.color, "at": rfc3339(row.at)}))

    @extend_schema(responses=OrderOut)
    def retrieve(self, request: Request, pk: UUID) -> Response:
        """Show an order."""
        raise Http404(f"no order {pk} in table secret")

    @action(detail=False, methods=["get"])
    def forgotten(self, request: Request) -> Response:
        return Response({"secret": True})


def lock_timeout() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DO $$ BEGIN RAISE EXCEPTION 'secret' USING ERRCODE = 'lock_not_available'; END $$")


def statement_timeout() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DO $$ BEGIN RAISE EXCEPTION 'secret' USING ERRCODE = 'query_canceled'; END $$")


def serialization_failure() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DO $$ BEGIN RAISE EXCEPTION 'secret' USING ERRCODE = 'serialization_failure'; END $$")


def session_ended() -> None:
    """As it goes with a process that is frozen in the middle of a database transaction."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = '10ms'")
        time.sleep(0.2)
        cursor.execute("SELECT 1")


FAILURES = {
    "domain": Empty(till="7"),
    "busy": Busy(retry_after_s=7),
    "busy-default": Busy(),
    "fields": Invalid.at("/items/0", "field_range", "Too small."),
    "unexpected": ZeroDivisionError("secret"),
    "http404": Http404("secret"),
    "denied": PermissionDenied("secret"),
    "suspicious": SuspiciousOperation("secret"),
    "bad-request": BadRequest("secret"),
    "parse": exceptions.ParseError("secret"),
    "throttled": exceptions.Throttled(wait=2.5),
    "validation": exceptions.ValidationError({"url": ["bad"], "list": [{}, {"a": ["worse"]}]}),
    "operational": OperationalError("secret host"),
    "driver": psycopg.errors.DeadlockDetected("secret"),
    "interface": InterfaceError("secret: connection already closed"),
}
CALLS = {
    "lock": lock_timeout,
    "statement": statement_timeout,
    "serialization": serialization_failure,
    "session": session_ended,
}


def fail(kind: str) -> None:
    if kind in CALLS:
        CALLS[kind]()
    raise FAILURES[kind]


class Fail(Owned):
    permission_classes = [AllowAny]

    def get(self, request: Request, kind: str) -> Response:
        fail(kind)
        return Response()


def plain_fail(request: HttpRequest, kind: str) -> HttpResponse:
    fail(kind)
    return HttpResponse()


v2: list[URLPattern] = [
    path("echo", Echo.as_view(), name="echo"),
    path("big-echo", BigEcho.as_view(), name="big-echo"),
    path("undeclared", Undeclared.as_view(), name="undeclared"),
    path("orders", Orders.as_view({"get": "list", "post": "create"}), name="order-list"),
    path("orders/forgotten", Orders.as_view({"get": "forgotten"}), name="order-forgotten"),
    path("orders/<uuid:pk>", Orders.as_view({"get": "retrieve"}), name="order"),
    path("fail/<str:kind>", Fail.as_view(), name="fail"),
]
urlpatterns: list[URLPattern | URLResolver] = [
    path("v2/", include((v2, "v2"))),
    path("plain/<str:kind>", plain_fail),
    path("admin/fail/<str:kind>", plain_fail),
]
