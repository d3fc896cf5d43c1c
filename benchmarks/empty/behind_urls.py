"""One address beside the probe: POST reads its body as the API does, and answers an empty object to any client."""

from __future__ import annotations

from django.urls import include, path
from rest_framework.request import Request
from rest_framework.response import Response

from benchmarks.empty.urls import EmptyView
from config.api.health import readyz
from config.api.permissions import AUTHENTICATED


class BehindView(EmptyView):
    """Says yes, to clients."""

    required_scopes = {"POST": AUTHENTICATED}

    def post(self, request: Request) -> Response:
        assert request.data
        return super().post(request)


urlpatterns = [path("v2/", include(([path("empty", BehindView.as_view())], "v2"))), path("readyz", readyz)]
