# ruff: noqa: ARG002  (the signatures are those of Dramatiq's hooks)
"""What surrounds a message in a worker: its line in the log, its trace, its metrics, and its database connection."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from typing import Any

from dramatiq import Broker, Message, Worker
from dramatiq.broker import MessageProxy
from dramatiq.middleware import Middleware

from config.runtime import metrics, tracing
from config.runtime.database import release_connections
from config.runtime.logging import request_id, set_role, unit_of_work
from config.runtime.tracing import Span
from config.runtime.units import Unit


class _Open(threading.local):
    """The message that this worker thread has in hand."""

    scope: ExitStack | None = None
    unit: Unit
    span: Span


class MessageRecord(Middleware):
    """Hands the request id and the trace on, and writes the canonical line `message`.

    It stands outermost: its end comes after retries have been decided. A message's `status` is done, retried, failed
    (for good) or skipped.
    """

    def __init__(self) -> None:
        self._open = _Open()
        self._lock = threading.Lock()
        self._busy, self._threads = 0, 1

    def after_process_boot(self, broker: Broker) -> None:
        set_role("worker")

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:
        self._threads = worker.worker_threads

    def before_enqueue(self, broker: Broker, message: Message[Any], delay: int | None) -> None:
        # A retry keeps what the first sending said.
        if "carrier" not in message.options:
            message.options["carrier"] = tracing.outgoing_headers()
            message.options["request_id"] = request_id()

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        options, scope = message.options, ExitStack()
        self._open.span = scope.enter_context(
            tracing.span(message.actor_name, kind="consumer", carrier=options.get("carrier"))
        )
        self._open.unit = scope.enter_context(
            unit_of_work(
                "message",
                request_id=options.get("request_id") or message.message_id,
                trace_id=tracing.trace_id(),
                actor=message.actor_name,
                queue=message.queue_name,
                message_id=message.message_id,
                retries=options.get("retries", 0),
                status="",
            )
        )
        self._open.scope = scope
        self._show_busy(+1)

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        if self._open.scope is None:
            return  # an interrupt came during the end of a message, and Dramatiq reports it as a second end
        if exception is None:
            self._finish(message, "done")
        else:
            self._open.unit.fail(exception)
            self._open.span.fail(exception)
            self._finish(message, "failed" if message.failed else "retried")

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:
        self._finish(message, "skipped")

    def _finish(self, message: MessageProxy, status: str) -> None:
        scope, self._open.scope = self._open.scope, None
        if scope is None:
            return
        with scope:
            unit = self._open.unit
            unit.fields["status"] = status
            seconds = time.perf_counter() - unit.begun
            metrics.WORKER_PROCESSING_DURATION.labels(message.actor_name, status).observe(seconds)
            self._show_busy(-1)
            release_connections()

    def _show_busy(self, change: int) -> None:
        with self._lock:
            self._busy += change
            metrics.WORKER_POOL_UTILIZATION.set(self._busy / self._threads)
