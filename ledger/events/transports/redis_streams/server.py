"""The Redis that carries streams: events are neither cached nor counted there, so it has a client without a breaker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qsl, urlencode, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ledger.events.transports.base import TransportAway

CONNECT_S = 5.0
# A stream lives in memory: about a gigabyte of events, half an hour at 500 a second. Who falls further behind misses
# some, and reads them by `GET /v2/events`.
LENGTH_MAX = 1_000_000


class Server:
    """A server by its URL, with `maxlen`, at which a stream forgets its oldest messages."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query))
        self.length_max = int(options.pop("maxlen", LENGTH_MAX))
        self._url = parts._replace(query=urlencode(options)).geturl()

    def client(self, *, timeout_s: float) -> redis.Redis:
        """Return a client that hides no retry."""
        return redis.Redis.from_url(
            self._url,
            protocol=2,
            socket_connect_timeout=min(CONNECT_S, timeout_s),
            socket_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
        )


@contextmanager
def away_when_failing() -> Iterator[None]:
    """Raise TransportAway for whatever Redis does not do: it is away, full, loading, or no primary any more."""
    try:
        yield
    except redis.RedisError as error:
        raise TransportAway(f"Redis does not serve us: {error}") from error
