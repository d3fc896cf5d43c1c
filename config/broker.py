"""The queue's broker: Dramatiq on a Redis that never evicts, or on RabbitMQ. Workers run as `python -m config.worker`.

Messages are pokes: work lives in tables, and the schedule pokes again for what is due. So a message may be lost, come
twice or be dropped when it is old, and retries are few.
"""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Any

import django
import dramatiq
import redis
from django.apps import apps
from django.conf import settings
from django.core import checks
from django.utils.module_loading import autodiscover_modules
from dramatiq import Broker, Consumer, Message, Worker
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import AgeLimit, Middleware, Retries, ShutdownNotifications, TimeLimit
from redis.backoff import NoBackoff
from redis.retry import Retry

from config.runtime import stopping
from config.runtime.breaker import Breaker, BreakerOpen
from config.runtime.garbage import settle
from config.runtime.logging import get_logger
from config.runtime.messages import MessageRecord
from config.shutdown import close_process

CONNECT_TIMEOUT_S = 1.0
COMMAND_TIMEOUT_S = 2.0
ENQUEUE_OPEN_S = 3.0  # as long as Dramatiq's consumers wait before they connect again

LOOK_EVERY_MS = 100
MESSAGE_AGE_MAX_MS = 3_600_000
MESSAGE_TIME_MAX_MS = 120_000
RETRIES_MAX = 3
RETRY_FROM_MS, RETRY_TO_MS = 1_000, 60_000


log = get_logger()


class JobsClient(redis.Redis):
    """A client for the broker: short timeouts, and one more try where a kept connection turns out to be closed."""

    @classmethod
    def at(cls, url: str) -> JobsClient:
        """Return a client of the server at `url`."""
        pool = redis.ConnectionPool.from_url(
            url,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            socket_timeout=COMMAND_TIMEOUT_S,
            retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
        )
        return cls(connection_pool=pool)

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run a command; a server that does not answer counts as one that is away.

        Dramatiq waits and tries again after a ConnectionError, and takes a TimeoutError for a bug of its own.
        """
        try:
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]  # untyped there
        except redis.TimeoutError as error:
            raise redis.ConnectionError("The broker does not answer.") from error


class JobsBroker(RedisBroker):
    """Dramatiq's broker on the server at `url`; an outage costs its senders one timeout for each `ENQUEUE_OPEN_S`.

    Only enqueueing is guarded: consumers go on trying to connect in their own rhythm, and nobody waits for them.
    """

    def __init__(self, url: str, *, namespace: str = "dramatiq") -> None:
        super().__init__(client=JobsClient.at(url), middleware=middleware(), namespace=namespace)  # type: ignore[no-untyped-call]  # untyped there
        self._breaker = Breaker(
            "jobs", failures=(redis.ConnectionError,), failures_min=1, failure_ratio=0.0, open_s=ENQUEUE_OPEN_S
        )

    def enqueue(self, message: Message[Any], *, delay: int | None = None) -> Message[Any]:
        """Enqueue a message, `delay` in milliseconds.

        Raises:
            redis.ConnectionError: the server is away, or was a moment ago.
        """
        try:
            with self._breaker.guard():
                return super().enqueue(message, delay=delay)
        except BreakerOpen as error:
            raise redis.ConnectionError("The broker is away; it is left alone for a moment.") from error

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Consumer:
        """Return a consumer of a queue that looks for its first message ten times a second, not once."""
        return super().consume(queue_name, prefetch, min(timeout, LOOK_EVERY_MS))

    def close(self) -> None:
        """Close all that the process has open: Dramatiq says this when a worker process ends."""
        super().close()
        close_process()


class Life(Middleware):
    """What begins and ends with a worker; a message that runs on and on hears of its end."""

    def after_process_boot(self, broker: Broker) -> None:  # noqa: ARG002  (Dramatiq's hook)
        """Let a second SIGTERM change nothing; Dramatiq would cut everything short.

        It comes as a rule: a group of processes is told as a whole, and each once more by its parent.
        """
        stop = signal.getsignal(signal.SIGTERM)
        if not callable(stop):
            return  # no process of Dramatiq's

        def stop_once(number: int, frame: FrameType | None) -> None:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            stop(number, frame)

        signal.signal(signal.SIGTERM, stop_once)

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:  # noqa: ARG002  (Dramatiq's hook)
        """Begin anew, and say what endangers the messages."""
        stopping.forget()
        settle()
        for found in check_eviction():
            log.warning("jobs.unsafe", reason=found.msg)

    def before_worker_shutdown(self, broker: Broker, worker: Worker) -> None:  # noqa: ARG002  (Dramatiq's hook)
        """Say it."""
        stopping.begin()

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:  # noqa: ARG002  (Dramatiq's hook)
        """Take it back: no message of this worker runs any more, and the process may be more than a worker."""
        stopping.forget()


def middleware() -> list[Middleware]:
    """Return what surrounds a message, outermost first. What an actor needs otherwise, it says in its options."""
    return [
        MessageRecord(),
        Life(),
        AgeLimit(max_age=MESSAGE_AGE_MAX_MS),
        TimeLimit(time_limit=MESSAGE_TIME_MAX_MS, interval=1_000),
        ShutdownNotifications(notify_shutdown=False),
        Retries(max_retries=RETRIES_MAX, min_backoff=RETRY_FROM_MS, max_backoff=RETRY_TO_MS),
    ]


def open_broker(url: str) -> Broker:
    """Return the broker that the scheme of `url` asks for."""
    if url.startswith("amqp"):
        # Late: pika is of no use to who has Redis.
        from config.rabbitmq_jobs import RabbitJobsBroker

        return RabbitJobsBroker(url, middleware=middleware(), open_s=ENQUEUE_OPEN_S)
    return JobsBroker(url)


def check_eviction(**_: Any) -> list[checks.CheckMessage]:
    """Warn when the broker's server may throw messages away; say nothing when it cannot be asked."""
    if settings.DRAMATIQ_BROKER_URL.startswith("amqp"):
        return []
    try:
        policy = JobsClient.at(settings.DRAMATIQ_BROKER_URL).info("memory").get("maxmemory_policy", "noeviction")
    except redis.RedisError:
        return []
    if policy == "noeviction":
        return []
    return [
        checks.Warning(
            f"Jobs live on a Redis that evicts (maxmemory-policy {policy}): messages can vanish.",
            hint="Point DRAMATIQ_BROKER_URL at a server of its own with maxmemory-policy noeviction.",
            id="countinghouse.W001",
        )
    ]


os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
# Before the setup, which imports actors by way of the back office: they belong to the broker that is set then.
broker = open_broker(settings.DRAMATIQ_BROKER_URL)
dramatiq.set_broker(broker)
if not (apps.ready or apps.loading):
    django.setup()  # a worker begins here; everybody else comes here from django.setup()

checks.register(check_eviction, "jobs")
autodiscover_modules("actors")
