"""django-prometheus' metrics, trimmed to what we ask: latency, answers by status, requests in progress.

MetricsBefore stands outside of the other middleware, so that their answers count too; MetricsAfter times the view.
Middleware of our own, because django-prometheus' calls six hooks for every request to find that there is no more to do.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django_prometheus.middleware import Metrics
from prometheus_client import Counter, Gauge, Histogram

from config.api.middleware import route_of
from config.runtime.metrics import SECONDS

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class HttpMetrics(Metrics):
    """The three that are kept, by django-prometheus' names."""

    def register(self) -> None:
        """Declare the metrics; called once, by the first middleware."""
        self.requests_latency_by_view_method = self.register_metric(
            Histogram,
            "django_http_requests_latency_seconds_by_view_method",
            "Seconds of a view and the middleware inside of ours.",
            ["view", "method"],
            buckets=SECONDS,
        )
        self.responses_by_status_view_method = self.register_metric(
            Counter,
            "django_http_responses_total_by_status_view_method",
            "Answers by status, view and method, also those that a middleware gave.",
            ["status", "view", "method"],
        )
        self.requests_in_progress = self.register_metric(
            Gauge, "django_http_requests_in_progress", "Requests being answered.", multiprocess_mode="livesum"
        )


class MetricsBefore:
    """Counts answers and what is in progress."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        metrics: HttpMetrics = HttpMetrics.get_instance()
        self.responses = metrics.responses_by_status_view_method
        self.in_progress = metrics.requests_in_progress

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        self.in_progress.inc()
        try:
            response = self.get_response(request)
        finally:
            self.in_progress.dec()
        self.responses.labels(response.status_code, *_view_and_method(request)).inc()
        return response


class MetricsAfter:
    """Times views."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        metrics: HttpMetrics = HttpMetrics.get_instance()
        self.latency = metrics.requests_latency_by_view_method

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        begun = time.perf_counter()
        response = self.get_response(request)
        self.latency.labels(*_view_and_method(request)).observe(time.perf_counter() - begun)
        return response


def _view_and_method(request: HttpRequest) -> tuple[str, str]:
    """Return labels of bounded number: an unknown path has no view, an unknown method is "other"."""
    return route_of(request) or "none", request.method if request.method in METHODS else "other"
