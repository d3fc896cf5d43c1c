"""Keyset pages: constant cost at any depth, no row skipped or repeated, cursors nobody can forge or carry elsewhere."""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec
from django.conf import settings
from django.core.signing import BadSignature, Signer
from django.db import transaction
from django.db.models import Model, QuerySet
from rest_framework.request import Request

from config.api.filters import PAGING, parse_flag
from config.api.principal import NotForUsers, Principal
from config.runtime.deadline import Overdue, ended_within
from config.runtime.errors import DomainError, FieldError, Kind

LIMIT_DEFAULT = 50
LIMIT_MAX = 200
WINDOW = 10_000
CURSOR_BYTES_MAX = 512
PARAMETERS = PAGING
COUNT_MAX = 10_000
# Of rows that no index finds, so many are looked at to count them.
COUNT_WINDOW = 100_000
COUNT_WITHIN_S = 1.0

M = TypeVar("M", bound=Model)


class LimitOutOfRange(DomainError):
    """`limit` is a whole number from 1 to 200."""

    kind, code = Kind.MALFORMED, "limit_out_of_range"


class CursorMalformed(DomainError):
    """This is no cursor that the service gave out."""

    kind, code = Kind.MALFORMED, "cursor_malformed"


class CursorMismatch(DomainError):
    """The cursor belongs to another list, to other filters or to another client: start again without it."""

    kind, code = Kind.MALFORMED, "cursor_mismatch"


class Count(msgspec.Struct, frozen=True):
    """How many rows a list has, on all its pages; capped, it has at least so many."""

    value: int
    is_capped: bool


@dataclass(frozen=True, slots=True)
class PageQuery:
    """Which page is asked for. `binding` names the list: who asks, where, with which filters."""

    binding: str
    limit: int = LIMIT_DEFAULT
    cursor: str = ""
    is_counted: bool = False

    @classmethod
    def of(cls, request: Request, *, filters: str = "") -> PageQuery:
        """Read `limit`, `cursor` and `count`; `filters` is the canonical text of the list's filters.

        Raises:
            LimitOutOfRange
            ParametersRefused: `count` is neither true nor false.
            NotForUsers: a user's token wants rows counted, among them those that it is not shown.
        """
        caller = request.auth
        is_counted = parse_flag(request.query_params, "count")
        if is_counted and isinstance(caller, Principal) and caller.user_id is not None:
            raise NotForUsers
        who = f"{caller.client_public_id}/{caller.user_id or ''}" if isinstance(caller, Principal) else ""
        return cls(
            binding=f"{who}\n{request.path}\n{filters}",
            limit=limit_of(request),
            cursor=request.query_params.get("cursor", ""),
            is_counted=is_counted,
        )

    @property
    def name(self) -> str:
        """Name the first page of the list: no other client's, user's or release's has the same."""
        return hashlib.sha256(
            f"{settings.RELEASE}\n{self.binding}\n{self.limit}\n{self.is_counted}".encode()
        ).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Page(Generic[M]):
    """Rows in the list's order, how to go on in both directions, and, if it was asked, how many there are in all."""

    rows: list[M]
    next_cursor: str | None
    prev_cursor: str | None
    count: Count | None = None

    def answer(self, render: Callable[[M], Any]) -> dict[str, Any]:
        """Return `{"data": […], "next_cursor", "prev_cursor"}`, each row rendered by itself; and `count`, if any."""
        return self.answer_all([render(row) for row in self.rows])

    def answer_all(self, shapes: list[Any]) -> dict[str, Any]:
        """Return the same of rows that are rendered already."""
        shown = {"data": shapes, "next_cursor": self.next_cursor, "prev_cursor": self.prev_cursor}
        return shown if self.count is None else shown | {"count": self.count}


@dataclass(frozen=True, slots=True)
class _Position:
    """A place between two rows: beside the row `value`, which is part of the page when `inclusive`."""

    value: str
    backward: bool = False
    inclusive: bool = False


# The four marks of a cursor: (backward, inclusive).
_MARKS = {"a": (False, False), "f": (False, True), "b": (True, False), "u": (True, True)}
_PAYLOAD = re.compile(r"(?P<mark>[afbu])(?P<value>[\w=-]+)\.(?P<list>[0-9a-f]{16})", re.ASCII)
_signer = Signer(sep="~", salt="config.api.pages")


def page_of(
    scope: QuerySet[M] | Sequence[QuerySet[M]],
    query: PageQuery,
    *,
    narrow: Callable[[QuerySet[M]], QuerySet[M]] | None = None,
    field: str = "id",
    descending: bool = True,
    window: int = WINDOW,
) -> Page[M]:
    """Return one page of `scope`, ordered by its unique column `field` (uuid, integer or ASCII) that an index serves.

    Several disjoint scopes, each with an index of its own, are merged. `narrow` adds the filters that no index serves:
    then at most `window` rows of a scope are looked at, and a short or even empty page with a cursor means that there
    may be more.

    Raises:
        CursorMalformed, CursorMismatch
    """
    list_digest = hashlib.sha256(f"{query.binding}\n{field}\n{descending}".encode()).hexdigest()[:16]
    start = _read(query.cursor, list_digest) if query.cursor else None
    backward = start is not None and start.backward
    rising = descending == backward
    scopes = [scope] if isinstance(scope, QuerySet) else scope
    parts = [_part(one, start, query.limit, rising=rising, narrow=narrow, field=field, window=window) for one in scopes]
    found: list[M]
    found, edge = _merged(parts, field, rising=rising)
    if len(found) > query.limit:
        del found[query.limit :]
        edge = getattr(found[-1], field)

    ahead = None if edge is None else _Position(_text(edge), backward=backward)
    behind = _turned(start, _text(getattr(found[0], field)) if found else None)
    if backward:
        found.reverse()
        ahead, behind = behind, ahead
    return Page(
        rows=found,
        next_cursor=_write(ahead, list_digest),
        prev_cursor=_write(behind, list_digest),
        count=_count(scopes, found, narrow, field, rising=not descending) if query.is_counted else None,
    )


