"""Every setting of the environment, typed, read once. `.env.example` lists the same (a test compares them)."""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured


def _text(raw: str) -> str:
    return raw


def _boolean(raw: str) -> bool:
    known = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    if raw.lower() not in known:
        raise ValueError("is not one of 1, 0, true, false, yes, no")
    return known[raw.lower()]


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(raw: str) -> int:
        if not raw.isascii() or not raw.isdigit() or not low <= int(raw) <= high:
            raise ValueError(f"is not a whole number from {low} to {high}")
        return int(raw)

    return parse


def _day(raw: str) -> date:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", raw, re.ASCII):
        raise ValueError("is not a day like 2027-12-01")
    return date.fromisoformat(raw)


def _words(raw: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in raw.split(",") if word.strip())


class InboundTopic(NamedTuple):
    """A topic that is consumed: for which client (its name or id), under which name of its source, and how."""

    topic: str
    client: str
    source: str
    mode: str


def _inbound_topics(raw: str) -> tuple[InboundTopic, ...]:
    found = tuple(map(_inbound_topic, _words(raw)))
    if len({one.topic for one in found}) < len(found):
        raise ValueError("names a topic twice")
    return found


def _inbound_topic(word: str) -> InboundTopic:
    topic, _, query = word.partition("?")
    given = {key: values[-1] for key, values in parse_qs(query).items()}
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", topic) or not given.keys() <= {"client", "source", "mode"}:
        raise ValueError("is not a list like topic?client=acme&source=bank-core&mode=execute")
    # With an id of 128 characters after it, it must still be an idempotency key.
    source = given.get("source", topic)
    if not re.fullmatch(r"[\x21-\x39\x3b-\x7e]{1,64}", source):
        raise ValueError("has a source that is not 1 to 64 visible ASCII characters without a colon")
    return InboundTopic(topic, given.get("client", ""), source, given.get("mode", "execute"))


def _networks(raw: str) -> tuple[str, ...]:
    for word in _words(raw):
        ipaddress.ip_network(word)
    return _words(raw)


def _choice(*allowed: str) -> Callable[[str], str]:
    def parse(raw: str) -> str:
        if raw not in allowed:
            raise ValueError(f"is not one of {', '.join(allowed)}")
        return raw

    return parse


def _url(*schemes: str) -> Callable[[str], str]:
    def parse(raw: str) -> str:
        if not raw:
            return raw
        try:
            parts, port = urlsplit(raw), urlsplit(raw).port
        except ValueError:
            # Python's own words quote what may be a part of the password.
            raise ValueError("is not a URL, or its port is not a number up to 65535") from None
        if parts.scheme not in schemes:
            raise ValueError(f"is not a URL with scheme {' or '.join(schemes)}")
        if port == 0:
            raise ValueError("has port 0, where nobody listens")
        return raw

    return parse


_postgres_url = _url("postgresql", "postgres")


def _postgres(raw: str) -> str:
    """Where no host is named, libpq takes the socket directory that it was built with: each build has another."""
    if not _postgres_url(raw):
        return raw
    database = django_database(raw)
    options = database["OPTIONS"]
    if not database["HOST"] and options.keys().isdisjoint({"hostaddr", "service"}):
        raise ValueError("names no host: write …@host/name, or …/name?host=/directory for a socket")
    if not database["NAME"] and "service" not in options:
        raise ValueError("names no database: write …@host/name")
    return raw


_redis = _url("redis", "rediss", "unix")
_jobs = _url("redis", "rediss", "unix", "amqp", "amqps")
_event_broker = _url("amqp", "amqps", "redis", "rediss", "null")
# A comma stands between URLs, and between the hosts of one.
_NEXT_URL = re.compile(r",\s*(?=[a-z]+://|null:(?:,|\s|$))")


def _event_brokers(raw: str) -> tuple[str, ...]:
    urls = tuple(_NEXT_URL.split(raw.strip())) if raw.strip() else ()
    for url in urls:
        _kafka(url) if url.startswith("kafka:") else _event_broker(url)
    kinds = [urlsplit(url).scheme.replace("amqps", "amqp").replace("rediss", "redis") for url in urls]
    if twice := sorted({kind for kind in kinds if kinds.count(kind) > 1}):
        raise ValueError(f"names two brokers of one kind: {', '.join(twice)}")
    return urls


def _kafka(url: str) -> None:
    for host in urlsplit(url).netloc.rpartition("@")[2].split(","):
        _url("kafka")(f"kafka://{host}")
        if not urlsplit(f"kafka://{host}").hostname:
            raise ValueError("names no host: write kafka://host:9092")


