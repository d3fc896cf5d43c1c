"""The WSGI application of the web processes, which `python -m config.web` serves."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import django
from django.urls import get_resolver

from config.api.handler import Handler
from config.runtime.garbage import settle
from config.runtime.logging import set_role
from config.runtime.stopping import stopping

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
# Before Django loads its apps: the metrics that this import declares choose their storage for all that follow.
set_role("web")
django.setup(set_prefix=False)
_django = Handler()
get_resolver().url_patterns  # noqa: B018  (loads every view now, and not with the first request)
settle()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer a request; while the process is stopping, say to the client that its next needs a new connection."""

    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        if stopping():
            headers.append(("Connection", "close"))
        return start_response(status, headers, exc_info)

    return _django(environ, start)
