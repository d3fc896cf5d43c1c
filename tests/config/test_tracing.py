"""Traces: what a caller sends is linked and never obeyed, and costs nothing where nobody listens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.http import HttpRequest, JsonResponse
from django.test import Client
from django.urls import path
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from config.runtime import tracing
from config.runtime.logging import set_role

CALLER = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{CALLER}-00f067aa0ba902b7-03"


def told(_request: HttpRequest, number: int) -> JsonResponse:
    return JsonResponse({"trace_id": tracing.trace_id(), **tracing.outgoing_headers()})


urlpatterns = [path("told/<int:number>", told, name="told")]


@pytest.fixture
def spans():
    """Give the finished spans; tracing is on."""
    exporter = InMemorySpanExporter()
    tracing.install(SimpleSpanProcessor(exporter))
    yield exporter.get_finished_spans
    tracing.install(None)


@pytest.fixture
def browser(settings) -> Client:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = ["config.api.middleware.RequestRecord"]
    return Client()


def test_a_request_is_a_root_of_its_own_linked_to_its_caller(spans, browser, capfd):
    set_role("web")
    answer = browser.get("/told/7", headers={"traceparent": TRACEPARENT}).json()
    set_role("command")

    (span,) = spans()
    trace_id = format(span.context.trace_id, "032x")
    assert (span.name, span.kind, span.parent) == ("GET told", SpanKind.SERVER, None)
    assert [format(link.context.trace_id, "032x") for link in span.links] == [CALLER]
    assert dict(span.attributes) == {
        "http.request.method": "GET",
        "http.route": "told",
        "http.response.status_code": 200,
    }
    assert trace_id != CALLER
    assert answer["trace_id"] == trace_id == json.loads(capfd.readouterr().out)["trace_id"]
    assert answer["traceparent"].startswith(f"00-{trace_id}-{span.context.span_id:016x}-")
    assert span.resource.attributes["service.name"] == "countinghouse"


def test_without_a_tracer_the_callers_trace_goes_on(browser, capfd):
    set_role("web")
    answer = browser.get("/told/7", headers={"traceparent": TRACEPARENT}).json()
    set_role("command")

    assert answer == {"trace_id": CALLER, "traceparent": TRACEPARENT}
    assert json.loads(capfd.readouterr().out)["trace_id"] == CALLER
    assert tracing.trace_id() == ""
    assert tracing.outgoing_headers() == {}


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "nonsense",
        TRACEPARENT.upper(),
        TRACEPARENT[:-1],
        TRACEPARENT + "-extra",
        TRACEPARENT + "\n",
        f"ff-{CALLER}-00f067aa0ba902b7-01",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{CALLER}-{'0' * 16}-01",
    ],
)
def test_a_malformed_traceparent_is_ignored(spans, traceparent):
    with tracing.span("work", kind="server", carrier={"traceparent": traceparent}):
        assert len(tracing.trace_id()) == 32

    assert spans()[0].links == ()


def test_a_later_version_is_read_as_far_as_we_know_it():
    later = f"cc-{CALLER}-00f067aa0ba902b7-01-what-the-future-will-be-like"
    with tracing.span("work", kind="server", carrier={"traceparent": later}):
        assert tracing.outgoing_headers() == {"traceparent": f"00-{CALLER}-00f067aa0ba902b7-01"}


def test_a_failure_is_recorded_and_passes(spans):
    with pytest.raises(KeyError), tracing.span("work", kind="internal"):
        raise KeyError("x")

    (span,) = spans()
    assert span.status.status_code is StatusCode.ERROR
    assert [event.attributes["exception.type"] for event in span.events] == ["KeyError"]


FORKING = """
import os, sys, django
django.setup()
from config.runtime import tracing
with tracing.span("parent", kind="internal"):
    pass
child = os.fork()
if child == 0:
    with tracing.span("child", kind="internal"):
        pass
    sys.exit()
os.waitpid(child, 0)
"""


def test_a_process_and_its_fork_both_export():
    received: list[str] = []

    class Sink(BaseHTTPRequestHandler):
        def do_POST(self):
            request = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
            received.extend(
                f"{self.path} {span.name}"
                for resource in request.resource_spans
                for scope in resource.scope_spans
                for span in scope.spans
            )
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    threading.Thread(target=server.serve_forever).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        subprocess.run(
            [sys.executable, "-c", FORKING], env=os.environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}, check=True
        )
    finally:
        server.shutdown()
        server.server_close()

    assert sorted(received) == ["/v1/traces child", "/v1/traces parent"]


WITHOUT_PACKAGES = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "opentelemetry":
            raise ModuleNotFoundError(name=name)
sys.meta_path.insert(0, Absent())
import django
django.setup()
from config.runtime import tracing
for _ in range(2):
    with tracing.span("work", kind="internal") as span:
        span.annotate({"a": 1})
        span.name("other")
        span.fail(KeyError("x"))
assert not any(name.startswith("opentelemetry") for name in sys.modules)
"""


def test_without_the_packages_work_goes_on_and_one_line_says_so():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PACKAGES],
        env=os.environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["event"] for line in done.stderr.splitlines()] == ["tracing.off"]
