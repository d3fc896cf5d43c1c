"""Answers of JSON, as bytes from the start, and what the answer to a POST says beside its body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpResponse

from config.api.encoding import encode


def answer(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """Return what a `Response` of DRF is once it is rendered: the busiest views save the rendering's long way."""
    return HttpResponse(encode(value), status=status, content_type="application/json", headers=headers)


def posted(location: str, *, replayed: bool, applied: str = "", is_running: bool = False) -> dict[str, str]:
    """Return the headers: where the object is, whether it was there before, and what was done as the client prefers.

    Of what is still running the client is told to ask again in a second.
    """
    headers = {"Location": location}
    if replayed:
        headers["Idempotent-Replayed"] = "true"
    if applied:
        headers["Preference-Applied"] = applied
    if is_running:
        headers["Retry-After"] = "1"
    return headers
