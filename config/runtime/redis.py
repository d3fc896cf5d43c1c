"""The one place that makes clients of Redis (or Valkey), and the cache on top of them.

Short timeouts alone are not enough: a request with ten cache calls would wait ten times, and a server that is frozen
rather than dead lets every connection time out. So every call goes through a breaker that the first failure opens.
An outage costs a process one timeout of `TIMEOUT_S` for each `OPEN_S` that it lasts, whatever the number of calls.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from django.core.cache.backends.base import BaseCache
from django_redis.client import DefaultClient  # type: ignore[import-untyped]  # it ships no types
from redis import ConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.client import Pipeline
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MaxConnectionsError, OutOfMemoryError, ReadOnlyError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from config.runtime.breaker import Breaker, BreakerOpen
from config.runtime.errors import DomainError, Kind

TIMEOUT_S = 0.1
OPEN_S = 1.0
CONNECTIONS_MAX = 100
HEALTH_CHECK_S = 30
HEARD_S = 1.0

T = TypeVar("T")

_SILENT = (RedisConnectionError, RedisTimeoutError)
_REFUSING = (MaxConnectionsError, OutOfMemoryError, ReadOnlyError)


class RedisAway(DomainError):
    """Redis cannot serve the call now; the caller goes on without it."""

    kind, code = Kind.BUSY, "dependency_unavailable"


@contextmanager
def _guarded(breaker: Breaker) -> Iterator[None]:
    try:
        with breaker.guard():
            yield
    except BreakerOpen as error:
        raise RedisAway(retry_after_s=error.retry_after_s) from error
    except (*_SILENT, *_REFUSING) as error:
        raise RedisAway(retry_after_s=1) from error


class GuardedRedis(Redis):
    """A client whose every command and pipeline goes through one breaker and raises `RedisAway` in an outage."""

    def __init__(self, pool: ConnectionPool, breaker: Breaker) -> None:
        super().__init__(connection_pool=pool)
        self._breaker = breaker

    def execute_command(self, *args: Any, **options: Any) -> Any:
        with _guarded(self._breaker):
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]  # redis-py's

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> GuardedPipeline:
        return GuardedPipeline(self._breaker, self.connection_pool, self.response_callbacks, transaction, shard_hint)


class GuardedPipeline(Pipeline):
    """The commands gather without the network; the one round trip is guarded, and so is what WATCH sends at once."""

    def __init__(self, breaker: Breaker, *args: Any) -> None:
        super().__init__(*args)
        self._breaker = breaker
        self._executing = False

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        with _guarded(self._breaker):
            self._executing = True
            try:
                return super().execute(raise_on_error)
            finally:
                self._executing = False

    def immediate_execute_command(self, *args: Any, **options: Any) -> Any:
        if self._executing:  # loading scripts, part of a guarded call: as a call of its own it would wait for itself
            return super().immediate_execute_command(*args, **options)  # type: ignore[no-untyped-call]  # redis-py's
        with _guarded(self._breaker):
            return super().immediate_execute_command(*args, **options)  # type: ignore[no-untyped-call]  # redis-py's


_clients: dict[str, GuardedRedis] = {}
_clients_lock = threading.Lock()


def redis_client(url: str) -> GuardedRedis:
    """Return the process's client of the server at `url`; all threads share its connections and its breaker."""
    with _clients_lock:
        if url not in _clients:
            _clients[url] = _connect(url)
        return _clients[url]


def _connect(url: str) -> GuardedRedis:
    """Return a client; nothing is sent yet.

    No retry hides in the client: it would multiply the timeout. RESP2 and no CLIENT SETINFO: a new connection costs
    round trips for AUTH and SELECT alone.
    """
    pool = ConnectionPool.from_url(
        url,
        protocol=2,
        driver_info=None,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=HEALTH_CHECK_S,
        max_connections=CONNECTIONS_MAX,
    )
    place = pool.connection_kwargs
    name = place.get("path") or f"{place.get('host', 'localhost')}:{place.get('port', 6379)}"
    breaker = Breaker(
        f"redis {name}", failures=_SILENT, spared=_REFUSING, failures_min=1, failure_ratio=0.0, open_s=OPEN_S
    )
    return GuardedRedis(pool, breaker)


