"""Parts of a record's page that may be long: shown page by page, from keys, so that each costs the same."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest

ROWS_PER_PART = 50
_KEY = re.compile(r"[0-9]{1,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of a part: `name` is its parameter, whose values lead to the rows before these and after them."""

    name: str
    rows: list[Any]
    before: int | None
    after: int | None


def part_of(request: HttpRequest, rows: QuerySet[Any], *, name: str, keyset: str = "id") -> Part:
    """Return the rows from the one on whose key `?{name}=` says, the first without it.

    `keyset` is a column of whole numbers that, beside what `rows` is filtered by, has an index; with a sign before it
    the rows stand in falling order.
    """
    column, is_falling = keyset.removeprefix("-"), keyset.startswith("-")
    ordered = rows.order_by(keyset)
    text = request.GET.get(name, "")
    start = int(text) if _KEY.fullmatch(text) else None
    onward = ordered if start is None else ordered.filter(**{f"{column}__{'lte' if is_falling else 'gte'}": start})
    found = list(onward[: ROWS_PER_PART + 1])
    after = getattr(found[ROWS_PER_PART], column) if len(found) > ROWS_PER_PART else None
    before = None
    if start is not None:
        behind = ordered.reverse().filter(**{f"{column}__{'gt' if is_falling else 'lt'}": start})
        before = next(iter([*behind.values_list(column, flat=True)[:ROWS_PER_PART]][-1:]), None)
    return Part(name, found[:ROWS_PER_PART], before, after)
