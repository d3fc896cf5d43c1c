"""Dramatiq on RabbitMQ, for installations that keep their jobs there: DRAMATIQ_BROKER_URL=amqp://…"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from dramatiq import Consumer, Message
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.errors import ConnectionClosed
from dramatiq.middleware import Middleware
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.exceptions import AMQPError

from config.runtime.breaker import Breaker, BreakerOpen
from config.shutdown import close_process

CONNECT_TIMEOUT_S = 2.0
# pika looks every so many seconds and five more: a server that falls silent during a message counts as away at the
# second look, 20 s later at most. A connection that nothing is sent by is closed by the server; the next message then
# goes by a new one.
HEARTBEAT_S = 5


class RabbitJobsBroker(RabbitmqBroker):
    """Dramatiq's broker on the RabbitMQ at `url`; an outage costs its senders one timeout for each `open_s`.

    A message is sent when the server has confirmed it. Only enqueueing is guarded, as on Redis.
    """

    def __init__(self, url: str, *, middleware: Sequence[Middleware], open_s: float) -> None:
        super().__init__(url=url, confirm_delivery=True, middleware=list(middleware))
        parameters: Any = self.parameters
        parameters.socket_timeout = parameters.stack_timeout = CONNECT_TIMEOUT_S
        parameters.blocked_connection_timeout = CONNECT_TIMEOUT_S
        parameters.heartbeat = HEARTBEAT_S
        self._breaker = Breaker("jobs", failures=(ConnectionClosed,), failures_min=1, failure_ratio=0.0, open_s=open_s)

    def enqueue(self, message: Message[Any], *, delay: int | None = None) -> Message[Any]:
        """Enqueue a message, `delay` in milliseconds.

        Raises:
            ConnectionClosed: the server is away, or was a moment ago.
        """
        try:
            with self._breaker.guard(), closed_when_unreachable():
                return super().enqueue(message, delay=delay)
        except BreakerOpen as error:
            raise ConnectionClosed("The broker is away; it is left alone for a moment.") from error  # type: ignore[no-untyped-call]  # untyped there

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Consumer:
        """Return a consumer of a queue; while the server is away Dramatiq tries again."""
        with closed_when_unreachable():
            return super().consume(queue_name, prefetch, timeout)

    def close(self) -> None:
        """Close all that the process has open: Dramatiq says this when a worker process ends."""
        super().close()
        close_process()


@contextmanager
def closed_when_unreachable() -> Iterator[None]:
    """Raise ConnectionClosed, which Dramatiq waits out, also for those errors of pika that it does not know."""
    try:
        yield
    except (AMQPError, AMQPConnectorException) as error:
        raise ConnectionClosed(error) from error  # type: ignore[no-untyped-call]  # likewise
