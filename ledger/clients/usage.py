"""Which client asks for which operation of the API, and how often: counted here, kept every few seconds, by the day.

No request waits for it, and a process that is killed loses what it counted in the last seconds.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple

from django.db.models import Max, Min, Sum
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from config.api.metrics import METHODS
from config.api.principal import Principal
from config.runtime.arrays import numbers, texts
from config.runtime.clock import now
from config.runtime.database import raw_cursor, release_connections
from config.runtime.nudge import Nudge
from config.runtime.sql import sql_file
from ledger.clients.models import RouteUse

COUNT = sql_file("ledger/clients", "count_uses")
KEPT_EVERY_S = 5.0
KEPT_DAYS = 400


class _Asked(NamedTuple):
    client_id: int
    version: str
    operation: str


_lock = threading.Lock()
_pending: Counter[_Asked] = Counter()


class UsageCounted:
    """Middleware: counts every request of a client that we know to a route that there is, whatever is answered."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        principal, match = getattr(request, "auth", None), request.resolver_match
        if isinstance(principal, Principal) and match is not None:
            # A client may make up methods: the rows are of bounded number.
            method = request.method if request.method in METHODS else "other"
            asked = _Asked(principal.client_id, match.namespace, f"{method} /{match.route}")
            with _lock:
                _pending[asked] += 1
            _wake()
        return response


def keep_usage() -> None:
    """Keep what was counted; what cannot be kept now is kept with what comes."""
    with _lock:
        counted = dict(_pending)
        _pending.clear()
    if not counted:
        return
    try:
        _write(counted, day=now().date())
    except BaseException:
        with _lock:
            _pending.update(counted)
        raise
    finally:
        release_connections()


def forget_usage(today: date | None = None) -> int:
    """Forget what is older than 400 days; return how many rows that were."""
    oldest = (today or now().date()) - timedelta(days=KEPT_DAYS)
    return RouteUse.objects.filter(day__lt=oldest).delete()[0]


@dataclass(frozen=True, slots=True)
class Usage:
    """How often a client asked for an operation, and on which days first and last."""

    client: str
    operation: str
    requests: int
    first_on: date
    last_on: date


def usage_of(version: str, *, since: date) -> list[Usage]:
    """Return who asked for what of an API version from a day on, whoever asked most first."""
    rows = RouteUse.objects.filter(version=version, day__gte=since).values_list("client__name", "operation")
    summed = rows.annotate(requests=Sum("count"), first_on=Min("day"), last_on=Max("day"))
    return [Usage(*row) for row in summed.order_by("-requests", "client__name", "operation")]


def _write(counted: Mapping[_Asked, int], *, day: date) -> None:
    # In one order, so that processes that write at once do not wait for each other in a circle.
    asked = sorted(counted)
    with raw_cursor() as cursor:
        cursor.execute(
            COUNT,
            {
                "day": day,
                "client_ids": numbers(one.client_id for one in asked),
                "versions": texts(one.version for one in asked),
                "operations": texts(one.operation for one in asked),
                "counts": numbers(counted[one] for one in asked),
            },
        )


_wake = Nudge("usage", keep_usage, every_s=KEPT_EVERY_S)


def _begin_process() -> None:
    """A child has none of its parent's threads: one of them may have held the lock."""
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()
    _pending.clear()


os.register_at_fork(after_in_child=_begin_process)
