"""Keyset pages: constant cost at any depth, no row skipped or repeated, cursors nobody can forge or carry elsewhere."""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.core.signing import BadSignature, Signer
from django.db.models import Model, QuerySet
from rest_framework.request import Request

from config.api.principal import Principal
from config.runtime.errors import DomainError, FieldError, Kind

LIMIT_DEFAULT = 50
LIMIT_MAX = 200
WINDOW = 10_000
CURSOR_BYTES_MAX = 512
PARAMETERS = frozenset({"limit", "cursor"})

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


@dataclass(frozen=True, slots=True)
class PageQuery:
    """Which page is asked for. `binding` names the list: who asks, where, with which filters."""

    binding: str
    limit: int = LIMIT_DEFAULT
    cursor: str = ""

    @classmethod
    def of(cls, request: Request, *, filters: str = "") -> PageQuery:
        """Read `limit` and `cursor`; `filters` is the canonical text of the list's filters.

        Raises:
            LimitOutOfRange
        """
        caller = request.auth
        who = f"{caller.client_id}/{caller.user_id or ''}" if isinstance(caller, Principal) else ""
        return cls(
            binding=f"{who}\n{request.path}\n{filters}",
            limit=limit_of(request),
            cursor=request.query_params.get("cursor", ""),
        )


@dataclass(frozen=True, slots=True)
class Page(Generic[M]):
    """Rows in the list's order, and how to go on in both directions."""

    rows: list[M]
    next_cursor: str | None
    prev_cursor: str | None

    def answer(self, render: Callable[[M], Any]) -> dict[str, Any]:
        """Return `{"data": […], "next_cursor", "prev_cursor"}`, each row rendered by itself."""
        return self.answer_all([render(row) for row in self.rows])

    def answer_all(self, shapes: list[Any]) -> dict[str, Any]:
        """Return the same of rows that are rendered already."""
        return {
            "data": shapes,
            "next_cursor": self.next_cursor,
            "prev_cursor": self.prev_cursor,
        }


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
    parts = [
        _part(one, start, query.limit, rising=rising, narrow=narrow, field=field, window=window)
        for one in ([scope] if isinstance(scope, QuerySet) else scope)
    ]
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
    return Page(rows=found, next_cursor=_write(ahead, list_digest), prev_cursor=_write(behind, list_digest))


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
    edge = None
    # Filters of which none is given leave the rows as they are: then there is nothing to look for.
    if narrow is not None and narrow(rows).query.where != rows.query.where:
        edge = next(iter(rows.values_list(field, flat=True)[window - 1 : window]), None)
        rows = narrow(rows if edge is None else rows.filter(**{f"{field}__{'lte' if rising else 'gte'}": edge}))
    return list(rows[: limit + 1]), edge


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
