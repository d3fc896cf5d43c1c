"""The one address: GET and POST answer an empty object; the body is not even parsed."""

from __future__ import annotations

from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView


class EmptyView(APIView):
    """Says yes."""

    def get(self, _request: Request) -> Response:
        return Response({})

    def post(self, _request: Request) -> Response:
        return Response({}, status=201)


urlpatterns = [path("", EmptyView.as_view())]
