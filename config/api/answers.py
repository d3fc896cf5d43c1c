"""Answers of JSON, as bytes from the start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpResponse

from config.api.encoding import encode


def answer(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """Return what a `Response` of DRF is once it is rendered: the busiest views save the rendering's long way."""
    return HttpResponse(encode(value), status=status, content_type="application/json", headers=headers)
