"""Every operation of the API that asks for a key, as the URL configuration has it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
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
_OBJECT = re.compile(r"/(?P<noun>[^/<]+)/(?P<named><[^>]+>)")


class Operation(NamedTuple):
    """One method of one route: its address names nothing that there is."""

    method: str
    url: str
    scope: str
    is_open_to_users: bool
    place: str
    view: Any

    def __str__(self) -> str:
        return f"{self.method} {self.url}"

    @property
    def name(self) -> str:
        """As the OpenAPI document has it: `GET /v2/accounts/{id}`."""
        return f"{self.method} {documented(self.place)}"

    @property
    def noun(self) -> str:
        """What the address names one of, such as `accounts`; empty where it names none."""
        found = _OBJECT.search(self.place)
        return found["noun"] if found else ""

    def of(self, ids: Mapping[str, str]) -> str:
        """Return the address of what somebody has, by the noun."""
        return _OBJECT.sub(lambda found: f"/{found['noun']}/{ids[found['noun']]}", self.place)


@cache
def operations() -> tuple[Operation, ...]:
    return tuple(_operations())


def places(
    routes: Sequence[URLPattern | URLResolver] = urls.urlpatterns, prefix: str = "/"
) -> Iterator[tuple[str, Any]]:
    """Return every address of the service, as the URL configuration has it, with what answers there."""
    for route in routes:
        place = f"{prefix}{route.pattern}"
        if isinstance(route, URLResolver):
            yield from places(route.url_patterns, place)
        else:
            yield place, route.callback


def documented(place: str) -> str:
    """Return an address as the OpenAPI document has it."""
    return re.sub(r"<(?:\w+:)?(\w+)>", lambda found: "{id}" if found[1] == "pk" else f"{{{found[1]}}}", place)


def _operations() -> Iterator[Operation]:
    for place, callback in places():
        view: Any = getattr(callback, "cls", None)
        if view is None or not any(issubclass(one, HasScope) for one in view.permission_classes):
            continue
        named = getattr(callback, "actions", None) or {method.lower(): method for method in view.required_scopes}
        for method, name in named.items():
            if method == "head":  # DRF adds it beside GET with the first request
                continue
            is_open = name in getattr(view, "open_to_users", ())
            yield Operation(method.upper(), _filled(place), view.required_scopes[name], is_open, place, view)


def _filled(place: str) -> str:
    return re.sub("<[^>]+>", lambda found: UNKNOWN[found[0]], place)
