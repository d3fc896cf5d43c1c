"""Which renderer answers: what the client wants most, without parsing what nearly every client sends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.http.request import MediaType
from rest_framework.exceptions import NotAcceptable
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request


class Negotiation(DefaultContentNegotiation):
    """Qualities count (RFC 9110 §12.5.1), which DRF passes over; of equals the view's first renderer answers."""

    def select_renderer(
        self,
        request: Request,
        renderers: Iterable[BaseRenderer],
        format_suffix: str | None = None,  # noqa: ARG002  (no route has one)
    ) -> tuple[BaseRenderer, str]:
        """Return the renderer and its media type.

        Raises:
            NotAcceptable: `Accept` names nothing that the view gives.
        """
        given = list(renderers)
        if request.META.get("HTTP_ACCEPT", "*/*") in {"*/*", given[0].media_type}:
            return given[0], given[0].media_type
        ranges = [MediaType(token) for token in self.get_accept_list(request)]
        best = max(given, key=lambda renderer: _quality(renderer.media_type, ranges))
        if not _quality(best.media_type, ranges):
            _ = request.auth  # negotiation comes first, and who asks must be known to whoever counts requests
            raise NotAcceptable(available_renderers=given)
        return best, best.media_type


def _quality(media_type: str, ranges: Sequence[MediaType]) -> float:
    """Return how much a type is wanted: the most specific of the ranges that hold it decides, without parameters."""
    main, _, sub = media_type.partition("/")
    for held_by in ((main, sub), (main, "*"), ("*", "*")):
        qualities = [wanted.quality for wanted in ranges if (wanted.main_type, wanted.sub_type) == held_by]
        if qualities:
            return max(qualities)
    return 0.0
