"""`manage.py metrics_exporter`: serves the metrics of all processes beside them, so that a scrape costs no worker."""

from __future__ import annotations

import signal
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.runtime import metrics


class _Handler(BaseHTTPRequestHandler):
    timeout = 10

    def do_GET(self) -> None:
        if self.path != "/metrics":
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        body = metrics.exposition()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", metrics.CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the base class's name)
        """Write no line for a scrape."""


class Command(BaseCommand):
    help = "Serves Prometheus metrics at /metrics until SIGTERM or Ctrl-C. Needs PROMETHEUS_MULTIPROC_DIR."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
        parser.add_argument("--port", type=int, required=True, help="port to listen on")

    def handle(self, *args: Any, host: str, port: int, **options: Any) -> None:
        if metrics.DIRECTORY is None:
            raise CommandError("PROMETHEUS_MULTIPROC_DIR is not set: there is nothing but this process to show.")
        server = ThreadingHTTPServer((host, port), _Handler)
        for number in (signal.SIGTERM, signal.SIGINT):
            # shutdown() waits for the loop, which the signal has interrupted: it needs a thread of its own.
            signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
        self.stdout.write(f"metrics: http://{host}:{server.server_port}/metrics")
        self.stdout.flush()
        with server:
            server.serve_forever()
