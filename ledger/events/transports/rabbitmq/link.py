"""A connection to RabbitMQ with one channel, in a thread that answers heartbeats however long there is nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.channel import Channel
from pika.exceptions import AMQPError, ConnectionWrongStateError

from ledger.events.transports.base import TransportAway

HEARTBEAT_S = 30
CONNECT_S = 5.0
CLOSE_S = 1.0


class Link:
    """One connection from its opening to its end, after which another is opened.

    `on_open` is called with the channel, and `on_closed` with the reason at the end, both in the link's thread; what
    else is to be done with the channel is handed to `call`.

    Raises:
        TransportAway: nobody is there, or we are not let in.
    """

    def __init__(self, url: str, *, on_open: Callable[[Channel], None], on_closed: Callable[[Exception], None]) -> None:
        self._on_open, self._on_closed = on_open, on_closed
        self._channel: Channel | None = None
        self.failure: Exception | None = None
        """Why it has ended, if it has."""
        self._is_open = threading.Event()
        self._connection = pika.SelectConnection(
            _parameters(url),
            on_open_callback=lambda connection: connection.channel(on_open_callback=self._begin),
            on_open_error_callback=self._end,
            on_close_callback=self._end,
        )
        self._thread = threading.Thread(target=self._run, name="rabbitmq", daemon=True)
        self._thread.start()
        self._is_open.wait(2 * CONNECT_S)
        if not self._has_begun():
            self.close()
            raise TransportAway(f"RabbitMQ is not there: {describe(self.failure)}")

    def call(self, work: Callable[[Channel], None]) -> None:
        """Have the thread do something with the channel; after the end nothing is done."""
        self._threadsafe(partial(self._work, work))

    def close(self) -> None:
        """End the connection: what was handed to `call` is sent before, if the broker still listens."""
        self._threadsafe(self._ask_to_close)
        self._thread.join()
        self._connection.ioloop.close()

    def _run(self) -> None:
        try:
            self._connection.ioloop.start()
        except Exception as error:  # noqa: BLE001  (without a word a consumer would wait for ever)
            self._end(self._connection, error)

    def _has_begun(self) -> bool:
        return self._channel is not None and self.failure is None

    def _threadsafe(self, work: Callable[[], None]) -> None:
        if self._thread.is_alive():
            self._connection.ioloop.add_callback_threadsafe(work)

    def _work(self, work: Callable[[Channel], None]) -> None:
        if self._channel is not None and self._channel.is_open:
            work(self._channel)

    def _begin(self, channel: Channel) -> None:
        self._channel = channel
        channel.add_on_close_callback(lambda _, reason: self._fail(reason))
        channel.add_on_cancel_callback(lambda _: self._fail(ConnectionError("A queue of ours was deleted.")))
        self._on_open(channel)
        self._is_open.set()

    def _fail(self, reason: Exception) -> None:
        """The channel has ended; without it the connection is of no use."""
        self.failure = self.failure or reason
        self._ask_to_close()

    def _ask_to_close(self) -> None:
        with suppress(ConnectionWrongStateError):  # it is closed already
            self._connection.close()
        self._connection.ioloop.call_later(CLOSE_S, self._abort)

    def _abort(self) -> None:
        # A broker that is silent answers no farewell either; pika has no public word for going without one.
        self._connection._adapter_disconnect_stream()  # noqa: SLF001

    def _end(self, _: Any, reason: Exception) -> None:
        self.failure = self.failure or reason
        self._on_closed(self.failure)
        self._is_open.set()
        self._connection.ioloop.stop()


@contextmanager
def declaring(url: str) -> Iterator[BlockingChannel]:
    """Give a channel on which exchanges and queues are declared one by one.

    Raises:
        TransportAway: nobody is there, we are not let in, or something of the name is there and different.
    """
    parameters = _parameters(url)
    try:
        connection = pika.BlockingConnection(parameters)
        try:
            yield connection.channel()
        finally:
            if connection.is_open:
                connection.close()
    except (AMQPError, AMQPConnectorException, OSError) as error:
        place = f"{parameters.host}:{parameters.port}"
        raise TransportAway(f"RabbitMQ at {place} does not have us: {describe(error)}") from error


def describe(error: BaseException | None) -> str:
    """Return the words of an error that may have none."""
    return "it does not answer" if error is None else str(error) or type(error).__name__


def _parameters(url: str) -> pika.URLParameters:
    parameters = pika.URLParameters(url)
    parameters.heartbeat = HEARTBEAT_S
    parameters.socket_timeout = parameters.stack_timeout = CONNECT_S
    parameters.blocked_connection_timeout = CONNECT_S
    parameters.connection_attempts = 1
    return parameters
