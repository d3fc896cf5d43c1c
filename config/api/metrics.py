"""django-prometheus' middleware, trimmed to what we ask: latency, answers by status, requests in progress.

MetricsBefore stands outside of the other middleware, so that their answers count too; MetricsAfter times the view.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django_prometheus.middleware import Metrics, PrometheusAfterMiddleware, PrometheusBeforeMiddleware
from django_prometheus.utils import Time, TimeSince
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


class MetricsBefore(PrometheusBeforeMiddleware):
    """Counts answers and what is in progress."""

    metrics_cls = HttpMetrics

    def process_request(self, _request: HttpRequest) -> None:
        self.metrics.requests_in_progress.inc()

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        self.metrics.requests_in_progress.dec()
        labels = (str(response.status_code), *_view_and_method(request))
        self.metrics.responses_by_status_view_method.labels(*labels).inc()
        return response


class MetricsAfter(PrometheusAfterMiddleware):
    """Times views."""

    metrics_cls = HttpMetrics

    def process_request(self, request: HttpRequest) -> None:
        request.prometheus_after_middleware_event = Time()  # type: ignore[attr-defined]  # django-prometheus' name

    def process_view(self, *view: Any) -> None:
        """Count nothing here."""

    def process_template_response(self, _request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Count nothing here."""
        return response

    def process_exception(self, *failure: Any) -> None:
        """Count nothing here: the answer is counted."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        seconds = TimeSince(request.prometheus_after_middleware_event)  # type: ignore[attr-defined]
        self.metrics.requests_latency_by_view_method.labels(*_view_and_method(request)).observe(seconds)
        return response


def _view_and_method(request: HttpRequest) -> tuple[str, str]:
    """Return labels of bounded number: an unknown path has no view, an unknown method is "other"."""
    return route_of(request) or "none", request.method if request.method in METHODS else "other"