def _part(
    scope: QuerySet[M],
    start: _Position | None,
    limit: int,
    *,
    rising: bool,
    narrow: Callable[[QuerySet[M]], QuerySet[M]] | None,
    field: str,
    window: int,
) -> tuple[list[M], Any]:
    """Return one row more than the page holds, and the value at which the window ended, if it did."""
    rows = scope.order_by(field if rising else f"-{field}")
    if start is not None:
        rows = rows.filter(**{f"{field}__{'gt' if rising else 'lt'}{'e' * start.inclusive}": start.value})
    rows, edge = _narrowed(rows, narrow, field, rising=rising, window=window)
    return list(rows[: limit + 1]), edge


def _narrowed(
    rows: QuerySet[M], narrow: Callable[[QuerySet[M]], QuerySet[M]] | None, field: str, *, rising: bool, window: int
) -> tuple[QuerySet[M], Any]:
    """Return of the first `window` rows those that pass the filters, and the value of the last of them, if it is cut.

    Filters of which none is given leave the rows as they are: then there is nothing to look for.
    """
    if narrow is None or narrow(rows).query.where == rows.query.where:
        return rows, None
    edge = next(iter(rows.values_list(field, flat=True)[window - 1 : window]), None)
    return narrow(rows if edge is None else rows.filter(**{f"{field}__{'lte' if rising else 'gte'}": edge})), edge


def _count(
    scopes: Sequence[QuerySet[M]],
    found: Sequence[M],
    narrow: Callable[[QuerySet[M]], QuerySet[M]] | None,
    field: str,
    *,
    rising: bool,
) -> Count:
    """Count up to 10,000 rows of a list, within a second; when that is over, those that were found on the page."""
    value, is_cut = 0, False
    try:
        with transaction.atomic(), ended_within(COUNT_WITHIN_S):
            for scope in scopes:
                ordered = scope.order_by(field if rising else f"-{field}")
                rows, edge = _narrowed(ordered, narrow, field, rising=rising, window=COUNT_WINDOW)
                value += rows.order_by().values_list(field)[: COUNT_MAX + 1].count()
                is_cut |= edge is not None
    except Overdue:
        return Count(len(found), is_capped=True)
    return Count(min(value, COUNT_MAX), is_capped=is_cut or value > COUNT_MAX)


def _merged(parts: Sequence[tuple[list[M], Any]], field: str, *, rising: bool) -> tuple[list[M], Any]:
    """Return the parts' rows in order, as far as every part's window reaches, and where the first of them ended."""
    edges = [edge for _, edge in parts if edge is not None]
    rows = [row for found, _ in parts for row in found]
    rows.sort(key=lambda row: getattr(row, field), reverse=not rising)
    if not edges:
        return rows, None
    edge = min(edges) if rising else max(edges)
    return [row for row in rows if (getattr(row, field) <= edge if rising else getattr(row, field) >= edge)], edge


def _turned(start: _Position | None, nearest: str | None) -> _Position | None:
    """Return the place to turn back from: before the page's first row, or, on an empty page, where it started."""
    if start is None:
        return None
    if nearest is not None:
        return _Position(nearest, backward=not start.backward)
    return _Position(start.value, backward=not start.backward, inclusive=not start.inclusive)


def _read(cursor: str, list_digest: str) -> _Position:
    if len(cursor) > CURSOR_BYTES_MAX:
        raise CursorMalformed
    try:
        payload = _PAYLOAD.fullmatch(_signer.unsign(cursor))
    except BadSignature as error:
        raise CursorMalformed from error
    if payload is None:
        raise CursorMalformed
    if payload["list"] != list_digest:
        raise CursorMismatch
    backward, inclusive = _MARKS[payload["mark"]]
    return _Position(urlsafe_b64decode(payload["value"]).decode(), backward=backward, inclusive=inclusive)


def _write(position: _Position | None, list_digest: str) -> str | None:
    if position is None:
        return None
    mark = next(mark for mark, kind in _MARKS.items() if kind == (position.backward, position.inclusive))
    value = urlsafe_b64encode(position.value.encode()).decode()  # a column's text may hold what a URL gives a meaning
    return _signer.sign(f"{mark}{value}.{list_digest}")


def _text(value: Any) -> str:
    return str(value)


def limit_of(request: Request) -> int:
    """Return how many rows are asked for at most.

    Raises:
        LimitOutOfRange
    """
    raw = request.query_params.get("limit")
    if raw is None:
        return LIMIT_DEFAULT
    if not re.fullmatch(r"[0-9]{1,3}", raw) or not 1 <= int(raw) <= LIMIT_MAX:
        raise LimitOutOfRange(errors=(FieldError("limit", "limit_out_of_range", "A whole number from 1 to 200."),))
    return int(raw)