def listen(url: str, channel: str, heard: Callable[[], None], stop: threading.Event) -> None:
    """Call `heard` for each message of a channel until `stop`; nothing is heard while Redis is away."""
    while not stop.is_set():
        client = Redis.from_url(
            url, protocol=2, driver_info=None, socket_timeout=HEARD_S, socket_connect_timeout=TIMEOUT_S
        )
        try:
            with client.pubsub(ignore_subscribe_messages=True) as messages:  # type: ignore[no-untyped-call]  # redis-py's
                messages.subscribe(channel)
                while not stop.is_set():
                    if messages.get_message(timeout=HEARD_S / 2) is not None:
                        heard()
        except RedisError:
            stop.wait(OPEN_S)
        finally:
            client.close()


class _ConnectedClient(DefaultClient):
    def connect(self, index: int = 0) -> GuardedRedis:
        return redis_client(self._server[index])


class GuardedClient(_ConnectedClient):
    """The CLIENT_CLASS of the Django cache: while Redis is away, Django's cache methods find nothing and keep nothing.

    `get` gives the default, `add` and `touch` False, `set_many` names every key as failed, `incr` raises ValueError
    as for any missing key. What has no honest answer without the server (locks, scans, sets, hashes) raises
    `RedisAway`. A delete in an outage is lost: whatever is cached must carry a lifetime that can be borne.
    """

    def __init__(self, server: Any, params: dict[str, Any], backend: BaseCache) -> None:
        super().__init__(server, params, backend)
        # Composed, not inherited: DefaultClient's methods call each other, and a swallowed outage in the inner one
        # would be an answer to the outer one (add with a timeout of 0 asks has_key and would report success).
        self._inner = _ConnectedClient(server, params, backend)

    def get(self, key: str, default: Any = None, version: int | None = None, client: Redis | None = None) -> Any:
        return _or(default, self._inner.get, key, default, version, client)

    def get_many(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return _or({}, self._inner.get_many, *args, **kwargs)

    def has_key(self, *args: Any, **kwargs: Any) -> bool:
        return _or(False, self._inner.has_key, *args, **kwargs)

    def ttl(self, *args: Any, **kwargs: Any) -> int | None:
        return _or(0, self._inner.ttl, *args, **kwargs)

    def set(self, *args: Any, **kwargs: Any) -> bool:
        return _or(False, self._inner.set, *args, **kwargs)

    def add(self, *args: Any, **kwargs: Any) -> bool:
        return _or(False, self._inner.add, *args, **kwargs)

    def touch(self, *args: Any, **kwargs: Any) -> bool:
        return _or(False, self._inner.touch, *args, **kwargs)

    def set_many(self, data: dict[str, Any], *args: Any, **kwargs: Any) -> list[str]:
        return _or(list(data), self._inner.set_many, data, *args, **kwargs) or []

    def delete(self, *args: Any, **kwargs: Any) -> int:
        return _or(0, self._inner.delete, *args, **kwargs)

    def delete_many(self, *args: Any, **kwargs: Any) -> int:
        return _or(0, self._inner.delete_many, *args, **kwargs)

    def delete_pattern(self, *args: Any, **kwargs: Any) -> int:
        return _or(0, self._inner.delete_pattern, *args, **kwargs)

    def clear(self, *args: Any, **kwargs: Any) -> None:
        _or(None, self._inner.clear, *args, **kwargs)

    def incr(self, key: str, *args: Any, **kwargs: Any) -> int:
        return _or_missing(key, self._inner.incr, *args, **kwargs)

    def decr(self, key: str, *args: Any, **kwargs: Any) -> int:
        return _or_missing(key, self._inner.decr, *args, **kwargs)

    def incr_version(self, key: str, *args: Any, **kwargs: Any) -> int:
        return _or_missing(key, self._inner.incr_version, *args, **kwargs)


def _or(absent: T, method: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    try:
        return method(*args, **kwargs)
    except RedisAway:
        return absent


def _or_missing(key: str, method: Callable[..., int], *args: Any, **kwargs: Any) -> int:
    try:
        return method(key, *args, **kwargs)
    except RedisAway as error:
        raise ValueError(f"Key {key!r} not found") from error
