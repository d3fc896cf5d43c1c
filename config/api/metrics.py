"""django-prometheus' metrics, trimmed to what we ask: latency, answers by status, requests in progress.

Middleware of our own, because django-prometheus' two call six hooks for every request to find that there is no more to
do. It stands outside of the other middleware, so that their answers count and their time does too.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django_prometheus.middleware import Metrics
from prometheus_client import Counter, Gauge, Histogram

from config.api.middleware import route_of
from config.runtime.metrics import SECONDS

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
SHOWN_EVERY_S = 0.5


class HttpMetrics(Metrics):
    """The three that are kept, by django-prometheus' names."""

    def register(self) -> None:
        """Declare the metrics; called once, by the first middleware."""
        self.requests_latency_by_view_method = self.register_metric(
            Histogram,
            "django_http_requests_latency_seconds_by_view_method",
            "Seconds from the request to the answer's first byte.",
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


class _Progress:
    """How many requests this process is answering: shown twice a second, and when none is left."""

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge
        self.begin_process()
        os.register_at_fork(after_in_child=self.begin_process)

    def begin_process(self) -> None:
        self._lock = threading.Lock()
        self._count = self._shown = 0
        self._shown_at = 0.0

    def move(self, by: int, at: float) -> None:
        with self._lock:
            self._count += by
            if at - self._shown_at >= SHOWN_EVERY_S or (not self._count and self._shown):
                self._shown, self._shown_at = self._count, at
                self._gauge.set(self._count)


class Measured:
    """Middleware: counts and times requests."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        metrics: HttpMetrics = HttpMetrics.get_instance()
        self.progress = _Progress(metrics.requests_in_progress)
        self.responses = metrics.responses_by_status_view_method
        self.latency = metrics.requests_latency_by_view_method

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        begun = time.perf_counter()
        self.progress.move(1, begun)
        try:
            response = self.get_response(request)
        finally:
            ended = time.perf_counter()
            self.progress.move(-1, ended)
        # By their names, an unknown path has no view, an unknown method is "other": the labels are of bounded number.
        view, method = route_of(request) or "none", request.method if request.method in METHODS else "other"
        self.responses.labels(response.status_code, view, method).inc()
        self.latency.labels(view, method).observe(ended - begun)
        return response
