"""Every operation of the API that asks for a key, as the URL configuration has it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

from django.urls import URLPattern, URLResolver

from config import urls
from config.api.permissions import HasScope

UNKNOWN = {
    "<uuid:pk>": "01a00000-0000-7000-8000-000000000000",
    "<str:pk>": "00000000",
    "<str:code>": "RCP-20261121-0ECGYS6XK1J9JC6DR23KP3",
}


class Operation(NamedTuple):
    """One method of one route: its address names nothing that there is."""

    method: str
    url: str
    scope: str
    is_open_to_users: bool

    def __str__(self) -> str:
        return f"{self.method} {self.url}"


@cache
def operations() -> tuple[Operation, ...]:
    return tuple(_operations(urls.urlpatterns, "/"))


def _operations(routes: Sequence[URLPattern | URLResolver], prefix: str) -> Iterator[Operation]:
    for route in routes:
        place = f"{prefix}{route.pattern}"
        if isinstance(route, URLResolver):
            yield from _operations(route.url_patterns, place)
            continue
        view: Any = getattr(route.callback, "cls", None)
        if view is None or not any(issubclass(one, HasScope) for one in view.permission_classes):
            continue
        named = getattr(route.callback, "actions", None) or {method.lower(): method for method in view.required_scopes}
        for method, name in named.items():
            if method == "head":  # DRF adds it beside GET with the first request
                continue
            is_open = name in getattr(view, "open_to_users", ())
            yield Operation(method.upper(), _filled(place), view.required_scopes[name], is_open)


def _filled(place: str) -> str:
    return re.sub("<[^>]+>", lambda found: UNKNOWN[found[0]], place)