_REQUIRED = object()


def _variable(parse: Callable[[str], Any], *, default: Any = _REQUIRED, doc: str) -> Any:
    """Declare one variable: the default is written as it would stand in the environment."""
    return dataclasses.field(metadata={"parse": parse, "default": default, "doc": doc})


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The process's configuration. Field names are the variables' names in lower case."""

    secret_key: str = _variable(_text, doc="signs cursors, sessions and users' tokens; 50 random characters")
    secret_key_fallbacks: tuple[str, ...] = _variable(
        _words, default="", doc="secret keys of before, whose signatures are still taken; none of them holds a comma"
    )
    token_issuer: str = _variable(
        _text, default="countinghouse", doc="names this installation in users' tokens; another's are refused"
    )
    debug: bool = _variable(_boolean, default="0", doc="Django's debug pages; never in production")
    allowed_hosts: tuple[str, ...] = _variable(
        _words, default="127.0.0.1,localhost", doc="Host headers that are served"
    )
    csrf_trusted_origins: tuple[str, ...] = _variable(_words, default="", doc="origins of the admin behind a proxy")
    behind_tls: bool = _variable(
        _boolean, default="1", doc="cookies only over TLS, HSTS, X-Forwarded-Proto is believed"
    )
    trusted_proxies: int = _variable(
        _whole(0, 10), default="0", doc="proxies of ours before a web process; each appends to X-Forwarded-For"
    )
    release: str = _variable(_text, default="dev", doc="shown in logs, metrics and /v2/health")

    database_url: str = _variable(_postgres, doc="postgresql://… as role app: what web, worker and commands use")
    migrate_database_url: str = _variable(_postgres, default="", doc="the same database as role owner: migrations only")
    direct_database_url: str = _variable(
        _postgres, default="", doc="past PgBouncer, for what holds session locks; empty: DATABASE_URL"
    )
    database_pool_min: int = _variable(_whole(0, 1000), default="1", doc="connections a process keeps open")
    database_pool_max: int = _variable(_whole(1, 1000), default="20", doc="connections a process opens at most")
    database_pool_timeout_s: int = _variable(_whole(1, 300), default="5", doc="wait for a free connection, then 503")
    database_prepare: bool = _variable(
        _boolean, default="1", doc="prepared statements; 0 behind PgBouncer older than 1.21 in transaction mode"
    )
    ledger_isolation: str = _variable(
        _choice("read committed", "serializable"), default="read committed", doc="isolation of posting (spec 003)"
    )

    redis_url: str = _variable(_redis, doc="cache; in production a server of its own, allkeys-lru")
    dramatiq_broker_url: str = _variable(
        _jobs, default="", doc="jobs; a Redis that never evicts, or RabbitMQ (amqp://…); empty: REDIS_URL"
    )
    events_url: tuple[str, ...] = _variable(
        _event_brokers,
        default="",
        doc="where events are published: kafka://host:9092,host:9092 and amqp://… and redis://…, one of each at most,"
        " with commas between; empty: nowhere (docs/how-to/brokers.md)",
    )

    receipt_batch_size: int = _variable(
        _whole(1, 1000), default="50", doc="requests of a process that share one commit"
    )
    batch_flush_interval: int = _variable(
        _whole(0, 100), default="10", doc="wait of a commit for requests that are on their way, milliseconds at most"
    )
    receipt_timeout: int = _variable(_whole(1, 30), default="2", doc="accepting a transaction, seconds, then 503")
    transaction_timeout: int = _variable(
        _whole(1, 300), default="30", doc="a round of postings that is not committed then is cancelled, seconds"
    )
    backdate_max_days: int = _variable(
        _whole(0, 36_500), default="90", doc="how far back a booking may take effect by API, days"
    )
    processor_queue_size: int = _variable(
        _whole(1, 1_000_000), default="10000", doc="accepted transactions that wait at most; then 503"
    )
    num_processor_workers: int = _variable(_whole(1, 1000), default="4", doc="threads of a worker process")
    posting_lanes: int = _variable(
        _whole(1, 64), default="1", doc="posters that work side by side, each on its share of the clients"
    )

    inbound_topics: tuple[InboundTopic, ...] = _variable(
        _inbound_topics,
        default="transactions.inbound",
        doc="topics that are consumed, such as transactions.inbound?client=acme&source=bank-core&mode=execute;"
        " by default of the only client there is, and the source is named as the topic",
    )
    events_keep_days: int = _variable(
        _whole(400, 36_500), default="400", doc="how long events can be read; whole months are dropped after it"
    )

    status_cache_ttl: int = _variable(
        _whole(1, 86_400), default="300", doc="a status that nothing moves any more stays in memory, seconds"
    )
    status_update_interval: int = _variable(
        _whole(0, 1), default="1", doc="any other status is shown again without asking the database, seconds at most"
    )

    cache_answers: bool = _variable(
        _boolean, default="1", doc="first pages of lists are kept in REDIS_URL; 0: always read from the database"
    )
    cache_ttl_s: int = _variable(
        _whole(1, 86_400), default="300", doc="such an answer is shown for so long at most, if nothing of it is written"
    )

    quota_free_per_minute: int = _variable(
        _whole(1, 1_000_000), default="60", doc="requests of a client of tier free, in the long run"
    )
    quota_free_burst: int = _variable(
        _whole(10, 100_000), default="20", doc="the same, at once; of every tier at least what its largest batch costs"
    )
    quota_standard_per_minute: int = _variable(_whole(1, 1_000_000), default="600", doc="likewise, tier standard")
    quota_standard_burst: int = _variable(_whole(50, 100_000), default="100", doc="at once, tier standard")
    quota_premium_per_minute: int = _variable(_whole(1, 1_000_000), default="6000", doc="likewise, tier premium")
    quota_premium_burst: int = _variable(_whole(500, 100_000), default="1000", doc="at once, tier premium")
    quota_internal_per_minute: int = _variable(_whole(1, 1_000_000), default="600000", doc="likewise, tier internal")
    quota_internal_burst: int = _variable(_whole(500, 100_000), default="60000", doc="at once, tier internal")
    strangers_per_minute: int = _variable(
        _whole(1, 1_000_000), default="600", doc="requests without a key from one address (of IPv6, from one /64)"
    )

    v1_deprecated_on: date = _variable(  # noqa: RUF009  (a day never changes)
        _day, default="2026-12-01", doc="since when /api/v1 says that it is deprecated"
    )
    v1_sunset_on: date = _variable(  # noqa: RUF009
        _day, default="2027-12-01", doc="when /api/v1 may be gone, as it says; nothing is switched off by itself"
    )

    drain_file: str = _variable(
        _text,
        default="",
        doc="a file whose presence turns /readyz red, so that traffic goes elsewhere before the process is stopped;"
        " empty: none",
    )
    drain_s: int = _variable(
        _whole(0, 60),
        default="1",
        doc="how long a web process that was told to stop still takes requests, while its /readyz is red, seconds",
    )
    shutdown_timeout_s: int = _variable(
        _whole(1, 30), default="30", doc="what a web process has in flight must end within that after it, seconds"
    )
    log_level: str = _variable(_choice("DEBUG", "INFO", "WARNING", "ERROR"), default="INFO", doc="lowest level logged")
    metrics_allow: tuple[str, ...] = _variable(
        _networks, default="127.0.0.1/32,::1/128", doc="networks that read /v2/health/metrics without a key"
    )
    prometheus_multiproc_dir: str = _variable(
        _text,
        default="",
        doc="where a role's processes share metrics, such as …/web beside …/worker; empty: each alone",
    )
    otel_exporter_otlp_endpoint: str = _variable(
        _url("http", "https"), default="", doc="where traces go; needs the OpenTelemetry packages; empty: no tracing"
    )
    outbound_allow_loopback: bool = _variable(
        _boolean, default="0", doc="calls to 127.0.0.1 and ::1 are let out; the local stack only"
    )


def read_environment(environ: Mapping[str, str] = os.environ) -> Environment:
    """Return the configuration.

    Raises:
        ImproperlyConfigured: names every variable that is missing or wrong, all at once.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    for field in dataclasses.fields(Environment):
        name, default = field.name.upper(), field.metadata["default"]
        raw = environ.get(name, default)
        if raw is _REQUIRED or (raw == "" and default is _REQUIRED):
            problems.append(f"{name} is not set: {field.metadata['doc']}")
            continue
        try:
            values[field.name] = field.metadata["parse"](raw)
        except ValueError as error:
            problems.append(f"{name} {error}")
    if problems:
        raise ImproperlyConfigured("The environment is not usable:\n  " + "\n  ".join(problems))
    return Environment(**values)


def django_database(url: str) -> dict[str, Any]:
    """Return Django's dictionary for a `postgresql://user:password@host:port/name?option=value` URL."""
    parts = urlsplit(url)
    options = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": options.pop("host", parts.hostname or ""),
        "PORT": str(parts.port or ""),
        "OPTIONS": options,
    }
